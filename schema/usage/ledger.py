"""Counts in memory which client used what, and adds the counts to the database's now and then.

A request costs one look into a dictionary. No request waits for the database, and none fails because of it.
"""

import asyncio
import logging
import uuid
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import NamedTuple

from django.conf import settings

from backend.core.actor import Actor
from backend.core.errors import AppError
from backend.db.writes import WriteThreads
from backend.phi.labels import OTHER
from backend.usage.services import Use, usage_add
from schema.usage.clients import Client

log = logging.getLogger("driftgraph.usage")
MAX_ENTRIES = 10_000  # that wait to be written; a document with its organization and client is one
MAX_CLIENTS = 100  # of an organization and a day; the others are "other"
_LAST_SECONDS = 5.0  # that the server waits for the last flush when it stops
_PURPOSE = "usage"


class Entry(NamedTuple):
    """Requests of a client on a day that used the same parts of the schema."""

    organization_id: uuid.UUID
    day: date
    client: Client
    coordinates: frozenset[str]


class UsageLedger:
    """The counts of a process. For one event loop."""

    def __init__(self, writes: WriteThreads) -> None:
        self._writes = writes
        self._counts: dict[Entry, int] = {}
        self._clients: defaultdict[uuid.UUID, set[Client]] = defaultdict(set)
        self._day = date.min  # of the clients
        self._left_out = 0
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many entries are to be written."""
        return len(self._counts)

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
        self._add(Entry(organization_id, today, client, coordinates), 1)

    def _add(self, entry: Entry, requests: int) -> None:
        if entry in self._counts:
            self._counts[entry] += requests
        elif len(self._counts) < MAX_ENTRIES:
            self._counts[entry] = requests
        else:
            self._left_out += requests

    async def flush(self) -> None:
        """Nothing; what was counted is in the database, or still here where that could not take it now.

        SQL: per organization BEGIN, 2, COMMIT.
        """
        counts, self._counts = self._counts, {}
        left_out, self._left_out = self._left_out, 0
        if left_out:
            log.warning("the use of the schema by %d requests was not counted: too many different ones", left_out)
        by_organization: defaultdict[uuid.UUID, dict[Entry, int]] = defaultdict(dict)
        for entry, requests in counts.items():
            by_organization[entry.organization_id][entry] = requests
        for organization_id, entries in by_organization.items():
            try:
                await self._writes.run(_write, Actor.system(organization_id, _PURPOSE), entries)
            except Exception as error:  # noqa: BLE001 - whatever it is, requests go on
                is_kept = isinstance(error, AppError) and error.retryable
                fate = "kept for later" if is_kept else "lost"
                log.warning(
                    "counts of the use of the schema were not written, and are %s: %s", fate, type(error).__name__
                )
                for entry, requests in entries.items() if is_kept else ():
                    self._add(entry, requests)

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


def _write(actor: Actor, entries: Mapping[Entry, int]) -> None:
    """Nothing; for a thread, since entries can be many and have many coordinates each."""
    found: defaultdict[Use, int] = defaultdict(int)
    for entry, requests in entries.items():
        for coordinate in entry.coordinates:
            found[Use(entry.day, coordinate, *entry.client)] += requests
    usage_add(actor=actor, counts=found)
