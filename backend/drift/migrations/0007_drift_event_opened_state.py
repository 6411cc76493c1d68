"""A run opens an episode once: third phase, the models learn what the database does."""

from django.db import migrations, models

OPENED = models.UniqueConstraint(
    fields=["organization", "first_run", "drift_type", "payer", "group", "direction"],
    nulls_distinct=False,
    name="drift_event_opened_uq",
)


class Migration(migrations.Migration):
    dependencies = [("drift", "0006_drift_event_opened_constraint")]
    operations = [
        migrations.SeparateDatabaseAndState(state_operations=[migrations.AddConstraint("driftevent", OPENED)])
    ]
