"""Counts in memory which client used what, and adds the counts to the database's now and then.

No request waits for the database, and none fails because of it. A counter is of an organization, a day, a client and a
coordinate of the schema, so that documents and values of variables, however many, make no more of them.
"""

import asyncio
import logging
import uuid
from collections import Counter, defaultdict
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import partial
from itertools import islice

from django.conf import settings

from backend.core.actor import Actor
from backend.core.errors import AppError
from backend.db.writes import WriteThreads
from backend.phi.labels import OTHER
from backend.usage.services import Use, usage_add
from schema.usage.clients import Client

log = logging.getLogger("driftgraph.usage")
MAX_COUNTERS = 50_000  # that wait to be written; an organization takes at most as many as are left for others
PIECE = 1_000  # counters that are written at once
MAX_CLIENTS = 100  # of an organization and a day; the others are "other"
_LAST_SECONDS = 5.0  # that the server waits for the last flush when it stops
_PURPOSE = "usage"

Counts = defaultdict[tuple[date, Client], Counter[str]]
"""Requests by the day and the client, and by the coordinates that they used."""


class UsageLedger:
    """The counts of a process. For one event loop."""

    def __init__(self, writes: WriteThreads) -> None:
        self._writes = writes
        self._counts: defaultdict[uuid.UUID, Counts] = defaultdict(lambda: defaultdict(Counter))
        self._held: Counter[uuid.UUID] = Counter()  # counters by organization, with those that are being written
        self._waiting = 0  # of all organizations
        self._clients: defaultdict[uuid.UUID, set[Client]] = defaultdict(set)
        self._day = date.min  # of the clients
        self._left_out = 0
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many counters are to be written."""
        return self._waiting

    def count(self, organization_id: uuid.UUID, client: Client, coordinates: frozenset[str]) -> None:
        """Nothing; one request more."""
        if not coordinates:
            return
        today = datetime.now(tz=UTC).date()
        if today != self._day:
            self._day = today
            self._clients.clear()
        known = self._clients[organization_id]
        if client not in known:
            if len(known) < MAX_CLIENTS:
                known.add(client)
            else:
                client = Client(OTHER, "")
        uses = self._counts[organization_id][today, client]
        if new := coordinates.difference(uses):
            coordinates = coordinates - new | self._fitting(organization_id, new)
        uses.update(coordinates)

    def _fitting(self, organization_id: uuid.UUID, new: frozenset[str]) -> frozenset[str]:
        """Those of the new coordinates that there is room for, which they have from now on."""
        # What is left halves with each organization that takes all it can: none shuts out the others.
        room = max(0, (MAX_COUNTERS - self._waiting - self._held[organization_id] + 1) // 2)
        if len(new) > room:
            self._left_out += 1
            new = frozenset(islice(new, room))
        self._hold(organization_id, len(new))
        return new

    def _hold(self, organization_id: uuid.UUID, more: int) -> None:
        self._waiting += more
        self._held[organization_id] += more
        if not self._held[organization_id]:
            del self._held[organization_id]

    async def flush(self) -> None:
        """Nothing; what was counted is in the database, or still here where that could not take it now.

        SQL: for each PIECE counters of an organization BEGIN, 2, COMMIT.
        """
        left_out, self._left_out = self._left_out, 0
        if left_out:
            log.warning("the use of the schema by %d requests was not counted in full: too many counters", left_out)
        for organization_id in list(self._counts):
            counts = self._counts.pop(organization_id)
            while counts and await self._write(organization_id, counts):
                continue
            self._put_back(organization_id, counts)

    async def _write(self, organization_id: uuid.UUID, counts: Counts) -> bool:
        """Whether more can be written; a piece of the counts has been, and is gone from them, or is lost."""
        piece = _taken(counts)
        try:
            actor = Actor.system(organization_id, _PURPOSE)
            await self._writes.run(partial(usage_add, actor=actor, counts=piece))
        except Exception as error:  # noqa: BLE001 - whatever it is, requests go on
            is_kept = isinstance(error, AppError) and error.retryable
            fate = "kept for later" if is_kept else "lost"
            log.warning("counts of the use of the schema were not written, and are %s: %s", fate, type(error).__name__)
            if is_kept:
                for use, requests in piece.items():
                    key = use.day, Client(use.client_name, use.client_version)
                    counts[key][use.coordinate] = requests
                return False
        self._hold(organization_id, -len(piece))
        return True

    def _put_back(self, organization_id: uuid.UUID, counts: Counts) -> None:
        """Nothing; what was not written is counted with what has come meanwhile."""
        if not counts:
            return
        found = self._counts[organization_id]
        for key, kept in counts.items():
            uses = found[key]
            self._hold(organization_id, -len(uses.keys() & kept.keys()))
            uses.update(kept)

    def start(self) -> None:
        """Nothing; flushes every DRIFTGRAPH_USAGE_FLUSH_SECONDS from here on."""
        self._task = asyncio.create_task(self._keep_flushing())

    async def _keep_flushing(self) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), settings.ENVIRONMENT.usage_flush_seconds)
            await self.flush()

    async def stop(self) -> None:
        """Nothing; what was counted has been flushed, if the database took it in a few seconds."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_LAST_SECONDS)


def _taken(counts: Counts) -> dict[Use, int]:
    """The counters of one piece, which are in `counts` no longer."""
    found: dict[Use, int] = {}
    while counts and len(found) < PIECE:
        (day, client), uses = counts.popitem()
        while uses and len(found) < PIECE:
            coordinate, requests = uses.popitem()
            found[Use(day, coordinate, *client)] = requests
        if uses:
            counts[day, client] = uses
    return found
