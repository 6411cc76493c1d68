"""The functions behind the entries that triggers make, and behind the chain of seals; they run as the owner.

So the server's role needs no right on the seals, and a statement is audited whatever organization its session has set. `changed` and
`former` are the names that backend.core.constraints.ChangeAudit gives to the rows of a statement.
"""

from django.db import migrations

ENTRIES = """
CREATE FUNCTION audit_epoch() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$ SELECT system_identifier FROM pg_control_system() $$;

CREATE FUNCTION audit_entry_stamp() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  NEW.at := clock_timestamp();
  NEW.created_at := NEW.at;
  NEW.xid := pg_current_xact_id();
  NEW.epoch := audit_epoch();
  RETURN NEW;
END $$;
CREATE TRIGGER audit_entry_stamp BEFORE INSERT ON audit_entry FOR EACH ROW EXECUTE FUNCTION audit_entry_stamp();

CREATE FUNCTION audit_change_write(organization uuid, action text, changed_table text, ids uuid[], number bigint,
  digest bytea, columns text[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  actor jsonb := coalesce(nullif(current_setting('app.actor', true), ''), '{}')::jsonb;
  uuid7 bytea := overlay(uuid_send(gen_random_uuid()) PLACING
    substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6);
BEGIN
  INSERT INTO audit_entry (id, organization_id, actor_id, token_id, actor_role, action, object_type, object_ids,
    object_count, objects_digest, fields, operation_name, fields_phi, outcome, purpose, request_id)
  VALUES (encode(set_bit(set_bit(uuid7, 52, 1), 53, 1), 'hex')::uuid, organization, (actor ->> 'user')::uuid,
    (actor ->> 'token')::uuid, actor ->> 'role', action, changed_table, coalesce(ids, '{}'), number, digest, columns,
    coalesce(actor ->> 'operation', ''), false, 'OK', coalesce(actor ->> 'purpose', ''),
    coalesce(actor ->> 'request', ''));
END $$;

CREATE FUNCTION audit_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  act text := lower(TG_OP);
  here text := TG_TABLE_NAME;
  number bigint;
  columns text[] := '{}';
BEGIN
  SELECT count(*) INTO number FROM changed;
  IF number = 0 THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'UPDATE' AND number <= 100 THEN
    SELECT coalesce(array_agg(DISTINCT here || '.' || c.key), '{}') INTO columns
    FROM former f JOIN changed n ON n.id = f.id CROSS JOIN LATERAL jsonb_each(to_jsonb(n)) c
    WHERE c.value IS DISTINCT FROM to_jsonb(f) -> c.key;
    IF columns <> '{}' AND columns <@ (SELECT array_agg(here || '.' || s.name) FROM unnest(TG_ARGV[1:]) s (name)) THEN
      RETURN NULL;
    END IF;
  END IF;
  IF TG_ARGV[0] = 'id' THEN
    PERFORM audit_change_write(n.id, act, here, ARRAY[n.id], 1, NULL, columns) FROM changed n;
  ELSE
    PERFORM audit_change_write(o.organization_id, act, here, o.ids, o.number, sha256(o.bytes), columns) FROM (
      SELECT n.organization_id, count(*) AS number, array_agg(n.id ORDER BY n.id) FILTER (WHERE number <= 100) AS ids,
        string_agg(uuid_send(n.id), '' ORDER BY n.id) FILTER (WHERE number > 100) AS bytes
      FROM changed n GROUP BY n.organization_id) o;
  END IF;
  RETURN NULL;
END $$;
"""
SEALS = """
CREATE FUNCTION audit_entry_text(e audit_entry) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp AS $$
  SELECT jsonb_strip_nulls(jsonb_build_object('id', e.id, 'organization_id', e.organization_id,
    'created_at', (extract(epoch FROM e.created_at) * 1000000)::bigint,
    'at', (extract(epoch FROM e.at) * 1000000)::bigint, 'actor_id', e.actor_id, 'token_id', e.token_id,
    'actor_role', e.actor_role, 'action', e.action, 'object_type', e.object_type, 'object_ids', e.object_ids,
    'object_count', e.object_count, 'objects_digest', encode(e.objects_digest, 'hex'), 'fields', e.fields,
    'operation_name', e.operation_name, 'document_hash', encode(e.document_hash, 'hex'), 'fields_phi', e.fields_phi,
    'outcome', e.outcome, 'purpose', e.purpose, 'request_id', e.request_id, 'xid', e.xid::text, 'epoch', e.epoch))::text
$$;

CREATE FUNCTION audit_seal_make() RETURNS SETOF audit_seal LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  last audit_seal;
  made audit_seal;
  left_over xid8;
BEGIN
  -- One sealer at a time; whoever comes second has nothing to do.
  IF NOT pg_try_advisory_xact_lock(7234301961) THEN
    RETURN;
  END IF;
  SELECT * INTO last FROM audit_seal ORDER BY seq DESC LIMIT 1;
  made.epoch := coalesce(last.epoch, 0);
  made.xid_from := coalesce(last.xid_to, '0');
  made.xid_to := pg_snapshot_xmin(pg_current_snapshot());
  IF made.epoch <> audit_epoch() THEN
    -- Another cluster since the last seal: transaction ids began anew. What the one before left comes first.
    SELECT xid INTO left_over FROM audit_entry WHERE epoch = made.epoch AND xid >= made.xid_from ORDER BY xid DESC LIMIT 1;
    IF FOUND THEN
      made.xid_to := (left_over::text::numeric + 1)::text::xid8;
    ELSE
      made.epoch := audit_epoch();
      made.xid_from := '0';
    END IF;
  END IF;
  WITH leaf AS (
    SELECT e.organization_id, e.xid, e.id, sha256(convert_to(audit_entry_text(e), 'UTF8')) AS hash
    FROM audit_entry e WHERE e.epoch = made.epoch AND e.xid >= made.xid_from AND e.xid < made.xid_to
  ), branch AS (
    SELECT organization_id, count(*) AS entries, sha256(string_agg(hash, '' ORDER BY xid, id)) AS root
    FROM leaf GROUP BY organization_id
  )
  SELECT sum(entries), jsonb_object_agg(organization_id, jsonb_build_array(entries, encode(root, 'hex'))),
    sha256(string_agg(uuid_send(organization_id) || root, '' ORDER BY organization_id))
  INTO made.entries, made.organization_roots, made.root FROM branch;
  IF made.entries IS NULL THEN
    RETURN;
  END IF;
  made.seq := coalesce(last.seq, 0) + 1;
  made.prev_hash := coalesce(last.hash, '');
  made.sealed_at := clock_timestamp();
  made.hash := sha256(made.prev_hash || made.root || convert_to(concat_ws(' ', made.seq, made.epoch, made.xid_from,
    made.xid_to, made.entries, (extract(epoch FROM made.sealed_at) * 1000000)::bigint), 'UTF8'));
  INSERT INTO audit_seal SELECT made.*;
  RETURN NEXT made;
END $$;
"""
RIGHTS = """
DO $$
DECLARE member text;
BEGIN
  REVOKE EXECUTE ON FUNCTION audit_epoch(), audit_entry_stamp(), audit_change(), audit_entry_text(audit_entry),
    audit_change_write(uuid, text, text, uuid[], bigint, bytea, text[]), audit_seal_make() FROM PUBLIC;
  FOR member IN SELECT rolname FROM pg_roles WHERE rolname = 'app' LOOP
    EXECUTE format('REVOKE EXECUTE ON FUNCTION audit_change_write(uuid, text, text, uuid[], bigint, bytea, text[])'
      ' FROM %I', member);
    EXECUTE format('GRANT EXECUTE ON FUNCTION audit_seal_make(), audit_entry_text(audit_entry) TO %I', member);
  END LOOP;
  FOR member IN SELECT rolname FROM pg_roles WHERE rolname = 'auditor' LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION audit_entry_text(audit_entry) TO %I', member);
  END LOOP;
END $$;
"""
UNDO = """
DROP FUNCTION audit_seal_make(), audit_entry_text(audit_entry), audit_change();
DROP FUNCTION audit_change_write(uuid, text, text, uuid[], bigint, bytea, text[]);
DROP TRIGGER audit_entry_stamp ON audit_entry;
DROP FUNCTION audit_entry_stamp(), audit_epoch();
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0003_change_audit")]
    operations = [migrations.RunSQL([ENTRIES, SEALS, RIGHTS], UNDO)]
