"""The root of all subscriptions: what is told while it happens."""

import asyncio
import base64
import binascii
import datetime
import struct
import uuid
from collections.abc import AsyncGenerator
from typing import Annotated

import strawberry
import strawberry_django
from django.conf import settings

from backend.agents import models
from backend.agents.models import AgentRunStatus
from backend.agents.progress import AFTER, BATCH, LATEST, START, topic
from backend.core.actor import Right
from backend.core.errors import InvalidCursor, NotFound
from schema.context import Feed, context_of
from schema.declare import column, subscription, to_one
from schema.relay.ids import decode_id_of
from schema.types.agents import AgentRun

_UNSETTLED_SECONDS = 0.5  # until an entry is looked for again that an older transaction keeps back
_CURSOR = struct.Struct(">2s16sq16s")
_TAG = b"RP"
Position = tuple[int, str]


def cursor_of(run: uuid.UUID, transaction: int, entry: uuid.UUID) -> str:
    """Where an entry stands in the log of its run; opaque text."""
    return base64.b64encode(_CURSOR.pack(_TAG, run.bytes, transaction, entry.bytes)).decode()


def position_of(cursor: str, run: uuid.UUID) -> Position:
    """The transaction and id that a cursor holds.

    Raises: InvalidCursor; also where it is of another run.
    """
    try:
        tag, whose, transaction, key = _CURSOR.unpack(base64.b64decode(cursor, validate=True))
    except (binascii.Error, struct.error, ValueError):
        raise InvalidCursor(path=("after",)) from None
    if tag != _TAG or whose != run.bytes:
        raise InvalidCursor(path=("after",))
    return transaction, str(uuid.UUID(bytes=key))


@strawberry_django.type(
    models.AgentRunProgress,
    name="AgentRunProgress",
    description="What an agent run said of how far it has come.",
)
class AgentRunProgress:
    phase: str = column("What it was at; empty when it did not say.", "phase")
    done: int | None = column("How much was done, in the auditor's unit; null when it did not say.", "done")
    total: int | None = column("How much there was in all, in the same unit; null when it did not say.", "total")
    status: AgentRunStatus = column("How far the run had come then.", "status")
    at: datetime.datetime = column("When it said so.", "created_at")
    run: AgentRun = to_one("The run as it is when the event is sent.", "run_id", models.AgentRun)

    cursor: str = column("Where this event stands; `after` takes it up again behind it. Opaque.", "cursor")


@strawberry.type(description="Everything that can be followed. docs/subscriptions.md says by which transports.")
class Subscription:
    @subscription(
        "How far an agent run comes, event by event, until it has ended. Without `after` the first event is the latest"
        " one. What a run said is kept for 24 hours (DRIFTGRAPH_AGENT_PROGRESS_HOURS).",
        right=Right.AGENTS_READ,
    )
    @staticmethod
    async def agent_run_progress(
        info: strawberry.Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="Opaque id of the AgentRun.")],
        after: Annotated[
            str | None,
            strawberry.argument(
                description="Cursor of the last event seen: all after it are sent, each once. An event stream that the"
                " browser takes up again says so by itself, with Last-Event-ID, which comes before this."
            ),
        ] = None,
    ) -> AsyncGenerator[AgentRunProgress, None]:
        context = context_of(info)
        feed = context.feed
        if feed is None:
            raise TypeError("a subscription without a feed")
        run_id = decode_id_of(id, "RU", expected="AgentRun", path=("id",))
        # A browser that connects again repeats the `after` of the beginning; what it has seen since, only it says.
        last = feed.resume_after or after
        position = None if last is None else position_of(last, run_id)
        async for entry in _entries(feed, context.actor.organization_id, run_id, position):
            yield entry  # type: ignore[misc]  # the row is the source of the type


async def _entries(
    feed: Feed, organization_id: uuid.UUID, run_id: uuid.UUID, position: Position | None
) -> AsyncGenerator[models.AgentRunProgress, None]:
    """The entries of a run's log after a position, read as they come, until the run has ended.

    Raises: NotFound; InvalidCursor where nothing can stand at the position yet; what a snapshot raises.
    """
    with feed.listener.watching(topic(run_id)) as woken:
        while True:
            woken.clear()
            async with feed.reads.snapshot(organization_id) as snapshot:
                if position is None:
                    rows = await snapshot.rows(LATEST, [run_id])
                else:
                    rows = await snapshot.rows(AFTER, [*position, run_id])
            if not rows:
                raise NotFound(path=("id",))
            active, can_exist, entries = *rows[0][:2], [row[2:] for row in rows if row[2] is not None]
            if not can_exist:
                raise InvalidCursor(path=("after",))
            is_first, position = position is None, position or START
            for transaction, key, status, phase, done, total, at, settled in entries:
                if not settled:
                    break
                position = (transaction, str(key))
                entry = models.AgentRunProgress(
                    id=key,
                    organization_id=organization_id,
                    run_id=run_id,
                    transaction=transaction,
                    status=status,
                    phase=phase,
                    done=done,
                    total=total,
                    created_at=at,
                )
                entry.cursor = cursor_of(run_id, transaction, key)
                yield entry
            all_settled = all(row[-1] for row in entries)
            if is_first or (len(entries) == BATCH and all_settled):
                continue
            if not entries and not active:
                return
            if not entries or not all_settled:
                await _wait(woken, _UNSETTLED_SECONDS if entries else settings.ENVIRONMENT.stream_check_seconds)


async def _wait(woken: asyncio.Event, seconds: float) -> None:
    """Returns when the event is set, or the time is over: a notification can be lost, as behind a pooler."""
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        return
