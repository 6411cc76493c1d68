"""The function that makes seals, as 0004 made it, but for what it seals next.

To the character: a rehearsal compares what going back leaves with what 0004 left.
"""

BEFORE = """
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
  END IF;"""
SEAL_MAKE = """
CREATE OR REPLACE FUNCTION audit_seal_make() RETURNS SETOF audit_seal LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  last audit_seal;
  made audit_seal;
  left_over xid8;{declared}
BEGIN
  -- One sealer at a time; whoever comes second has nothing to do.
  IF NOT pg_try_advisory_xact_lock(7234301961) THEN
    RETURN;
  END IF;
  SELECT * INTO last FROM audit_seal ORDER BY seq DESC LIMIT 1;{what}
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
