"""One snapshot per operation, on psycopg's asynchronous pool. Every read of the API comes here; no write does."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
from django.conf import settings
from psycopg import AsyncConnection, AsyncCursor
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from backend.core.errors import DeadlineExceeded, Unavailable

Row = tuple[Any, ...]
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_SET = "SELECT set_config('app.organization_id', %s, true), set_config('statement_timeout', %s, true)"


def connection_url(alias: str = "default") -> str:
    """The address of one of Django's databases, for psycopg."""
    found = settings.DATABASES[alias]
    options = {**found.get("OPTIONS", {}), "host": found["HOST"]}
    if found["PORT"]:
        options["port"] = found["PORT"]
    who = quote(found["USER"], safe="") + (f":{quote(found['PASSWORD'], safe='')}" if found["PASSWORD"] else "")
    return f"postgresql://{who}@/{quote(found['NAME'], safe='')}?{urlencode(options)}"


class Snapshot:
    """The database as of one instant, for one organization.

    The transaction opens at the first read, in one round trip with it, and not at all when nothing is read. Statements
    of one snapshot run one after the other: they share a connection.
    """

    def __init__(
        self,
        pool: "AsyncConnectionPool[AsyncConnection[Row]]",
        organization_id: uuid.UUID | None,
        deadline: float,
    ) -> None:
        self._pool = pool
        self._organization = str(organization_id) if organization_id else ""
        self._deadline = deadline
        self._connection: AsyncConnection[Row] | None = None
        self._turn = asyncio.Lock()
        self.statements: list[str] = []

    async def rows(self, text: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of one statement.

        Raises:
            DeadlineExceeded: the operation's time is over; PostgreSQL has stopped the statement.
            Unavailable: no connection could be had, or it broke.

        SQL: 1; the first one of a snapshot carries BEGIN and the settings with it.
        """
        async with self._turn:
            try:
                self.statements.append(text)
                return await self._execute(text, parameters)
            except psycopg.errors.QueryCanceled as error:
                raise DeadlineExceeded from error
            except (PoolTimeout, psycopg.OperationalError) as error:
                raise Unavailable from error

    async def _execute(self, text: str, parameters: Sequence[Any]) -> list[Row]:
        cursor: AsyncCursor[Row]
        if self._connection is not None:
            cursor = await self._connection.execute(text, parameters)
            return await cursor.fetchall()
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise DeadlineExceeded
        self._connection = await self._pool.getconn(timeout=remaining)
        milliseconds = max(1, int((self._deadline - time.monotonic()) * 1000))
        async with self._connection.pipeline():
            await self._connection.execute(_BEGIN)
            await self._connection.execute(_SET, [self._organization, str(milliseconds)])
            cursor = await self._connection.execute(text, parameters)
        return await cursor.fetchall()

    async def close(self) -> None:
        """Ends the transaction and gives the connection back, whole or broken."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            if not connection.closed:
                await connection.rollback()
        except psycopg.Error:
            await connection.close()  # the pool replaces it
        finally:
            await self._pool.putconn(connection)


class Reads:
    """The read pool of a process. Open it in the event loop that serves, close it there."""

    def __init__(self, url: str, *, size: int) -> None:
        self._pool: AsyncConnectionPool[AsyncConnection[Row]] = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=size,
            open=False,
            check=AsyncConnectionPool.check_connection,
            kwargs={
                "autocommit": True,
                "application_name": "driftgraph-reads",
                "options": "-c timezone=UTC -c datestyle=ISO",
                # A prepared statement does not survive ALTER TYPE, nor a pooler in transaction mode.
                "prepare_threshold": None,
            },
        )

    async def open(self) -> None:
        """Makes the first connection.

        Raises:
            Unavailable: the database does not answer.
        """
        try:
            await self._pool.open(wait=True, timeout=10)
        except PoolTimeout as error:
            raise Unavailable from error

    async def close(self) -> None:
        """Closes every connection."""
        await self._pool.close()

    @asynccontextmanager
    async def snapshot(
        self, organization_id: uuid.UUID | None, *, seconds: float | None = None
    ) -> AsyncIterator[Snapshot]:
        """A snapshot that ends with the block; without an organization it sees no tenant's rows."""
        limit = seconds if seconds is not None else settings.ENVIRONMENT.deadline_seconds
        found = Snapshot(self._pool, organization_id, time.monotonic() + limit)
        try:
            yield found
        finally:
            # A cancelled operation must still give its connection back.
            await asyncio.shield(found.close())


def process_reads() -> Reads:
    """The pool by the settings of this process, not yet open."""
    return Reads(connection_url(), size=settings.ENVIRONMENT.read_pool_size)
