"""Whether a connection of the read pools is held by nobody: it would be idle while everybody waits for one."""

import asyncio
from dataclasses import dataclass
from datetime import datetime

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
        "SELECT application_name, state, state_change FROM pg_stat_activity WHERE usename = 'app' AND datname = %s",
        database.name,
    )
    return Connections(
        open=len(found),
        in_transaction=sum(state != "idle" for _, state, _ in found),
        unused=sum(name == _READS and _is_before(changed, begin) for name, _, changed in found),
        refused=refused,
    )


def _is_before(changed: datetime | None, begin: datetime) -> bool:
    return changed is not None and changed < begin


async def _burst(url: str, request: Request) -> int:
    limits = httpx.Limits(max_connections=_AT_A_TIME)
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:

        async def one() -> int:
            answer = await client.post(url, content=request.body, headers=request.headers)
            return int(not answer.content.startswith(b'{"data"'))

        return sum([sum(await asyncio.gather(*(one() for _ in range(_AT_A_TIME)))) for _ in range(_TIMES)])


async def _rows(database: Database, text: str, *values: object) -> "list[tuple[object, ...]]":
    connection = await psycopg.AsyncConnection.connect(database.server.url("postgres", "postgres"))
    async with connection:
        return await (await connection.execute(text.encode(), values)).fetchall()
