"""A NOT NULL column with a constant that the database writes for the code before."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agents", "9001_review_note")]
    operations = [migrations.AddField("agentrun", "priority", models.IntegerField(default=0, db_default=0))]
