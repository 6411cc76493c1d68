"""Indexes for the sealer, and for what one principal did."""

from django.db import migrations, models

from backend.core.constraints import OrderIndex
from backend.migration_safety.operations import AddIndex


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("audit", "0004_functions")]
    operations = [
        AddIndex(
            "auditentry", OrderIndex(fields=["organization", "actor_id", "-at", "-id"], name="audit_entry_actor_idx")
        ),
        AddIndex("auditentry", models.Index(fields=["epoch", "xid"], name="audit_entry_sealing_idx")),
    ]
