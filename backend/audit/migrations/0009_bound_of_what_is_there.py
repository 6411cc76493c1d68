"""The entries that are there become one partition, which ends two whole months from now.

0010 has to follow until then: a table with this bound takes no entry of later.
"""

from django.db import migrations

from backend.migration_safety.operations import AddKeyBound

BOUND = "audit_id_floor((date_trunc('month', now() AT TIME ZONE 'UTC') + interval '3 months') AT TIME ZONE 'UTC')"


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("audit", "0008_partitioned_table")]
    operations = [AddKeyBound("auditentry", "audit_entry_before_ck", BOUND)]
