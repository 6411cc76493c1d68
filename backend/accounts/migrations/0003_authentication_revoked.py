"""authenticate_token says of a revoked token that it is revoked, so that its holder learns why it stopped working.

A revoked token also counts as expired and has no scopes: a caller that does not look at the last column lets nobody in.
"""

from django.db import migrations

_SIGNATURE = """
CREATE FUNCTION authenticate_token(secret_hash bytea)
RETURNS TABLE (token_id uuid, organization_id uuid, role text, scopes text[], expired boolean{column})
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT {values}
$$;
REVOKE EXECUTE ON FUNCTION authenticate_token(bytea) FROM PUBLIC;
"""
_DROP = "DROP FUNCTION authenticate_token(bytea);"
_FORWARD = _DROP + _SIGNATURE.format(
    column=", revoked boolean",
    values="""id, organization_id, role, CASE WHEN revoked_at IS NULL THEN scopes ELSE '{}' END,
    expires_at <= now() OR revoked_at IS NOT NULL, revoked_at IS NOT NULL
  FROM api_token WHERE hash = secret_hash""",
)
_BACKWARD = _DROP + _SIGNATURE.format(
    column="",
    values="id, organization_id, role, scopes, expires_at <= now()"
    " FROM api_token WHERE hash = secret_hash AND revoked_at IS NULL",
)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_authentication")]
    safety_exceptions = {
        "ban-drop-function": "the same transaction makes it again: the same argument, the same columns, one more at the"
        " end"
    }
    operations = [migrations.RunSQL(_FORWARD, _BACKWARD)]
