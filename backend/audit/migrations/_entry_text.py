"""The function that says what of an entry is sealed, as 0006 made it. It belongs to the row type of one table.

To the character: a rehearsal compares what going back leaves with what 0006 left.
"""

_TEXT = """
CREATE FUNCTION audit_entry_text(e {table}) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp AS $$
  SELECT jsonb_strip_nulls(jsonb_build_object('id', e.id, 'organization_id', e.organization_id,
    'created_at', (extract(epoch FROM e.created_at) * 1000000)::bigint,
    'at', (extract(epoch FROM e.at) * 1000000)::bigint, 'actor_id', e.actor_id, 'token_id', e.token_id,
    'actor_role', e.actor_role, 'action', e.action, 'object_type', e.object_type, 'object_ids', e.object_ids,
    'object_count', e.object_count, 'objects_digest', encode(e.objects_digest, 'hex'), 'fields', e.fields,
    'operation_name', e.operation_name, 'document_hash', encode(e.document_hash, 'hex'), 'fields_phi', e.fields_phi,
    'outcome', e.outcome, 'purpose', e.purpose, 'request_id', e.request_id, {ip}'xid', e.xid::text, 'epoch', e.epoch))::text
$$;
REVOKE EXECUTE ON FUNCTION audit_entry_text({table}) FROM PUBLIC;
DO $$
DECLARE member text;
BEGIN
  FOR member IN SELECT rolname FROM pg_roles WHERE rolname IN ('app', 'auditor') LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION audit_entry_text({table}) TO %I', member);
  END LOOP;
END $$;
"""


def entry_text(table: str) -> str:
    """The statements that make it for a table."""
    return _TEXT.replace("{table}", table).replace("{ip}", "'ip_hash', encode(e.ip_hash, 'hex'), ")
