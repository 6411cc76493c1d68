"""Entries of what happens at the door: signing in and out, refusals, tokens from new addresses.

A sign-in belongs to no organization yet, so a function of the owner writes its entries: one for each organization of the person.
"""

from django.db import migrations, models

_TEXT = """
CREATE OR REPLACE FUNCTION audit_entry_text(e audit_entry) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp AS $$
  SELECT jsonb_strip_nulls(jsonb_build_object('id', e.id, 'organization_id', e.organization_id,
    'created_at', (extract(epoch FROM e.created_at) * 1000000)::bigint,
    'at', (extract(epoch FROM e.at) * 1000000)::bigint, 'actor_id', e.actor_id, 'token_id', e.token_id,
    'actor_role', e.actor_role, 'action', e.action, 'object_type', e.object_type, 'object_ids', e.object_ids,
    'object_count', e.object_count, 'objects_digest', encode(e.objects_digest, 'hex'), 'fields', e.fields,
    'operation_name', e.operation_name, 'document_hash', encode(e.document_hash, 'hex'), 'fields_phi', e.fields_phi,
    'outcome', e.outcome, 'purpose', e.purpose, 'request_id', e.request_id, {more}'xid', e.xid::text, 'epoch', e.epoch))::text
$$;
"""
_SIGN_IN = """
CREATE FUNCTION audit_sign_in(act text, address text, unknown bytea, ended text, ip bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  INSERT INTO audit_entry (id, organization_id, actor_id, actor_role, action, object_type, object_ids, object_count,
    objects_digest, fields, operation_name, fields_phi, outcome, purpose, request_id, ip_hash)
  SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING
      substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1),
      'hex')::uuid,
    coalesce(m.organization_id, '00000000-0000-0000-0000-000000000000'), CASE ended WHEN 'OK' THEN u.id END,
    CASE ended WHEN 'OK' THEN m.role END, act, 'user_account',
    CASE WHEN u.id IS NULL THEN '{}' ELSE ARRAY[u.id] END, CASE WHEN u.id IS NULL THEN 0 ELSE 1 END,
    CASE WHEN u.id IS NULL THEN unknown END, '{}', '', false, ended, '', '', ip
  FROM (SELECT 1) AS one LEFT JOIN user_account u ON u.email = address LEFT JOIN LATERAL memberships_of(u.id) m ON true;
END $$;
REVOKE EXECUTE ON FUNCTION audit_sign_in(text, text, bytea, text, bytea) FROM PUBLIC;
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'app') THEN
    GRANT EXECUTE ON FUNCTION audit_sign_in(text, text, bytea, text, bytea) TO app;
  END IF;
END $$;
"""
_UNDO = "DROP FUNCTION audit_sign_in(text, text, bytea, text, bytea);"


class Migration(migrations.Migration):
    dependencies = [("audit", "0005_sealing_indexes"), ("accounts", "0005_change_audit")]
    safety_exceptions = {"data-with-schema": "the INSERT is the body of a function, which nothing calls here"}
    operations = [
        migrations.AddField("auditentry", "ip_hash", models.BinaryField(null=True)),
        migrations.RunSQL(
            [_TEXT.replace("{more}", "'ip_hash', encode(e.ip_hash, 'hex'), "), _SIGN_IN],
            [_UNDO, _TEXT.replace("{more}", "")],
        ),
    ]
