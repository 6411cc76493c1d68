"""From a bearer secret or a session to the actor; the statements are here for the async read pool as well.

Both functions of the database run as the owner and give back one token or one person's memberships: before the
organization is known, no row of a tenant is visible to the server.
"""

import re
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase
from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from backend.accounts import errors
from backend.accounts.identities import BACKEND
from backend.accounts.models import ApiToken, User
from backend.accounts.services import secret_hash
from backend.core.actor import Actor, Right, Role, SmallCells
from backend.core.tenancy import acting_for

# LIMIT: the organization is found by its key. PostgreSQL takes the functions for 1,000 rows, and would read the table.
_OPTIONS = """
LEFT JOIN LATERAL (
  SELECT small_cells, coalesce(small_cell_minimum, 0) FROM organization WHERE id = found.organization_id LIMIT 1
) AS tenant (small_cells, small_cell_minimum) ON true
"""
_TOKEN = f"authenticate_token(%s) AS found {_OPTIONS}"
TOKEN_SQL = f"SELECT token_id, organization_id, role, scopes, expired, revoked, tenant.* FROM {_TOKEN}"
TOKEN_TEXT = f"(SELECT row(found, tenant)::text FROM {_TOKEN})"  # the same row as one text
MEMBERSHIPS_SQL = "SELECT organization_id, organization_name, role FROM memberships_of(%s)"
SESSION_SQL = "SELECT session_data FROM django_session WHERE session_key = %s AND expire_date > now()"
PERSON_SQL = f"""
SELECT person.password,
  person.is_superuser OR NOT EXISTS (SELECT FROM user_account_identity AS known WHERE known.user_id = person.id),
  found.organization_id, found.organization_name, found.role, tenant.*
FROM user_account AS person LEFT JOIN LATERAL memberships_of(person.id) AS found ON true {_OPTIONS}
WHERE person.id = %s AND person.is_active
"""
CHOSEN_ORGANIZATION = "organization_id"  # the session's key of the organization that a person works for

_SECRET = re.compile(r"dg_[A-Za-z0-9_-]{43}", re.ASCII)
_SESSION_KEY = re.compile(r"[a-z0-9]{32}", re.ASCII)
_USE_SECONDS = 60  # a token's last use is known to the minute
_REMEMBERED_USES = 10_000
_uses: dict[uuid.UUID, float] = {}
_uses_lock = threading.Lock()


def token_key(secret: str) -> bytes:
    """What TOKEN_SQL takes for a secret.

    Raises: MalformedToken.
    """
    if not _SECRET.fullmatch(secret):
        raise errors.MalformedToken
    return secret_hash(secret)


def actor_of_token(row: Sequence[Any] | None) -> Actor:
    """The actor of one row of TOKEN_SQL.

    Raises: UnknownToken (no row), RevokedToken, ExpiredToken.
    """
    if row is None:
        raise errors.UnknownToken
    token_id, organization_id, role, scopes, expired, revoked, small_cells, minimum = row
    if revoked:
        raise errors.RevokedToken
    if expired:
        raise errors.ExpiredToken
    return Actor(
        organization_id=organization_id,
        role=Role(role),
        token_id=token_id,
        scopes=frozenset(Right(scope) for scope in scopes),
        small_cells=SmallCells(small_cells),
        small_cell_minimum=minimum,
    )


def authenticate_bearer(secret: str) -> Actor:
    """The actor of an API token.

    Raises: MalformedToken, UnknownToken, RevokedToken, ExpiredToken; all are Unauthenticated.
    SQL: 1.
    """
    with connection.cursor() as cursor:
        cursor.execute(TOKEN_SQL, [token_key(secret)])
        return actor_of_token(cursor.fetchone())


def session_of(session_key: str | None) -> SessionBase:
    """The session of a cookie's value; an unknown or ended one is empty."""
    store: SessionBase = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    return store


def _actor_of_memberships(user_id: uuid.UUID, rows: Sequence[Sequence[Any]], chosen: str | None) -> Actor:
    """The actor of a person by the memberships of PERSON_SQL: in the chosen organization, or in the only one.

    Raises: NoMembership, NotAMember (of the chosen one any more), OrganizationNotChosen.
    """
    if not rows:
        raise errors.NoMembership
    wanted = [row for row in rows if chosen is None or str(row[0]) == chosen]
    if not wanted:
        raise errors.NotAMember
    if len(wanted) > 1:
        raise errors.OrganizationNotChosen
    organization_id, _name, role, small_cells, minimum = wanted[0]
    return Actor(
        organization_id=organization_id,
        role=Role(role),
        user_id=user_id,
        small_cells=SmallCells(small_cells),
        small_cell_minimum=minimum,
    )


