"""The server adds and reads audit entries; nobody but the owner can change or remove one. The auditor reads them."""

from django.db import migrations

RIGHTS = """
DO $$
DECLARE member text;
BEGIN
  FOR member IN SELECT rolname FROM pg_roles WHERE rolname = 'app' LOOP
    EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE ON audit_entry FROM %I', member);
  END LOOP;
  FOR member IN SELECT rolname FROM pg_roles WHERE rolname = 'auditor' LOOP
    EXECUTE format('GRANT SELECT ON audit_entry TO %I', member);
  END LOOP;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]
    safety_exceptions = {
        "old-statement-fails": "no code changes or removes an audit entry; that none can is what the migration is for"
    }
    operations = [
        migrations.RunSQL(
            RIGHTS,
            "GRANT UPDATE, DELETE ON audit_entry TO app; REVOKE SELECT ON audit_entry FROM auditor;",
        )
    ]
