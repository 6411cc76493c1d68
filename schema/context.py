"""What one operation knows: who asks, its snapshot, its loaders, and the threads that write."""

import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import models

from backend.core.actor import Actor
from backend.core.errors import Unauthenticated
from backend.db.listening import Listener
from backend.db.reads import Reads
from backend.db.snapshots import Snapshot
from backend.db.sql import Columns
from backend.db.writes import RequestWrites, WriteThreads
from schema.execution.turns import Turns
from schema.loaders.request import Loaders
from schema.protection import Protection


@dataclass(frozen=True, slots=True)
class Feed:
    """What the events of a subscription are read from."""

    reads: Reads
    listener: Listener
    resume_after: str | None = None
    """The cursor of the last event that the client has seen, as its transport says."""


@dataclass(slots=True)
class Context:
    """The context value of an execution."""

    snapshot: Snapshot
    writes: WriteThreads | RequestWrites
    request_id: str
    principal: Actor | None = None
    idempotency_key: str | None = None
    """Of the request, for all mutations of its document."""
    first_key: str | None = None
    """The response key of the document's first mutation: the one whose idempotency key is the request's as it is."""
    feed: Feed | None = None  # for the field of a subscription
    turns: Turns = field(default_factory=Turns)  # for work on documents; those of all operations of the process
    started: float = field(default_factory=time.monotonic)
    loaders: Loaders = field(init=False)
    ids: int = 0  # of its lists of ids, so far
    columns: Mapping[type[models.Model], Columns] = field(default_factory=dict)
    """By model the columns that the answer is made of, where they are known: all of them are read otherwise."""
    shown: defaultdict[type[models.Model], set[uuid.UUID]] = field(default_factory=lambda: defaultdict(set))
    """Which objects of protected types the answer is made of."""

    def __post_init__(self) -> None:
        self.loaders = Loaders(self.snapshot, self.note)

    def note(self, model: type[models.Model], keys: Iterable[uuid.UUID]) -> None:
        """Remembers which objects are shown, where an account of it is to be given."""
        if model in Protection.models:
            self.shown[model].update(keys)

    async def restart(self) -> None:
        """Begins another snapshot, so that what is read from here on sees what was written.

        What is still read for a part of the answer that failed is not read on.
        """
        self.snapshot = await self.snapshot.successor()
        self.loaders = Loaders(self.snapshot, self.note)

    @property
    def actor(self) -> Actor:
        """Who asks.

        Raises:
            Unauthenticated: nobody did say.
        """
        if self.principal is None:
            raise Unauthenticated
        return self.principal


def context_of(info: Any) -> Context:
    """The context of a resolver's info, typed."""
    found: Context = info.context
    return found
