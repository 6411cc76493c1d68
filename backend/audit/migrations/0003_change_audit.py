"""What audit entries say of changes and reads, and the table of the seals."""

import django.contrib.postgres.fields
from django.db import migrations, models

import backend.audit.models
from backend.core.tenant_models import OrganizationKey

RIGHTS = """
DO $$
DECLARE member text;
BEGIN
  FOR member IN SELECT rolname FROM pg_roles WHERE rolname IN ('app', 'auditor') LOOP
    EXECUTE format('REVOKE ALL ON audit_seal FROM %I', member);
    EXECUTE format('GRANT SELECT ON audit_seal TO %I', member);
  END LOOP;
END $$;
"""


class Migration(migrations.Migration):
    safety_exceptions = {
        "ban-drop-not-null": "the code before reads no role; a role of the database outside of the product has none",
    }
    dependencies = [("accounts", "0003_authentication_revoked"), ("audit", "0002_append_only")]
    operations = [
        migrations.CreateModel(
            name="AuditSeal",
            fields=[
                ("seq", models.BigIntegerField(primary_key=True, serialize=False)),
                ("epoch", models.BigIntegerField()),
                ("xid_from", backend.audit.models.TransactionId()),
                ("xid_to", backend.audit.models.TransactionId()),
                ("entries", models.IntegerField()),
                ("organization_roots", models.JSONField()),
                ("root", models.BinaryField()),
                ("prev_hash", models.BinaryField()),
                ("hash", models.BinaryField()),
                ("sealed_at", models.DateTimeField()),
            ],
            options={"db_table": "audit_seal"},
        ),
        migrations.RunSQL(RIGHTS, migrations.RunSQL.noop),  # they go with the table
        migrations.AddField("auditentry", "document_hash", models.BinaryField(null=True)),
        migrations.AddField("auditentry", "epoch", models.BigIntegerField(db_default=0, default=0)),
        migrations.AddField(
            "auditentry",
            "fields",
            django.contrib.postgres.fields.ArrayField(
                base_field=models.TextField(), db_default=models.Value("{}"), default=list, size=None
            ),
        ),
        migrations.AddField("auditentry", "objects_digest", models.BinaryField(null=True)),
        migrations.AlterField("auditentry", "actor_role", models.TextField(null=True)),
        migrations.AlterField(
            "auditentry",
            "organization",
            OrganizationKey(
                db_constraint=False,
                db_index=False,
                on_delete=models.PROTECT,
                related_name="+",
                to="accounts.organization",
            ),
        ),
    ]
