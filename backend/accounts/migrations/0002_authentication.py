"""Functions that answer who a token or a session is before an organization is known.

They run as the owner, who may see every organization's rows, and give back one row for one secret or one person: the server's own
role cannot list tokens or memberships of an organization that it has not set.
"""

from django.db import migrations

FUNCTIONS = """
CREATE FUNCTION authenticate_token(secret_hash bytea)
RETURNS TABLE (token_id uuid, organization_id uuid, role text, scopes text[], expired boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT id, organization_id, role, scopes, expires_at <= now() FROM api_token WHERE hash = secret_hash AND revoked_at IS NULL
$$;
CREATE FUNCTION memberships_of(person uuid)
RETURNS TABLE (organization_id uuid, organization_name text, role text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT m.organization_id, o.name, m.role
  FROM membership m JOIN organization o ON o.id = m.organization_id JOIN user_account u ON u.id = m.user_id AND u.is_active
  WHERE m.user_id = person ORDER BY o.name
$$;
REVOKE EXECUTE ON FUNCTION authenticate_token(bytea), memberships_of(uuid) FROM PUBLIC;
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]
    operations = [
        migrations.RunSQL(FUNCTIONS, "DROP FUNCTION authenticate_token(bytea); DROP FUNCTION memberships_of(uuid);")
    ]
