"""`/healthz`: the process answers. `/readyz`: the database answers too, and every migration has been applied.

`/readyz` shows the latest seal of the audit trail: whoever keeps what it says can tell whether the trail was cut short.
"""

from typing import Any

import orjson
from psycopg.errors import UndefinedTable

from backend.core.errors import AppError
from backend.core.migrated import known_migrations
from backend.db.reads import Reads
from schema.http.messages import RETRY_AFTER, Response

_LATEST_SEAL = "SELECT seq, encode(hash, 'hex'), sealed_at FROM audit_seal ORDER BY seq DESC LIMIT 1"
_HEADERS = {"content-type": "application/json", "cache-control": "no-store"}


async def health(path: str, reads: Reads) -> Response:
    """200 or 503 with what is missing.

    A snapshot answers, so that a server whose threads all write is not taken for one that is not there.
    """
    if path == "/healthz":
        return Response(200, orjson.dumps({"status": "ok"}), _HEADERS)
    try:
        async with reads.snapshot(None, seconds=2) as snapshot:
            applied = set(await snapshot.rows("SELECT app, name FROM django_migrations"))
            pending = len(known_migrations() - applied)
            seals = [] if pending else await snapshot.rows(_LATEST_SEAL)
    except UndefinedTable:
        pending, seals = len(known_migrations()), []
    except AppError as error:
        reason = {"status": "unavailable", "code": error.code, "reason": error.message}
        return Response(503, orjson.dumps(reason), {**_HEADERS, **RETRY_AFTER})
    if pending:
        missing = {"status": "unavailable", "pendingMigrations": pending}
        return Response(503, orjson.dumps(missing), {**_HEADERS, **RETRY_AFTER})
    seal = dict(zip(("seq", "hash", "sealedAt"), seals[0], strict=True)) if seals else None
    body: dict[str, Any] = {"status": "ok", "auditSeal": seal}
    if reads.replica is not None:
        # The primary answers in its place: the server is ready without it.
        body["replica"] = {"read": reads.replica.unfit is None, "reason": reads.replica.unfit}
    return Response(200, orjson.dumps(body), _HEADERS)
