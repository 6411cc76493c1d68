"""Who sends a request: by bearer token or by session. Rights are checked elsewhere, field by field."""

import asyncio
import logging
import uuid
from dataclasses import dataclass
from functools import partial

from django.conf import settings
from django.http import parse_cookie

from backend.accounts.authentication import (
    PERSON_SQL,
    SESSION_SQL,
    TOKEN_SQL,
    TOKEN_TEXT,
    actor_of_person,
    actor_of_token,
    session_key_of,
    signed_in,
    token_key,
    token_use_is_due,
    token_use_record,
)
from backend.accounts.throttling import Attempts, TooManyAttempts, token_allowance
from backend.audit.door import token_address_record
from backend.core.actor import Actor
from backend.core.errors import AppError, Forbidden, Unauthenticated
from backend.core.least_recent import LeastRecent
from backend.db.premises import Premise, begun_anew
from backend.db.reads import Reads
from backend.db.writes import WriteThreads
from schema.http.messages import Headers, HttpError

_PREFLIGHT_HEADERS = ("x-csrftoken", "x-requested-with", "graphql-require-preflight")
_OTHER_SITES = ("cross-site", "same-site")  # as browsers tell in Sec-Fetch-Site; the latter is another subdomain
log = logging.getLogger("driftgraph.http")
_REMEMBERED = 1_000  # tokens per process
_PLACES = 10_000  # of tokens and addresses per process


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, None without credentials; and what the answer rests on where that was known from before."""

    actor: Actor | None
    premise: Premise | None = None


NOBODY = Principal(None)


class Credentials:
    """Finds the principal of a request.

    A token that was seen before is not looked up again: its principal carries a premise, with which the first statement
    of the operation looks at the token once more. So a revoked token gets no answer, and no round trip is spent on it.
    """

    def __init__(self, reads: Reads, writes: WriteThreads, attempts: Attempts) -> None:
        self._reads, self._writes, self._attempts = reads, writes, attempts
        self._known: LeastRecent[bytes, Principal] = LeastRecent(_REMEMBERED)
        self._places: LeastRecent[tuple[uuid.UUID, str], bool] = LeastRecent(_PLACES)
        """Addresses from which a token was used; the trail knows of it."""
        self._recording: dict[tuple[uuid.UUID, str], asyncio.Task[None]] = {}

    def known(self, headers: Headers, address: str) -> Principal | None:
        """Who asks, where nobody needs to be asked: by a token that was seen before, or without credentials.

        `address` is whence the request comes.
        """
        secret = _bearer(headers)
        if secret is None:
            return None if headers.get("cookie") else NOBODY
        try:
            found = self._known.peek(token_key(secret))
        except Unauthenticated:
            return None
        if found is not None and found.actor is not None:
            self._note_use(found.actor, address)
        return found

    async def anew(self, headers: Headers, address: str) -> Principal:
        """Who asks, without trusting what was known: for what is not known, or where a premise did not hold.

        Raises:
            HttpError: 401 for credentials that are not good, 403 for a request that another site may have caused, 429
                from an address with too many tokens that are no good, 503 where they cannot be looked at.
        """
        secret = _bearer(headers)
        try:
            if secret is not None:
                return await self._by_secret(secret, address)
            key = _session_key(headers.get("cookie"))
            if key is None:
                return NOBODY
            _refuse_foreign(headers)
            return Principal(await begun_anew(partial(self._by_session, key)))
        except Unauthenticated as error:
            if secret is None:
                return NOBODY  # an ended session is like none
            raise HttpError(401, error.code, error.message, {"www-authenticate": "Bearer"}) from None
        except TooManyAttempts as error:
            wait = {"retry-after": str(error.details["seconds"])}
            raise HttpError(429, error.code, error.message, wait) from None
        except AppError as error:
            raise HttpError.of(error, 403 if error.code == Forbidden.code else 503) from None

    async def _by_session(self, cookie: str) -> Actor:
        """Two statements on the read pool: a page in a browser waits for no write."""
        key = session_key_of(cookie)
        async with self._reads.snapshot(None) as snapshot:
            found = await snapshot.rows(SESSION_SQL, [key])
            session = signed_in(found[0] if found else None)
            return actor_of_person(session, await snapshot.rows(PERSON_SQL, [session.user_id]))

    def _note_use(self, actor: Actor, address: str) -> None:
        """Has the use of a token recorded if it is due; nobody waits for it, and no token takes two threads at a place.

        The first use from an address is due at once. One of which nothing is remembered is looked up in the trail.
        """
        if actor.token_id is None:
            return
        place = (actor.token_id, address)
        if place in self._recording:
            return
        is_elsewhere, is_due = bool(address) and self._places.peek(place) is None, token_use_is_due(actor.token_id)
        if not (is_elsewhere or is_due):
            return
        task = asyncio.create_task(self._writes.run(_record_use, actor, address if is_elsewhere else "", is_due=is_due))
        self._recording[place] = task

        def ended(task: "asyncio.Task[None]") -> None:
            del self._recording[place]
            if task.cancelled():
                return
            if (error := task.exception()) is not None:
                log.warning("the use of a token was not recorded: %s", type(error).__name__)
            elif is_elsewhere:
                self._places.get(place, lambda: True)

        task.add_done_callback(ended)

    async def _by_secret(self, secret: str, address: str) -> Principal:
        """Who asks with a secret. A token that is remembered is looked at however many others are no good."""
        allowance = token_allowance(address)
        try:
            key = token_key(secret)
            if self._known.peek(key) is None:
                await asyncio.to_thread(self._attempts.check, allowance)
            return await begun_anew(partial(self._by_token, key, address))
        except Unauthenticated:
            await asyncio.to_thread(self._attempts.take, allowance)
            raise

    async def _by_token(self, key: bytes, address: str) -> Principal:
        async with self._reads.snapshot(None) as snapshot:
            rows = await snapshot.rows(f"SELECT token.*, {TOKEN_TEXT} FROM ({TOKEN_SQL}) AS token", [key, key])
        # Forgotten after the look, without a wait in between: a request at the same time still finds a good one known.
        self._known.forget(key)
        *row, text = rows[0] if rows else (None,)
        actor = actor_of_token(row or None)
        self._note_use(actor, address)
        return self._known.get(key, lambda: Principal(actor, Premise(TOKEN_TEXT, (key,), text)))


def _record_use(actor: Actor, address: str, *, is_due: bool) -> None:
    """Writes down a token's use; with an address, that it was used from there if that is new."""
    if address:
        token_address_record(actor, address)
    if is_due:
        token_use_record(actor)


def _bearer(headers: Headers) -> str | None:
    scheme, _, secret = headers.get("authorization").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else None


def _session_key(cookie: str) -> str | None:
    return parse_cookie(cookie).get(settings.SESSION_COOKIE_NAME) or None


def _refuse_foreign(headers: Headers) -> None:
    """A browser sends the session's cookie along with requests that another site makes.

    JSON needs a preflight, which grants no cookie; a form with files needs none, so it must carry a header that does.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if (origin and origin.partition("://")[2] != headers.get("host")) or site in _OTHER_SITES:
        raise HttpError(403, "FORBIDDEN", "The request comes from another site.")
    if headers.media_type == "multipart/form-data" and not any(headers.get(name) for name in _PREFLIGHT_HEADERS):
        raise HttpError(403, "FORBIDDEN", "Files sent with a session need the header X-CSRFToken.")
