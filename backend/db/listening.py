"""What PostgreSQL tells of changes: one listening connection per process. Notifications carry ids alone."""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg import AsyncConnection

from backend.db.failures import is_unavailable

CHANNEL = "driftgraph"
NOTIFY = f"SELECT pg_notify('{CHANNEL}', topic) FROM unnest(%s::text[]) AS topic"
"""Tells of topics when, and only when, the transaction commits."""
log = logging.getLogger("driftgraph.listening")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds between attempts to connect


class Listener:
    """Wakes those who watch a topic when somebody tells of it; connects when the first one watches.

    What was told while there was no connection is lost, so everybody is woken as soon as there is one again: who is
    woken reads anew.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def watching(self, topic: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the topic may have changed; clear it before reading."""
        woken = asyncio.Event()
        watchers = self._watchers.setdefault(topic, set())
        watchers.add(woken)
        if self._task is None:
            self._task = asyncio.create_task(self._listen())
        try:
            yield woken
        finally:
            watchers.discard(woken)
            if not watchers and self._watchers.get(topic) is watchers:
                del self._watchers[topic]

    @property
    def topics(self) -> frozenset[str]:
        """What is being watched."""
        return frozenset(self._watchers)

    async def close(self) -> None:
        """Nothing; ends the connection."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _listen(self) -> None:
        pause, told = _FIRST_PAUSE, False
        while True:
            try:
                async with await AsyncConnection.connect(
                    self._url, autocommit=True, application_name="driftgraph-listener", keepalives_idle=30
                ) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    pause, told = _FIRST_PAUSE, False
                    self._wake(self._watchers)
                    async for notification in connection.notifies():
                        self._wake({notification.payload} & self._watchers.keys())
            except psycopg.Error as error:
                if not is_unavailable(error):
                    log.exception("listening failed: %s", type(error).__name__)
                elif not told:
                    log.warning("listening was cut off: %s. It is taken up again.", type(error).__name__)
                told = True
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _wake(self, topics: Iterable[str]) -> None:
        for topic in topics:
            for woken in self._watchers[topic]:
                woken.set()
