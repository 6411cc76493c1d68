"""The certificates of entries that were removed: made by the owner, read by the server and the auditor."""

from django.db import migrations, models

RIGHTS = """
DO $$
DECLARE member text;
BEGIN
  FOR member IN SELECT rolname FROM pg_roles WHERE rolname IN ('app', 'auditor') LOOP
    EXECUTE format('REVOKE ALL ON audit_removal FROM %I', member);
    EXECUTE format('GRANT SELECT ON audit_removal TO %I', member);
  END LOOP;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0011_months")]
    operations = [
        migrations.CreateModel(
            name="AuditRemoval",
            fields=[
                ("seq", models.BigIntegerField(primary_key=True, serialize=False)),
                ("part", models.TextField()),
                ("id_to", models.UUIDField()),
                ("entries", models.BigIntegerField()),
                ("seals", models.JSONField()),
                ("leaves", models.JSONField()),
                ("prev_hash", models.BinaryField()),
                ("hash", models.BinaryField()),
                ("removed_at", models.DateTimeField()),
                ("operator", models.TextField()),
            ],
            options={"db_table": "audit_removal"},
        ),
        migrations.RunSQL(RIGHTS, migrations.RunSQL.noop),  # they go with the table
    ]
