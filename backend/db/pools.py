"""The connections of a process to one server that it reads from, and what makes them alike."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from psycopg import AsyncConnection, capabilities
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from backend.core.errors import Unavailable
from backend.db.pipeline import Pipelines

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
            ImproperlyConfigured: the libpq here cannot make room for another prepared statement.
        """
        prepares = settings.ENVIRONMENT.prepared_statements
        if prepares and not capabilities.has_send_close_prepared():
            raise ImproperlyConfigured(
                "DRIFTGRAPH_PREPARED_STATEMENTS needs libpq 17 or later, which psycopg[binary] brings along."
                " Install that, or set it to false."
            )
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
        await self.connections.close()
