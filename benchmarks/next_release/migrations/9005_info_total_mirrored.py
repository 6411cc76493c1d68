"""Both columns tell the same, in old rows and in new ones."""

from django.db import migrations

from backend.migration_safety.operations import Backfill, MirrorColumns


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("agents", "9004_commit_unique")]
    operations = [
        MirrorColumns(
            "agentrun", "info_count", "info_total", forward="NEW.info_count", backward="NEW.info_total::integer"
        ),
        Backfill("agentrun", "info_total = info_count", "info_total IS DISTINCT FROM info_count"),
    ]
