"""`/healthz`: the process answers. `/readyz`: the database answers too, and every migration has been applied."""

import orjson

from backend.core.errors import AppError
from backend.core.migrated import unapplied_migrations
from backend.db.reads import Reads
from backend.db.writes import WriteThreads
from schema.http.messages import Response

_HEADERS = {"content-type": "application/json", "cache-control": "no-store"}


async def health(path: str, reads: Reads, writes: WriteThreads) -> Response:
    """200 or 503 with what is missing."""
    if path == "/healthz":
        return Response(200, orjson.dumps({"status": "ok"}), _HEADERS)
    try:
        async with reads.snapshot(None, seconds=2) as snapshot:
            await snapshot.rows("SELECT 1")
        pending = await writes.run(lambda: len(unapplied_migrations()))
    except AppError as error:
        return Response(503, orjson.dumps({"status": "unavailable", "reason": error.message}), _HEADERS)
    if pending:
        return Response(503, orjson.dumps({"status": "unavailable", "pendingMigrations": pending}), _HEADERS)
    return Response(200, orjson.dumps({"status": "ok"}), _HEADERS)
