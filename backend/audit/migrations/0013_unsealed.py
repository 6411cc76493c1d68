"""How many entries have no seal yet, for `/metrics`: the server's role sees no entries of all organizations."""

from django.db import migrations

_MAKE = """
CREATE FUNCTION audit_unsealed() RETURNS TABLE (entries bigint, oldest timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
  WITH last AS (SELECT s.epoch, s.xid_to FROM audit_seal s ORDER BY s.seq DESC LIMIT 1), here AS (
    SELECT audit_epoch() AS epoch,
      coalesce((SELECT xid_to FROM last WHERE last.epoch = audit_epoch()), '0'::xid8) AS next
  )
  SELECT count(*), min(found.at) FROM (
    SELECT e.at FROM audit_entry e JOIN here ON e.epoch = here.epoch AND e.xid >= here.next
    ORDER BY e.epoch, e.xid LIMIT 10000) found
$$;
REVOKE EXECUTE ON FUNCTION audit_unsealed() FROM PUBLIC;
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'app') THEN
    GRANT EXECUTE ON FUNCTION audit_unsealed() TO app;
  END IF;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0012_removals")]
    operations = [migrations.RunSQL(_MAKE, "DROP FUNCTION audit_unsealed();")]
