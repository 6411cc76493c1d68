"""What is done to the servers while they are asked, and when it is over."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import Console

from benchmarks.peers.database import Database
from benchmarks.peers.processes import children, memory
from benchmarks.peers.servers import Running
from benchmarks.soak.judging import QUIET

# Shares of the whole time. Between the last fault and the end clients must see no error for long.
WORKER_KILLS = (0.2, 0.6)
DATABASE_RESTART = 0.4
_GRACE_SECONDS = 10  # after a fault: connections that were cut are met with one after the other


@dataclass(slots=True)
class Faults:
    """Kills and restarts by the clock."""

    running: Running
    database: Database
    console: Console
    done: list[str] = field(default_factory=list)
    _away: str = ""
    _until: float = 0.0

    def now(self) -> str:
        """What is away, or was until a moment ago."""
        return f"with {self._away} away" if self._away and time.monotonic() < self._until else QUIET

    async def run(self, seconds: float) -> None:
        """Does all of them in that time."""
        begin = time.monotonic()
        plan = sorted(
            [(share, "a worker", self._kill_worker) for share in WORKER_KILLS]
            + [(DATABASE_RESTART, "PostgreSQL", self._restart_database)]
        )
        for share, what, act in plan:
            await asyncio.sleep(max(0.0, begin + share * seconds - time.monotonic()))
            await self._cause(what, act)

    async def _cause(self, what: str, act: Callable[[], str]) -> None:
        self._away, self._until = what, float("inf")
        said = await asyncio.to_thread(act)
        self._until = time.monotonic() + _GRACE_SECONDS
        self.done.append(said)
        self.console.print(said, highlight=False)

    def _kill_worker(self) -> str:
        before = set(children(self.running.pid))
        killed = max(before, key=lambda pid: memory(pid).worker)  # not a helper of the interpreter's
        os.kill(killed, signal.SIGKILL)
        begin = time.monotonic()
        while not set(children(self.running.pid)) - before and time.monotonic() - begin < _GRACE_SECONDS:
            time.sleep(0.05)
        new = set(children(self.running.pid)) - before
        return f"Killed worker {killed}; {new.pop() if new else 'nobody'} took its place"

    def _restart_database(self) -> str:
        before = self.database.postmaster
        self.database.server.release()  # its last user: it stops
        self.database.server.acquire()
        return f"Restarted PostgreSQL: process {before}, then {self.database.postmaster}"
