"""When the latest streak of an episode began; null, for rows that were written without it, counts as last_seen_on.

In a migration of its own, so that no transaction waits for the locks of two tables.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("drift", "0002_detection_run_what_if")]
    operations = [migrations.AddField("driftevent", "streak_started_on", models.DateField(null=True))]