def memberships_of(user_id: uuid.UUID) -> list[tuple[Any, ...]]:
    """The person's organizations as (id, name, role).

    SQL: 1.
    """
    with connection.cursor() as cursor:
        cursor.execute(MEMBERSHIPS_SQL, [user_id])
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What a session says: who signed in, with which password, and for which organization they work."""

    user_id: uuid.UUID
    password_hash: str  # as the session keeps it: of the hash of the password
    chosen: str | None
    by_provider: bool  # of OpenID Connect


def session_key_of(cookie: str | None) -> str:
    """What SESSION_SQL takes for a cookie's value.

    Raises: SignedOut.
    """
    if cookie is None or not _SESSION_KEY.fullmatch(cookie):
        raise errors.SignedOut
    return cookie


def signed_in(row: Sequence[Any] | None) -> SignedIn:
    """What one row of SESSION_SQL says; the rules are those of Django's `get_user`.

    Raises: SignedOut (no row; or nobody has signed in).
    """
    kept = session_of(None).decode(row[0]) if row is not None else {}
    if kept.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        raise errors.SignedOut
    return SignedIn(
        user_id=uuid.UUID(kept[SESSION_KEY]),
        password_hash=kept.get(HASH_SESSION_KEY, ""),
        chosen=kept.get(CHOSEN_ORGANIZATION),
        by_provider=kept[BACKEND_SESSION_KEY] == BACKEND,
    )


def actor_of_person(session: SignedIn, rows: Sequence[Sequence[Any]]) -> Actor:
    """The actor of a session by the rows of PERSON_SQL. A changed password or a deactivated account ends the session.

    A session that began at an OpenID provider is ended by becoming a superuser, too, and by the loss of the identity.

    Raises: SignedOut (Unauthenticated); NoMembership, NotAMember, OrganizationNotChosen (Forbidden).
    """
    known = User(password=rows[0][0]) if rows else None
    hashes = [known.get_session_auth_hash(), *known.get_session_auth_fallback_hash()] if known else []
    if not any(constant_time_compare(session.password_hash, one) for one in hashes):
        raise errors.SignedOut
    if session.by_provider and rows[0][1]:
        raise errors.SignedOut
    memberships = [row[2:] for row in rows if row[2] is not None]
    return _actor_of_memberships(session.user_id, memberships, session.chosen)


def authenticate_session(cookie: str | None) -> Actor:
    """The actor of a signed-in person.

    Raises: SignedOut (Unauthenticated); NoMembership, NotAMember, OrganizationNotChosen (Forbidden).
    SQL: 2 (session; person and memberships).
    """
    with connection.cursor() as cursor:
        cursor.execute(SESSION_SQL, [session_key_of(cookie)])
        session = signed_in(cursor.fetchone())
        cursor.execute(PERSON_SQL, [session.user_id])
        return actor_of_person(session, cursor.fetchall())


def choose_organization(session: SessionBase, *, user_id: uuid.UUID, organization_id: uuid.UUID) -> None:
    """Makes the organization the one that the signed-in person works for.

    Raises: NotAMember.
    SQL: 1; the session is saved by its middleware.
    """
    if all(row[0] != organization_id for row in memberships_of(user_id)):
        raise errors.NotAMember
    session[CHOSEN_ORGANIZATION] = str(organization_id)


def token_use_is_due(token_id: uuid.UUID) -> bool:
    """Whether this use of a token is to be recorded: at most once a minute and process; costs no statement.

    The caller hands `token_use_record` to a write thread and does not wait, so that reading waits for no write.
    """
    now = time.monotonic()
    with _uses_lock:
        if now - _uses.get(token_id, -float(_USE_SECONDS)) < _USE_SECONDS:
            return False
        if len(_uses) >= _REMEMBERED_USES:
            _uses.clear()
        _uses[token_id] = now
        return True


def token_use_record(actor: Actor) -> bool:
    """Whether the time of the token's use was written; another process may have done so within the minute.

    SQL: BEGIN, 2, COMMIT.
    """
    if actor.token_id is None:
        return False
    a_minute_ago = timezone.now() - timedelta(seconds=_USE_SECONDS)
    with acting_for(actor.organization_id):
        stale = Q(last_used_at=None) | Q(last_used_at__lt=a_minute_ago)
        return bool(ApiToken.objects.filter(stale, id=actor.token_id).update(last_used_at=Now()))
