"""The index that knows whether a token was used from an address before."""

from django.db import migrations, models
from django.db.models import Q

from backend.migration_safety.operations import AddIndex


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("audit", "0006_security_events")]
    operations = [
        AddIndex(
            "auditentry",
            models.Index(
                fields=["organization", "token_id", "ip_hash"],
                condition=Q(action="token.address"),
                name="audit_entry_address_idx",
            ),
        ),
    ]
