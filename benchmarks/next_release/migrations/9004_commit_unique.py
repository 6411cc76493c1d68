"""A unique constraint in three phases."""

from django.db import migrations, models

from backend.migration_safety.operations import AddUnique


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("agents", "9003_info_total")]
    operations = [
        AddUnique(
            "agentrun",
            models.UniqueConstraint(fields=["organization", "agent", "branch", "commit"], name="agent_run_commit_uq"),
        )
    ]
