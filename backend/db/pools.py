"""The connections of a process to one server that it reads from, and what makes them alike."""

import asyncio
import time
import uuid
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from psycopg import AsyncConnection, capabilities
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from backend.core.errors import OrganizationBusy, Unavailable
from backend.db.pipeline import Pipelines
from backend.db.shares import Shares

Row = tuple[Any, ...]
# What JSON made by SQL rests on. Not as an option of the start-up, which PgBouncer refuses; these two it keeps apart.
# The third of them, extra_float_digits, it does not: each transaction sets it (snapshots.py).
_FORMS = "SELECT set_config('timezone', 'UTC', false), set_config('datestyle', 'ISO', false)"
_PREPARE_AFTER = 2  # executions of a statement on a connection, after which PostgreSQL keeps its plan
_PREPARED = 256  # statements that a connection keeps
# Then the pool begins anew. Its pauses double: after minutes without PostgreSQL it would come back minutes later.
_GIVE_UP_SECONDS = 2.0
_OPEN_SECONDS = 10.0


async def _configure(connection: "AsyncConnection[Row]") -> None:
    await connection.execute(_FORMS)


class ReadPool:
    """A pool that snapshots borrow from. Open it in the event loop that serves, close it there."""

    def __init__(self, url: str, *, size: int, name: str) -> None:
        """`name` is what psycopg's lines of the log call it.

        Raises:
            ImproperlyConfigured: the libpq here cannot make room for another prepared statement, nor read in parts.
        """
        if not (capabilities.has_send_close_prepared() and capabilities.has_stream_chunked()):
            raise ImproperlyConfigured("It needs libpq 17 or later, which psycopg[binary] brings along: install that.")
        prepares = settings.ENVIRONMENT.prepared_statements
        self._giving: set[asyncio.Task[None]] = set()
        self.shares = Shares(size, share=max(1, int(size * settings.ENVIRONMENT.organization_read_share)))
        self.pipelines = Pipelines(keep=_PREPARED if prepares else 0, after=_PREPARE_AFTER)
        self.connections: AsyncConnectionPool[AsyncConnection[Row]] = AsyncConnectionPool(
            url,
            name=name,
            min_size=1,
            max_size=size,
            open=False,
            configure=_configure,
            reconnect_timeout=_GIVE_UP_SECONDS,
            reconnect_failed=AsyncConnectionPool.check,
            kwargs={
                "autocommit": True,
                "application_name": "driftgraph-reads",
                "prepare_threshold": None,  # the pipelines do it
            },
        )

    async def open(self) -> None:
        """Makes the first connection.

        Raises:
            Unavailable: the database does not answer.
        """
        try:
            await self.connections.open(wait=True, timeout=_OPEN_SECONDS)
        except PoolTimeout as error:
            raise Unavailable from error

    async def close(self) -> None:
        """Closes every connection."""
        await asyncio.gather(*self._giving)
        await self.connections.close()

    async def lend(self, organization_id: uuid.UUID | None, seconds: float) -> "AsyncConnection[Row]":
        """A connection, to be given back for the same organization; who belongs to none shares with all of those.

        In psycopg's own queue, which knows no organizations, waits only whose connection is still to be made.

        Raises:
            OrganizationBusy: the organization has its share of the connections, and none came back in time.
            psycopg.OperationalError: there was none in time (PoolTimeout), or the pool is closed.
        """
        party = _party(organization_id)
        if not self.shares.take_at_once(party):
            until = time.monotonic() + seconds
            if not await self.shares.take_in_turn(party, seconds):
                if party is not None and self.shares.has_all(party) and not self._lacks_connections():
                    raise OrganizationBusy(count=self.shares.share, setting="DRIFTGRAPH_ORGANIZATION_READ_SHARE")
                raise PoolTimeout("no connection came back in time")
            seconds = until - time.monotonic()
        try:
            return await self.connections.getconn(seconds)
        except BaseException:
            self.shares.give_back(party)
            raise

    def _lacks_connections(self) -> bool:
        """Whether some that may have a connection wait for it to be made: the server is away, or slow to take it."""
        return self.connections.get_stats()["requests_waiting"] > 0

    def give_back(self, connection: "AsyncConnection[Row]", organization_id: uuid.UUID | None) -> None:
        """Nothing; the connection is back in the next turn of the event loop, or soon after.

        A task of its own does it, which nobody cancels: psycopg's pool may wait for its lock, and would lose the
        connection of a giver that is cancelled meanwhile. Nor does anybody wait for it.
        """
        giving = asyncio.create_task(self._put_back(connection, organization_id))
        self._giving.add(giving)
        giving.add_done_callback(self._giving.discard)

    async def _put_back(self, connection: "AsyncConnection[Row]", organization_id: uuid.UUID | None) -> None:
        try:
            await self.connections.putconn(connection)
        finally:
            self.shares.give_back(_party(organization_id))


def _party(organization_id: uuid.UUID | None) -> int | None:
    """The key of an organization's share: a UUID takes several times as long to be found."""
    return None if organization_id is None else organization_id.int
