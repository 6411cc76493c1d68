"""The chain of keys under which an organization's claims are hashed."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import backend.core.constraints
import backend.core.ids
import backend.core.tenant_models

# What an import staged under a former key goes over to the new one in its staging table, which is the owner's.
STAGING = """
CREATE FUNCTION claims_staging_rekey() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  EXECUTE format('GRANT UPDATE ON pg_temp.claim_stage TO %I', session_user);
END $$;

DO $$
DECLARE member text;
BEGIN
  REVOKE EXECUTE ON FUNCTION claims_staging_rekey() FROM PUBLIC;
  FOR member IN SELECT rolname FROM pg_roles WHERE rolname = 'app' LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION claims_staging_rekey() TO %I', member);
  END LOOP;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_change_audit"),
        ("claims", "0004_change_audit"),
    ]

    operations = [
        migrations.CreateModel(
            name="HashKey",
            fields=[
                (
                    "id",
                    models.UUIDField(default=backend.core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("ordinal", models.SmallIntegerField()),
                ("key_id", models.TextField()),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "organization",
                    backend.core.tenant_models.OrganizationKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "db_table": "hash_key",
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="hash_key_organization_id_uq"),
                    models.UniqueConstraint(fields=("organization", "ordinal"), name="hash_key_ordinal_uq"),
                    models.UniqueConstraint(fields=("organization", "key_id"), name="hash_key_key_id_uq"),
                    models.CheckConstraint(condition=models.Q(("ordinal__gte", 1)), name="hash_key_ordinal_ck"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("ordinal__gt", 1), models.Q(("finished_at", None), _negated=True), _connector="OR"
                        ),
                        name="hash_key_first_ck",
                    ),
                    backend.core.constraints.TenantPolicy(name="hash_key_tenant"),
                    backend.core.constraints.ChangeAudit(name="hash_key_audit", tenant="organization_id"),
                ],
            },
        ),
        migrations.RunSQL(STAGING, "DROP FUNCTION claims_staging_rekey();"),
    ]
