"""audit_entry becomes the partitioned table, and the table before it a partition, for as long as a lock takes.

The code before goes on: names, columns, rights and policies are the same. A statement that waits for the lock looks the
name up again when it has it.
"""

from django.db import migrations

from backend.audit.migrations._entry_text import entry_text

_NAMES = ("pkey", "organization_id_uq", "at_desc_idx", "actor_idx", "sealing_idx", "address_idx")
# The bound that was made sure of; so the rows are not gone through.
_ATTACH = """
DO $$
BEGIN
  EXECUTE format('ALTER TABLE audit_entry ATTACH PARTITION audit_entry_before FOR VALUES FROM (MINVALUE) TO (%L)',
    (SELECT substring(pg_get_constraintdef(oid) FROM '[0-9a-f]{8}-[0-9a-f-]{27}') FROM pg_constraint
     WHERE conrelid = 'audit_entry_before'::regclass AND conname = 'audit_entry_before_ck'));
END $$
"""
_RIGHTS = """
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'app') THEN
    GRANT SELECT, INSERT ON audit_entry TO app;
  END IF;
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'auditor') THEN
    GRANT SELECT ON audit_entry TO auditor;
  END IF;
END $$
"""
# Entries that came later lie beyond the bound, where there are any: they stay until 0009 is taken back too.
_TAKE_BACK = """
DO $$
BEGIN
  IF EXISTS (SELECT FROM audit_entry_partitioned) THEN
    ALTER TABLE audit_entry DROP CONSTRAINT audit_entry_before_ck;
    INSERT INTO audit_entry SELECT * FROM audit_entry_partitioned;
    TRUNCATE audit_entry_partitioned;
  END IF;
END $$
"""
_STAMP = (
    "CREATE TRIGGER audit_entry_stamp BEFORE INSERT ON audit_entry FOR EACH ROW EXECUTE FUNCTION audit_entry_stamp()"
)


def _renamed(table: str, to: str) -> list[str]:
    return [
        f"ALTER TABLE {table} RENAME TO {to}",
        *(f"ALTER INDEX {table}_{name} RENAME TO {to}_{name}" for name in _NAMES),
    ]


class Migration(migrations.Migration):
    dependencies = [("audit", "0009_bound_of_what_is_there")]
    safety_exceptions = {
        "renaming-table": "in the same transaction another table, with the same columns, has the name",
        "renaming-object": "the indexes go with their table, and nothing names an index in a statement",
        "ban-drop-function": "another function, of the table that has the name now, takes its place",
    }
    operations = [
        migrations.RunSQL(
            [
                "DROP TRIGGER audit_entry_stamp ON audit_entry",
                *_renamed("audit_entry", "audit_entry_before"),
                *_renamed("audit_entry_partitioned", "audit_entry"),
                "SELECT audit_partition_close('audit_entry_before')",
                _ATTACH,
                "DROP FUNCTION audit_entry_text(audit_entry_before)",
            ],
            [
                "ALTER TABLE audit_entry DETACH PARTITION audit_entry_before",
                *_renamed("audit_entry", "audit_entry_partitioned"),
                *_renamed("audit_entry_before", "audit_entry"),
                _TAKE_BACK,
                _STAMP,
                _RIGHTS,
                entry_text("audit_entry"),
            ],
        )
    ]
