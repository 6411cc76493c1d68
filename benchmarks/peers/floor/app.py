"""A hand-written ASGI application: a pool, the tenant's setting, one statement per document, its text as the answer.

It checks nothing and knows no GraphQL: what no server of this kind can undercut by much.
"""

import os
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from statements import STATEMENTS

_Message = MutableMapping[str, Any]
_SET = "SELECT set_config('app.organization_id', %s, true)"

pool: AsyncConnectionPool[AsyncConnection[Any]] = AsyncConnectionPool(
    os.environ["BENCH_DATABASE_URL"],
    min_size=1,
    max_size=int(os.environ["BENCH_POOL"]),
    open=False,
    kwargs={"autocommit": True, "prepare_threshold": 1, "options": "-c timezone=UTC"},
)


async def app(
    scope: _Message, receive: Callable[[], Awaitable[_Message]], send: Callable[[_Message], Awaitable[None]]
) -> None:
    """Takes one ASGI connection."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    asked = orjson.loads(body)
    organization = next(value for name, value in scope["headers"] if name == b"x-organization").decode()
    answer = await _answer(asked["query"], asked["variables"], organization)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def _answer(name: str, variables: dict[str, Any], organization: str) -> bytes:
    if variables.get("after"):
        cents, _, after_id = variables["after"].partition(":")
        name, variables = f"{name} after", {**variables, "cents": int(cents), "after_id": uuid.UUID(after_id)}
    async with pool.connection() as connection, connection.pipeline():
        await connection.execute(_SET, [organization])
        cursor = await connection.execute(STATEMENTS[name], variables)
        await cursor.fetchone()
        result = cursor.pgresult
    return (result and result.get_value(0, 0)) or b'{"data":null}'


async def _live(receive: Callable[[], Awaitable[_Message]], send: Callable[[_Message], Awaitable[None]]) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await pool.open(wait=True)
            await send({"type": "lifespan.startup.complete"})
        else:
            await pool.close()
            await send({"type": "lifespan.shutdown.complete"})
            return
