"""A hand-written ASGI application: a pool, the tenant's setting, one statement per document, whose text is the answer.

It checks nothing and knows no GraphQL: what no server of this kind can undercut by much.
"""

import os
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
from psycopg import AsyncConnection
from psycopg.pq.abc import PGresult
from psycopg_pool import AsyncConnectionPool
from statements import LISTS, statement

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
    first = int(variables.get("first", 0))
    text = statement(name, first, int(variables.get("findings", 0)))
    async with pool.connection() as connection:
        async with connection.pipeline():  # at its end everything has come, in one round trip
            await connection.execute(_SET, [organization])
            cursor = await connection.execute(text, variables)
        result = cursor.pgresult
    if not result or not result.ntuples:
        return b'{"data":null}'
    return _page(LISTS[name], result, first) if name in LISTS else result.get_value(0, 0) or b""


def _page(name: bytes, result: PGresult, first: int) -> bytes:
    shown = min(result.ntuples, first)
    edges = b",".join([result.get_value(row, 0) or b"" for row in range(shown)])
    more = b"true" if result.ntuples > first else b"false"
    end = result.get_value(shown - 1, 1) or b""
    return b'{"data":{"%b":{"edges":[%b],"pageInfo":{"hasNextPage":%b,"endCursor":"%b"}}}}' % (name, edges, more, end)


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
