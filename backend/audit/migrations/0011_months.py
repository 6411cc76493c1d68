"""The partitions of the months to come; a job makes the next ones (backend.audit.tasks)."""

from django.db import migrations

# Into the default partition, by which 0010 finds them; as they are, so without the trigger.
_TAKE_BACK = """
DO $$
DECLARE month text;
BEGIN
  ALTER TABLE audit_entry_default DISABLE TRIGGER USER;
  FOR month IN SELECT part FROM audit_partitions() WHERE id_from IS NOT NULL LOOP
    EXECUTE format('ALTER TABLE audit_entry DETACH PARTITION %I', month);
    EXECUTE format('INSERT INTO audit_entry_default SELECT * FROM %I', month);
    EXECUTE format('DROP TABLE %I', month);
  END LOOP;
  ALTER TABLE audit_entry_default ENABLE TRIGGER USER;
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0010_partitions")]
    operations = [migrations.RunSQL("SELECT audit_months_make()", _TAKE_BACK)]
