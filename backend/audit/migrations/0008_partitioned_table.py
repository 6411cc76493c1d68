"""The partitioned table that takes the place of audit_entry in 0010, and the functions that make its months.

Its key is the id: a UUIDv7 begins with its time, so a month is a range of ids, `id` alone stays the primary key, and the
trigger that sets `at` moves no row from one partition to another, which PostgreSQL would refuse.
"""

from django.db import migrations

from backend.audit.migrations._entry_text import entry_text
from backend.core.constraints import TENANT

_TENANT = TENANT.replace("'", "''")

MONTHS = f"""
CREATE FUNCTION audit_id_floor(moment timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, public, pg_temp AS $$
  SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

CREATE FUNCTION audit_partitions() RETURNS TABLE (part text, id_from uuid, id_to uuid) LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp AS $$
  SELECT c.relname::text, substring(bound FROM 'FROM \\(''([0-9a-f-]{{36}})')::uuid,
    substring(bound FROM 'TO \\(''([0-9a-f-]{{36}})')::uuid
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid CROSS JOIN LATERAL pg_get_expr(c.relpartbound, c.oid) bound
  WHERE i.inhparent = 'public.audit_entry'::regclass ORDER BY 3 NULLS LAST
$$;

-- A partition is reached by way of audit_entry alone; its own policy is there should somebody be given a right.
CREATE FUNCTION audit_partition_close(part regclass) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE member text;
BEGIN
  FOR member IN SELECT rolname FROM pg_roles WHERE rolname IN ('app', 'auditor') LOOP
    EXECUTE format('REVOKE ALL ON %s FROM %I', part, member);
  END LOOP;
  IF NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = part) THEN
    EXECUTE format('CREATE POLICY audit_entry_tenant ON %s USING (organization_id = {_TENANT})'
      ' WITH CHECK (organization_id = {_TENANT})', part);
  END IF;
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', part);
  EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', part);
END $$;

CREATE FUNCTION audit_months_make() RETURNS TABLE (made text, entries bigint) LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
  this timestamp := date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC');
  month timestamp;
  lower_id uuid;
  upper_id uuid;
BEGIN
  -- One at a time, and none while months are removed; whoever comes second has nothing to do.
  IF NOT pg_try_advisory_xact_lock(7234301962) THEN
    RETURN;
  END IF;
  FOR month IN SELECT generate_series(this - interval '12 months', this + interval '3 months', interval '1 month') LOOP
    lower_id := audit_id_floor(month AT TIME ZONE 'UTC');
    upper_id := audit_id_floor((month + interval '1 month') AT TIME ZONE 'UTC');
    CONTINUE WHEN EXISTS (
      SELECT FROM audit_partitions() p WHERE coalesce(p.id_from <= lower_id, true) AND p.id_to > lower_id);
    -- One that has passed is made for entries that came while nobody made any.
    CONTINUE WHEN month < this AND NOT EXISTS (
      SELECT FROM audit_entry_default WHERE id >= lower_id AND id < upper_id);
    made := to_char(month, '"audit_entry_"YYYY"_"MM');
    EXECUTE format('CREATE TABLE public.%I (LIKE audit_entry INCLUDING ALL)', made);
    PERFORM audit_partition_close(made::regclass);
    -- What came before its month was there; without the trigger, entries move as they are.
    LOCK TABLE audit_entry_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('WITH moved AS (DELETE FROM audit_entry_default WHERE id >= %L AND id < %L RETURNING *)'
      ' INSERT INTO %I SELECT * FROM moved', lower_id, upper_id, made);
    GET DIAGNOSTICS entries = ROW_COUNT;
    EXECUTE format('ALTER TABLE audit_entry ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', made, lower_id, upper_id);
    RETURN NEXT;
  END LOOP;
  made := 'audit_entry_default';
  SELECT count(*) INTO entries FROM audit_entry_default;
  RETURN NEXT;
END $$;
"""
TABLE = f"""
CREATE TABLE audit_entry_partitioned (LIKE audit_entry INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
  PARTITION BY RANGE (id);
ALTER TABLE audit_entry_partitioned ADD CONSTRAINT audit_entry_partitioned_pkey PRIMARY KEY (id);
ALTER TABLE audit_entry_partitioned ADD CONSTRAINT audit_entry_partitioned_organization_id_uq UNIQUE (organization_id, id);
CREATE INDEX audit_entry_partitioned_at_desc_idx ON audit_entry_partitioned (organization_id, at DESC, id DESC);
CREATE INDEX audit_entry_partitioned_actor_idx
  ON audit_entry_partitioned (organization_id, actor_id, at DESC, id DESC);
CREATE INDEX audit_entry_partitioned_sealing_idx ON audit_entry_partitioned (epoch, xid);
CREATE INDEX audit_entry_partitioned_address_idx
  ON audit_entry_partitioned (organization_id, token_id, ip_hash) WHERE action = 'token.address';
CREATE TRIGGER audit_entry_stamp BEFORE INSERT ON audit_entry_partitioned
  FOR EACH ROW EXECUTE FUNCTION audit_entry_stamp();
CREATE POLICY audit_entry_tenant ON audit_entry_partitioned USING (organization_id = {TENANT})
  WITH CHECK (organization_id = {TENANT});
ALTER TABLE audit_entry_partitioned ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_entry_partitioned FORCE ROW LEVEL SECURITY;
CREATE TABLE audit_entry_default PARTITION OF audit_entry_partitioned DEFAULT;
SELECT audit_partition_close('audit_entry_default');
"""
RIGHTS = """
REVOKE EXECUTE ON FUNCTION audit_id_floor(timestamptz), audit_partitions(), audit_partition_close(regclass),
  audit_months_make() FROM PUBLIC;
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'app') THEN
    REVOKE UPDATE, DELETE, TRUNCATE ON audit_entry_partitioned FROM app;
    REVOKE EXECUTE ON FUNCTION audit_partition_close(regclass) FROM app;
    GRANT EXECUTE ON FUNCTION audit_months_make(), audit_partitions() TO app;
  END IF;
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'auditor') THEN
    GRANT SELECT ON audit_entry_partitioned TO auditor;
  END IF;
END $$;
"""
UNDO = """
DROP FUNCTION audit_entry_text(audit_entry_partitioned);
DROP TABLE audit_entry_partitioned;
DROP FUNCTION audit_months_make(), audit_partition_close(regclass), audit_partitions(), audit_id_floor(timestamptz);
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0007_token_addresses_index")]
    operations = [migrations.RunSQL([MONTHS, TABLE, entry_text("audit_entry_partitioned"), RIGHTS], UNDO)]
