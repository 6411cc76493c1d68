"""The new column has a value in every row."""

from django.db import migrations, models

from backend.migration_safety.operations import SetNotNull


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("agents", "9005_info_total_mirrored")]
    operations = [SetNotNull("agentrun", "info_total", models.BigIntegerField(default=0))]
