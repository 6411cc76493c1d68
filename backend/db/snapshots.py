"""One snapshot per operation: a transaction on a connection of a pool, what it takes for granted, and its account."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from typing import Any, Self, TypeVar

import orjson
import psycopg
from psycopg import AsyncConnection
from psycopg.adapt import AdaptersMap, PyFormat, Transformer
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg.types.json import set_json_loads
from psycopg_pool import PoolTimeout

from backend.core.errors import DeadlineExceeded, Unavailable
from backend.core.least_recent import LeastRecent
from backend.db.failures import is_outdated_plan, is_unavailable
from backend.db.pipeline import TextQuery, TextRow, text_rows
from backend.db.pools import ReadPool, Row
from backend.db.premises import AnswerOutdated, Premise
from backend.db.sql import CACHE_SIZE

T = TypeVar("T")
# Of the event loop, from the first read of a wave to the last: a dataloader reads two turns after a resolver that reads
# by itself. Without a wait for the last they would take two round trips, of which each costs more than all turns.
_TURNS = 3
_BEGIN, _COMMIT = TextQuery(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"), TextQuery(b"COMMIT")
# The last of them, for which a role or database can have another value, lets the text of a float say all of it.
_SET = (
    "SELECT set_config('app.organization_id', %s, true), set_config('statement_timeout', %s, true),"
    " set_config('extra_float_digits', '1', true)"
)
_WAITING = 0.9  # of the time that is left: who waits longer for a connection is told so before the deadline
_NUMBERED_BYTES = 2_000_000  # of texts of statements that are kept
_ATTEMPTS = 2  # of the first statement of a snapshot: connections can have been cut since they were last used
_ADAPTERS = AdaptersMap(psycopg.adapters)
set_json_loads(orjson.loads, _ADAPTERS)  # in a quarter of the time


class SnapshotEnded(Exception):
    """The operation has been answered; whatever still wants to read for it does so in vain."""


@dataclass(slots=True, eq=False)
class _Read:
    """A statement on its way, and what has come of it."""

    query: TextQuery
    result: PGresult | None = None
    error: Exception | None = None


class Snapshot:
    """The database as of one instant, for one organization.

    The transaction opens at the first read, in one round trip with it, and not at all when nothing is read. Statements
    of one snapshot run one after the other: they share a connection.
    """

    def __init__(
        self,
        pool: ReadPool,
        organization_id: uuid.UUID | None,
        deadline: float,
        premise: Premise | None = None,
    ) -> None:
        self._pool, self._pipelines = pool, pool.pipelines
        self._organization_id = organization_id
        self._deadline = deadline
        self._premise = premise
        self._patience = inf  # seconds for which it waits for a connection, where the deadline leaves it as many
        self._connection: AsyncConnection[Row] | None = None
        self._turn = asyncio.Lock()
        self._waiting: list[_Read] = []
        self._reader: asyncio.Task[Any] | None = None
        self._ended = asyncio.Event()
        self._interrupted = self._is_outdated = self._holds = False
        self._successor: Snapshot | None = None
        self.statements: list[str] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        last = self
        while last._successor is not None:
            last = last._successor
        await last.end()

    async def rows(self, text: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of one statement.

        Raises:
            DeadlineExceeded: the operation's time is over; PostgreSQL has stopped the statement.
            OrganizationBusy: the organization has its share of the connections.
            Unavailable: no connection could be had, or it broke.
            AnswerOutdated: the premise does not hold, or a prepared statement has become another since.
            SnapshotEnded: the block of the snapshot has been left, or it has a successor.

        SQL: 1; the first one of a snapshot carries BEGIN and the settings with it. Those that several tasks ask for at
            the same time share a round trip.
        """
        self.statements.append(text)
        # As a cursor of psycopg does it, which would take as long again for every statement.
        transformer = Transformer(_ADAPTERS)
        values = transformer.dump_sequence(parameters, [PyFormat.AUTO] * len(parameters))
        query = TextQuery(_numbered(text), values, transformer.types, transformer.formats)
        found = await self._read(query)
        transformer.set_pgresult(found)
        return transformer.load_rows(0, found.ntuples, tuple)

    async def _read(self, query: TextQuery) -> PGresult:
        """The result of a statement, in one round trip with those that others wait for."""
        mine = _Read(query)
        self._waiting.append(mine)
        try:
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            async with self._in_turn():
                if mine in self._waiting:
                    await self._read_waiting()
        finally:
            if mine in self._waiting:
                self._waiting.remove(mine)
        if mine.result is None:
            raise mine.error or SnapshotEnded
        return mine.result

    async def _read_waiting(self) -> None:
        batch, self._waiting = self._waiting, []
        try:
            results = await self._run([one.query for one in batch])
        except Exception as error:
            for one in batch:
                one.error = error
            raise
        except BaseException:
            # Who is cancelled stops alone: the others find out by themselves what is left of the connection.
            self._waiting = batch + self._waiting
            raise
        for one, result in zip(batch, results, strict=True):
            one.result = result

    async def texts(self, queries: Sequence[TextQuery], *, last: bool) -> list[list[TextRow]]:
        """The rows of several statements, as bytes, in one round trip.

        With `last` nothing else will be read: the transaction ends in the same round trip, and a single statement needs
        none but its own.

        Raises:
            As `rows`; AnswerTooLarge: the parts of a query have no room.

        SQL: one per query; the first of a snapshot carries the settings with it.
        """
        self.statements.extend(query.text.decode() for query in queries)
        async with self._in_turn():
            if last and self._connection is None:
                return list(map(TextQuery.rows, queries, await self._retrying(lambda: self._whole(queries))))
            found = list(map(TextQuery.rows, queries, await self._run(queries)))
            if last:
                await self.close()
            return found

    async def append(self, query: TextQuery) -> list[TextRow]:
        """The rows of a statement that writes, after the snapshot's transaction and in one of its own.

        It may be sent twice where the connection broke: it must bring its own keys.

        Raises:
            As `rows`; psycopg.Error where PostgreSQL refuses it.

        SQL: 1.
        """
        async with self._in_turn():
            await self.close()
            return text_rows((await self._retrying(lambda: self._whole([query])))[0])

    async def verify(self) -> None:
        """Looks at the premise where nothing that was read has done so.

        Raises:
            As `rows`.

        SQL: 1 where there is a premise that was not looked at, be it that nothing was read or that all of it failed.
        """
        if self._premise is None or self._holds:
            return
        async with self._in_turn():
            await self.close()
            await self._retrying(lambda: self._whole([]))

    async def successor(self) -> "Snapshot":
        """A snapshot of a later instant for the rest of this one's block; this one ends, and what still reads in it.

        Of the statements both have one account.
        """
        await self.end()
        later = self._successor = Snapshot(self._pool, self._organization_id, self._deadline, self._premise)
        later.statements = self.statements
        return later

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        async with self._turn:
            if self._ended.is_set():
                raise SnapshotEnded
            if self._is_outdated:
                raise AnswerOutdated  # to whoever reads on, past the first to be told
            self._reader = asyncio.current_task()
            try:
                yield
            except AnswerOutdated:
                raise
            except BaseException as error:
                self._interrupted = True
                if self._ended.is_set() and isinstance(error, asyncio.CancelledError):
                    # By end(): those who wait for what this task reads must go on, and they would not learn of it.
                    raise SnapshotEnded from None
                raise
            finally:
                self._reader = None

    async def _run(self, queries: Sequence[TextQuery]) -> list[PGresult]:
        """Executes statements in the snapshot's transaction, which it opens if need be."""

        async def go_on() -> list[PGresult]:
            if self._connection is None:
                return await self._first(queries)
            return await self._pipelines.run(self._connection, queries)

        return await self._retrying(go_on)

    async def _retrying(self, action: "Callable[[], Awaitable[T]]") -> T:
        """What the action gives; where it was the first of the snapshot and the connection useless, on another one."""
        attempts = 1 if self._connection is not None else _ATTEMPTS
        try:
            while True:
                attempts -= 1
                try:
                    return await action()
                except psycopg.Error as error:
                    useless = is_outdated_plan(error) or is_unavailable(error)
                    if not (attempts and useless) or isinstance(error, (psycopg.errors.QueryCanceled, PoolTimeout)):
                        raise
                    await asyncio.shield(self._replace_connections(error))
        except psycopg.errors.QueryCanceled as error:
            raise DeadlineExceeded from error
        except psycopg.Error as error:
            if is_outdated_plan(error):
                self._is_outdated = True
                raise AnswerOutdated from error
            if is_unavailable(error):
                raise Unavailable from error
            raise

    async def _connect(self) -> "AsyncConnection[Row]":
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise DeadlineExceeded
        self._connection = await self._pool.lend(self._organization_id, min(remaining * _WAITING, self._patience))
        return self._connection

    def _settings(self) -> TextQuery:
        """What makes a transaction the organization's, and looks at the premise."""
        milliseconds = max(1, int((self._deadline - time.monotonic()) * 1000))
        text, values = _SET, [str(self._organization_id or ""), str(milliseconds)]
        if self._premise is not None:
            text, values = f"{text}, {self._premise.text}", [*values, *map(_text_of, self._premise.parameters)]
        return TextQuery(_numbered(text), values)

    async def _first(self, queries: Sequence[TextQuery]) -> list[PGresult]:
        """The first statements of a transaction, with everything that makes it a snapshot of the organization."""
        connection = await self._connect()
        _, settings_row, *found = await self._pipelines.run(connection, [_BEGIN, self._settings(), *queries])
        self._hold_premise(settings_row)
        return found

    async def _whole(self, queries: Sequence[TextQuery]) -> list[PGresult]:
        """Everything that is read of the snapshot, in one round trip.

        A single statement runs in the implicit transaction of the pipeline, of which the settings are part: PostgreSQL
        ends it at the pipeline's end.
        """
        connection = await self._connect()
        trip = [self._settings(), *queries]
        if len(queries) > 1:
            trip = [_BEGIN, *trip, _COMMIT]
        results = await self._pipelines.run(connection, trip)
        self._hold_premise(results[len(queries) > 1])
        await self.close()
        return results[2:-1] if len(queries) > 1 else results[1:]

    def _hold_premise(self, settings_row: PGresult) -> None:
        if self._premise is None:
            return
        found = settings_row.get_value(0, settings_row.nfields - 1)
        if (found.decode() if found is not None else None) != self._premise.expected:
            self._is_outdated = True
            raise AnswerOutdated
        self._holds = True

    async def _replace_connections(self, error: psycopg.Error) -> None:
        """Gives a useless connection up, and every other one that does not answer; not to be cancelled.

        One with outdated statements was useless by those alone, which the others forget before they are used.
        """
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._pool.give_back(connection, self._organization_id)
        if not is_outdated_plan(error):
            await self._pool.connections.check()

    async def end(self) -> None:
        """Closes the snapshot for good; what still reads is stopped.

        Loaders read in tasks of their own. One that an answer with an error, or a client that left, leaves behind would
        go on with a connection that is somebody else's by then, or take one that nobody gives back.
        """
        self._ended.set()
        if self._reader is not None and not self._reader.cancelling():
            self._reader.cancel()
        if self._connection is not None or self._turn.locked():
            await asyncio.shield(self._close_in_turn())

    async def _close_in_turn(self) -> None:
        async with self._turn:
            await self.close()

    async def close(self) -> None:
        """Ends the transaction and gives the connection back, whole or broken."""
        connection, self._connection = self._connection, None
        interrupted, self._interrupted = self._interrupted, False
        if connection is None:
            return
        if not interrupted and connection.pgconn.transaction_status == TransactionStatus.IDLE:  # it is an int
            self._pool.give_back(connection, self._organization_id)
        else:
            await asyncio.shield(self._give_back(connection, interrupted=interrupted))

    async def _give_back(self, connection: "AsyncConnection[Row]", *, interrupted: bool) -> None:
        try:
            if interrupted:
                # Nobody knows which statements PostgreSQL came to keep.
                await connection.close()
            elif not connection.closed:
                # Nothing was written.
                await self._pipelines.run(connection, [_COMMIT])
        except psycopg.Error:
            await connection.close()  # the pool replaces it
        finally:
            self._pool.give_back(connection, self._organization_id)


_NUMBERED: LeastRecent[str, bytes] = LeastRecent(
    CACHE_SIZE, weight=lambda text, numbered: len(text) + len(numbered), capacity=_NUMBERED_BYTES
)


def _numbered(text: str) -> bytes:
    """A statement with $1, $2, ... in place of each %s."""
    return _NUMBERED.get(text, lambda: _number(text))


def _number(text: str) -> bytes:
    first, *others = text.split("%s")
    return "".join([first, *(f"${number}{part}" for number, part in enumerate(others, start=1))]).encode()


def _text_of(value: str | bytes) -> str:
    """A parameter as PostgreSQL reads it from text."""
    return value if isinstance(value, str) else f"\\x{value.hex()}"
