"""Mutations with a key have one effect, however often they are sent; which mutations take a key is the schema's matter.

The row of a key is written in the transaction of the work, so there is no state "in progress": it is committed with its
answer, or it never was. A concurrent retry waits on the index entry of the first one.
"""

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django.db import OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable

from backend.core.actor import Actor
from backend.core.errors import BadUserInput, IdempotencyConflict, Unavailable
from backend.core.ids import uuid7, uuid7_floor
from backend.core.tenancy import write
from backend.phi.scanner import scan

MAX_KEY_LENGTH = 200
LOCK_TIMEOUT = "5s"
FORGOTTEN_AT_ONCE = 1_000  # keys of one transaction

_INSERT = """
INSERT INTO idempotency_key (id, organization_id, principal, key, request_hash, response)
VALUES (%s, %s, %s, %s, %s, 'null') ON CONFLICT (organization_id, principal, key) DO NOTHING RETURNING id
"""
_SELECT = (
    "SELECT request_hash, response FROM idempotency_key WHERE organization_id = %s AND principal = %s AND key = %s"
)
_STORE = "UPDATE idempotency_key SET response = %s WHERE organization_id = %s AND principal = %s AND key = %s"
_FORGET = """
DELETE FROM idempotency_key WHERE id IN (
  SELECT id FROM idempotency_key WHERE organization_id = %s AND id < %s ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
"""
_PATIENCE = "SELECT current_setting('lock_timeout'), set_config('lock_timeout', %s, true)"


class BadIdempotencyKey(BadUserInput):
    """An idempotency key has 1 to {limit} printable characters."""


class RetryInProgress(Unavailable):
    """The first request with this idempotency key is still being worked on. Try again."""


def request_hash(operation: str, variables: Mapping[str, Any]) -> bytes:
    """The 32 bytes that are equal for equal requests, whatever the order of their fields."""
    canonical = json.dumps([operation, variables], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).digest()


def _principal(actor: Actor) -> uuid.UUID:
    return actor.token_id or actor.user_id or actor.organization_id


def _kept(key: str) -> str:
    """The key as it is stored: as its hash where it seems to identify a person, as some clients' keys do."""
    return hashlib.sha256(key.encode()).hexdigest() if scan(key) else key


def key_of_part(key: str, part: str) -> str:
    """The key of one of several works that are asked for with one key; `part` names it in every retry alike.

    Raises:
        BadIdempotencyKey: as claim_key.
    """
    _refuse_bad(key)
    return hashlib.sha256(f"{key}\0{part}".encode()).hexdigest()


def _refuse_bad(key: str) -> None:
    if not key or len(key) > MAX_KEY_LENGTH or not key.isprintable():
        raise BadIdempotencyKey(limit=MAX_KEY_LENGTH, path=("idempotencyKey",))


def claim_key(*, actor: Actor, key: str, request_hash: bytes) -> dict[str, Any] | None:
    """The stored answer of an earlier request with this key, or None: then do the work and call `store`.

    The first statement of the transaction that does the work.

    Raises:
        IdempotencyConflict: the key was used with another request.
        RetryInProgress: another transaction has held the key for 5 s; retryable.
        BadIdempotencyKey: empty, too long or not printable.
    SQL: 3 for a new key, 4 for a known one.
    """
    _refuse_bad(key)
    key = _kept(key)
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("a key is claimed in the transaction of its work")
    identity: list[Any] = [actor.organization_id, _principal(actor), key]
    with connection.cursor() as cursor:
        cursor.execute(_PATIENCE, [LOCK_TIMEOUT])
        patience = cursor.fetchone()[0]
        try:
            cursor.execute(_INSERT, [uuid7(), *identity, request_hash])
        except OperationalError as error:
            if isinstance(error.__cause__, LockNotAvailable):
                raise RetryInProgress from error
            raise
        is_new = cursor.fetchone() is not None
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [patience])
        if is_new:
            return None
        cursor.execute(_SELECT, identity)
        found = cursor.fetchone()
    if found is None:  # its time was up between the two statements: it is a new key
        return claim_key(actor=actor, key=key, request_hash=request_hash)
    known_hash, response = found
    if bytes(known_hash) != request_hash:
        raise IdempotencyConflict(path=("idempotencyKey",))
    answer: dict[str, Any] = json.loads(response) if isinstance(response, str) else response
    return answer


def store(*, actor: Actor, key: str, response: Mapping[str, Any]) -> None:
    """Keeps the answer under the claimed key.

    SQL: 1.
    """
    with connection.cursor() as cursor:
        cursor.execute(_STORE, [json.dumps(dict(response)), actor.organization_id, _principal(actor), _kept(key)])


def once(*, actor: Actor, key: str, request_hash: bytes, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answer of the work, done in one transaction with its key; a retry gets the stored answer.

    Raises: what claim_key and the work raise; then neither the work nor the key was written.
    """
    with write(actor):
        if (known := claim_key(actor=actor, key=key, request_hash=request_hash)) is not None:
            return known
        response = work()
        store(actor=actor, key=key, response=response)
    return response


def keys_forget(*, actor: Actor, before: datetime) -> int:
    """How many keys of the organization were made before a moment, and are deleted.

    Ids begin with their time, so their unique index finds the old ones. Each thousand is a transaction of its own.

    SQL: BEGIN, 2, COMMIT per 1,000.
    """
    forgotten, last = 0, FORGOTTEN_AT_ONCE
    while last == FORGOTTEN_AT_ONCE:
        with write(actor), connection.cursor() as cursor:
            cursor.execute(_FORGET, [actor.organization_id, uuid7_floor(before), FORGOTTEN_AT_ONCE])
            last = cursor.rowcount
        forgotten += last
    return forgotten
