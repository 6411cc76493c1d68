"""`/healthz`: the process answers. `/readyz`: the database answers too, and every migration has been applied.

`/readyz` shows the latest seal of the audit trail: whoever keeps what it says can tell whether the trail was cut short.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from psycopg.errors import UndefinedTable

from backend.core.errors import AppError
from backend.core.migrated import known_migrations
from backend.db.reads import Reads
from backend.db.snapshots import Snapshot
from schema.http.messages import RETRY_AFTER, Response

_LATEST_SEAL = "SELECT seq, encode(hash, 'hex'), sealed_at FROM audit_seal ORDER BY seq DESC LIMIT 1"
_HEADERS = {"content-type": "application/json", "cache-control": "no-store"}


class LatestSeal(NamedTuple):
    """The end of the chain of seals; the hash as 64 hexadecimal digits."""

    seq: int
    hash: str
    sealed_at: datetime


@dataclass(frozen=True, slots=True)
class Readiness:
    """How many migrations are missing; where none is, the latest seal if there is one."""

    pending: int
    seal: LatestSeal | None = None


async def readiness(snapshot: Snapshot) -> Readiness:
    """What the database says.

    Raises: as `Snapshot.rows`.
    SQL: 2.
    """
    try:
        applied = set(await snapshot.rows("SELECT app, name FROM django_migrations"))
        if pending := len(known_migrations() - applied):
            return Readiness(pending)
        seals = await snapshot.rows(_LATEST_SEAL)
    except UndefinedTable:
        return Readiness(len(known_migrations()))
    return Readiness(0, LatestSeal(*seals[0]) if seals else None)


async def health(path: str, reads: Reads) -> Response:
    """200 or 503 with what is missing.

    A snapshot answers, so that a server whose threads all write is not taken for one that is not there.
    """
    if path == "/healthz":
        return Response(200, orjson.dumps({"status": "ok"}), _HEADERS)
    try:
        async with reads.snapshot(None, seconds=2) as snapshot:
            found = await readiness(snapshot)
    except AppError as error:
        reason = {"status": "unavailable", "code": error.code, "reason": error.message}
        return Response(503, orjson.dumps(reason), {**_HEADERS, **RETRY_AFTER})
    if found.pending:
        missing = {"status": "unavailable", "pendingMigrations": found.pending}
        return Response(503, orjson.dumps(missing), {**_HEADERS, **RETRY_AFTER})
    seal = dict(zip(("seq", "hash", "sealedAt"), found.seal, strict=True)) if found.seal else None
    body: dict[str, Any] = {"status": "ok", "auditSeal": seal}
    if reads.replica is not None:
        # The primary answers in its place: the server is ready without it.
        body["replica"] = {"read": reads.replica.unfit is None, "reason": reads.replica.unfit}
    return Response(200, orjson.dumps(body), _HEADERS)
