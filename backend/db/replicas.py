"""A streaming replica: whether it is fit to be read, and snapshots whose rows come from it.

It only ever saves the primary work: whatever it cannot answer, the primary answers.
"""

import asyncio
import logging
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self, TypeVar

import psycopg
from django.conf import settings
from psycopg import AsyncConnection

from backend.core.errors import AppError, DeadlineExceeded, OrganizationBusy
from backend.db.pipeline import TextQuery, TextRow
from backend.db.pools import ReadPool, Row
from backend.db.premises import Premise
from backend.db.snapshots import Snapshot

T = TypeVar("T")
log = logging.getLogger("driftgraph.replica")
_LOOK_SECONDS = 1.0  # between two looks at the replica
_ANSWER_SECONDS = 1.0  # a server that takes longer for a look does not answer
_PAUSE_SECONDS = 0.001  # between two questions for what has been replayed; doubled each time

# Not what was written by now but what was inserted: with synchronous_commit=off a commit is written after its answer.
_INSERTED = TextQuery(
    b"SELECT pg_current_wal_insert_lsn()::text, pg_size_bytes(current_setting('wal_block_size'))::text,"
    b" pg_size_bytes(current_setting('wal_segment_size'))::text"
)
_PAGE_HEADER, _SEGMENT_HEADER = 24, 40  # bytes before the first record of a page, and of the first page of a segment
_REPLAYED = "SELECT pg_is_in_recovery() AND pg_last_wal_replay_lsn() >= %s::pg_lsn"
# Another role could be one that row-level security does not bind.
_IDENTITY = "(SELECT system_identifier FROM pg_control_system()), current_database()::text, current_user::text"
_PRIMARY = f"SELECT pg_current_wal_flush_lsn()::text, {_IDENTITY}"
_REPLICA = f"SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END::text, {_IDENTITY}"


class Position(int):
    """A place in the write-ahead log: bytes from its beginning."""

    @classmethod
    def read(cls, text: str) -> Self:
        """The position that PostgreSQL writes as 16/B374D848."""
        high, low = text.split("/")
        return cls((int(high, 16) << 32) + int(low, 16))

    def __str__(self) -> str:
        """As PostgreSQL reads it."""
        return f"{self >> 32:X}/{self & 0xFFFFFFFF:X}"


async def position_after(snapshot: Snapshot) -> Position:
    """A position behind everything that was committed before the call; the snapshot reads nothing else after it.

    Raises: as Snapshot.texts.

    SQL: 1.
    """
    [[found]] = await snapshot.texts([_INSERTED], last=True)
    text, page, segment = (cell.decode() for cell in found if cell is not None)
    inserted, page_size, segment_size = Position.read(text), int(page), int(segment)
    # Where a page has become full, the next record goes behind the header of one that is not there yet, and that a
    # replica does not reach while nobody writes.
    begins = inserted - inserted % page_size
    header = _PAGE_HEADER if begins % segment_size else _SEGMENT_HEADER
    return Position(begins) if inserted - begins == header else inserted


class NotOnReplica(Exception):
    """The replica does not answer, cannot, or not yet: the operation is to be begun anew, on the primary."""


