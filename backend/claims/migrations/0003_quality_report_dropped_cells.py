"""What a report counts are cells that were dropped unread; nobody knows whether they were about a patient."""

from django.db import migrations

from backend.migration_safety.operations import RenameFieldOnly


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("claims", "0002_staging")]
    operations = [RenameFieldOnly("QualityReport", "phi_hits", "dropped_cells")]
