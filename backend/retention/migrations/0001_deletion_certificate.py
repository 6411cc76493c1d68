"""Certificates of deleted organizations: the server adds and reads them; nobody but the owner changes or removes one."""

import django.contrib.postgres.fields
import django.db.models.functions.datetime
from django.db import migrations, models

import backend.core.ids

RIGHTS = """
DO $$
DECLARE member text;
BEGIN
  FOR member IN SELECT rolname FROM pg_roles WHERE rolname = 'app' LOOP
    EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE ON deletion_certificate FROM %I', member);
  END LOOP;
  FOR member IN SELECT rolname FROM pg_roles WHERE rolname = 'auditor' LOOP
    EXECUTE format('GRANT SELECT ON deletion_certificate TO %I', member);
  END LOOP;
END $$;
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="DeletionCertificate",
            fields=[
                (
                    "id",
                    models.UUIDField(default=backend.core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("subject_id", models.UUIDField(unique=True)),
                ("name_hash", models.BinaryField()),
                ("name_key_id", models.TextField()),
                ("counts", models.JSONField()),
                ("trail_entries", models.BigIntegerField()),
                ("seal_seq", models.BigIntegerField()),
                ("seal_hash", models.BinaryField()),
                ("seal_root", models.BinaryField()),
                ("key_ids", django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), size=None)),
                ("unused_key_ids", django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), size=None)),
                ("reason", models.TextField()),
                ("operator", models.TextField()),
                ("begun_at", models.DateTimeField()),
                (
                    "finished_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
            ],
            options={
                "db_table": "deletion_certificate",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("reason", ""), _negated=True), name="deletion_certificate_reason_ck"
                    )
                ],
            },
        ),
        migrations.RunSQL(RIGHTS, migrations.RunSQL.noop),  # they go with the table
    ]
