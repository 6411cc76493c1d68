"""Whether a connection of the read pools is held by nobody: it would be idle while everybody waits for one."""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg

from benchmarks.peers.database import Database
from benchmarks.peers.servers import Request

_SETTLE_SECONDS = 3  # until operations of clients that have left are over
_AT_A_TIME, _TIMES = 64, 6  # requests: more than all pools have connections
_READS = "driftgraph-reads"


@dataclass(frozen=True, slots=True)
class Connections:
    """Of the server to PostgreSQL, when nobody asks."""

    open: int
    in_transaction: int
    unused: int  # of the read pools, while more was asked than they have connections
    refused: int  # of the answers that were asked for meanwhile
    suspicious: list[str]  # those that were unused or in a transaction: process, state, age, last statement

    @property
    def leaked(self) -> int:
        """Those that nobody gives back."""
        return max(self.in_transaction, self.unused)


async def connections(url: str, request: Request, database: Database) -> Connections:
    """The state of the server's connections after a burst that needs all of them."""
    await asyncio.sleep(_SETTLE_SECONDS)
    begin = (await _rows(database, "SELECT clock_timestamp()"))[0][0]
    refused = await _burst(url, request)
    await asyncio.sleep(_SETTLE_SECONDS)
    found = await _rows(
        database,
        "SELECT application_name, state, state_change, format('%%s %%s since %%s: %%s', pid, state,"
        " clock_timestamp() - state_change, left(query, 100)) FROM pg_stat_activity"
        " WHERE usename = 'app' AND datname = %s",
        database.name,
    )
    busy = [said for _, state, _, said in found if state != "idle"]
    unused = [said for name, _, changed, said in found if name == _READS and changed < begin]
    return Connections(len(found), len(busy), len(unused), refused, sorted({*busy, *unused}))


async def _burst(url: str, request: Request) -> int:
    limits = httpx.Limits(max_connections=_AT_A_TIME)
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:

        async def one() -> int:
            answer = await client.post(url, content=request.body, headers=request.headers)
            return int(not answer.content.startswith(b'{"data"'))

        return sum([sum(await asyncio.gather(*(one() for _ in range(_AT_A_TIME)))) for _ in range(_TIMES)])


async def _rows(database: Database, text: str, *values: object) -> "list[tuple[Any, ...]]":
    connection = await psycopg.AsyncConnection.connect(database.server.url("postgres", "postgres"))
    async with connection:
        return await (await connection.execute(text.encode(), values)).fetchall()