class Replica:
    """The replica as one process reads it. Open it in the event loop that serves, close it there.

    It is looked at every second, so that a read need not ask whether it is fit. Fit is a standby of the primary's own
    cluster that shows all that the primary had DRIFTGRAPH_REPLICA_LAG_SECONDS ago, as the same role.
    """

    def __init__(self, url: str, primary: ReadPool, *, size: int) -> None:
        self._pool, self._primary = ReadPool(url, size=size, name="replica"), primary
        self._positions: deque[tuple[float, Position]] = deque()
        """What the primary had at which moments, none of them longer ago than the lag that is allowed."""
        self._looking: asyncio.Task[None] | None = None
        self.unfit: str | None = "it has not been looked at yet"
        """Why it is not read; None: it is."""

    async def open(self) -> None:
        """Nothing; a replica that does not answer is read from when it does."""
        await self._pool.connections.open(wait=False)
        await self.look()
        self._looking = asyncio.create_task(self._look_on())

    async def close(self) -> None:
        """Closes every connection."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking
        await self._pool.close()

    async def look(self) -> None:
        """Nothing; decides whether the replica is read until the next look.

        SQL: 1 on each server.
        """
        reason = await self._judged()
        if reason != self.unfit:
            if reason is None:
                log.info("the replica is read")
            else:
                log.warning("the replica is not read: %s", reason)
        self.unfit = reason

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self.look()
            except Exception as error:  # a bug must not leave it read unseen
                log.exception("the look at the replica failed: %s", type(error).__name__)
                self.unfit = "it could not be looked at"

    async def _judged(self) -> str | None:
        try:
            position, *expected = await _row(self._primary, _PRIMARY)
        except (psycopg.Error, AppError):
            return "the primary does not say how far it is"
        now, lag = time.monotonic(), settings.ENVIRONMENT.replica_lag_seconds
        self._positions.append((now, Position.read(position)))
        while self._positions[0][0] < now - lag:
            self._positions.popleft()
        try:
            replayed, *found = await _row(self._pool, _REPLICA)
        except (psycopg.Error, AppError):
            return "it does not answer"
        if replayed is None:
            return "it is no standby"
        if found != expected:
            return "it is of another cluster, database or role than the primary"
        if Position.read(replayed) < self._positions[0][1]:
            return f"it lacks what the primary had {lag:g} s ago or at the first look (DRIFTGRAPH_REPLICA_LAG_SECONDS)"
        return None

    def snapshot(
        self, organization_id: uuid.UUID | None, *, seconds: float, premise: Premise | None, after: Position | None
    ) -> "ReplicaSnapshot":
        """A snapshot for one `async with`, which shows all that was written up to a position."""
        deadline = time.monotonic() + seconds
        primary = Snapshot(self._primary, organization_id, deadline, premise)
        return ReplicaSnapshot(self._pool, primary, organization_id, deadline, after)


async def _row(pool: ReadPool, text: str) -> Row:
    async with Snapshot(pool, None, time.monotonic() + _ANSWER_SECONDS) as snapshot:
        return (await snapshot.rows(text))[0]


class ReplicaSnapshot(Snapshot):
    """A snapshot whose rows come from a replica, while premise and account are matters of the primary.

    What it raises beside the errors of a snapshot is NotOnReplica, for whatever the replica did not answer: also for
    a table that a migration made and that it does not have yet.
    """

    def __init__(
        self,
        pool: ReadPool,
        primary: Snapshot,
        organization_id: uuid.UUID | None,
        deadline: float,
        after: Position | None,
    ) -> None:
        super().__init__(pool, organization_id, deadline)
        self._primary, self._after = primary, after
        self._patience = settings.ENVIRONMENT.replica_wait_seconds

    async def append(self, query: TextQuery) -> list[TextRow]:
        """As of a snapshot: the rows of a statement that writes."""
        await self._close_in_turn()
        return await self._primary.append(query)

    async def verify(self) -> None:
        """Looks at the premise where it holds at once: what was revoked is revoked, however far behind the replica is.

        Raises:
            As `rows`.

        SQL: 1, where there is a premise.
        """
        await self._primary.verify()

    async def end(self) -> None:
        """Closes the snapshot for good, on both servers."""
        try:
            await super().end()
        finally:
            await self._primary.end()

    async def _connect(self) -> "AsyncConnection[Row]":
        connection = await super()._connect()
        if self._after is not None and not await self._has_replayed(connection, self._after):
            await self.close()
            raise NotOnReplica
        return connection

    async def _has_replayed(self, connection: "AsyncConnection[Row]", position: Position) -> bool:
        """Asked outside of the transaction: the first statement in it would fix what it sees before it looks."""
        until, pause = time.monotonic() + self._patience, _PAUSE_SECONDS
        while True:
            row = await (await connection.execute(_REPLAYED, [str(position)])).fetchone()
            if row is not None and row[0]:
                return True
            left = until - time.monotonic()
            if left <= 0:
                return False
            await asyncio.sleep(min(pause, left))
            pause *= 2

    async def _retrying(self, action: Callable[[], Awaitable[T]]) -> T:
        """What the action gives. It is not tried again here: the primary is there for that."""
        try:
            return await action()
        except psycopg.errors.QueryCanceled as error:
            raise DeadlineExceeded from error
        except (psycopg.Error, OrganizationBusy) as error:
            raise NotOnReplica from error
