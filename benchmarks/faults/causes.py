"""The faults: each is caused while clients write, and is over when its function returns.

A function gives the moment from which the clients' recovery counts.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

import psycopg

from benchmarks.faults.place import Place
from benchmarks.traffic import Traffic

Part = TypeVar("Part")
Cause = Callable[[Place, Traffic], float]
_AWAY_SECONDS = 5
_OURS = "FROM pg_stat_activity WHERE usename = 'app'"


def server_killed(place: Place, traffic: Traffic) -> float:
    """SIGKILL for the postmaster and all its children."""
    others = place.execute("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    since = time.monotonic()
    for process in (place.postmaster, *(pid for (pid,) in others)):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    traffic.fails()
    place.server.acquire()
    return since


def postmaster_killed(place: Place, traffic: Traffic) -> float:
    """SIGKILL for the postmaster alone: its children end by themselves."""
    since = time.monotonic()
    os.kill(place.postmaster, signal.SIGKILL)
    traffic.fails()
    place.server.acquire()
    return since


def server_stopped(place: Place, traffic: Traffic) -> float:
    """PostgreSQL is stopped, and started again after a while."""
    place.server.release()
    traffic.fails()
    time.sleep(_AWAY_SECONDS)
    since = time.monotonic()
    place.server.acquire()
    return since


def backend_killed(place: Place, traffic: Traffic) -> float:
    """SIGKILL for the process of one connection: PostgreSQL ends all others and recovers."""
    ours = {process for (process,) in place.execute(f"SELECT pid {_OURS}")}

    def all_are_gone() -> bool:
        with suppress(psycopg.OperationalError):
            return ours.isdisjoint(process for (process,) in place.execute(f"SELECT pid {_OURS}"))
        return False

    since = time.monotonic()
    os.kill(min(ours), signal.SIGKILL)
    traffic.until(all_are_gone)
    return since


def connections_ended(place: Place, traffic: Traffic) -> float:
    """pg_terminate_backend for every connection of the server, while none is at work."""
    with traffic.held():
        place.execute(f"SELECT pg_terminate_backend(pid) {_OURS}")
    return time.monotonic()


def connections_ended_at_work(place: Place, traffic: Traffic) -> float:
    """The same, ten times, whatever they are doing, and on until a request was cut off."""

    def end() -> bool:
        place.execute(f"SELECT pg_terminate_backend(pid) {_OURS}")
        traffic.each_hears(1)
        return bool(traffic.heard.failures)

    for _ in range(9):
        end()
    traffic.until(end)
    return time.monotonic()


def connections_idle_too_long(place: Place, traffic: Traffic) -> float:
    """idle_session_timeout ends the connections that nobody uses."""
    with _setting(place, traffic, "idle_session_timeout"), traffic.held():
        traffic.until(lambda: not place.execute(f"SELECT 1 {_OURS}"))
    return time.monotonic()


def transactions_too_long(place: Place, traffic: Traffic) -> float:
    """transaction_timeout ends what waits for a lock."""
    with _setting(place, traffic, "transaction_timeout"), _locked(place, "SHARE"):
        traffic.fails("write")
        traffic.each_reads(5)
    return time.monotonic()


def lock_held(place: Place, traffic: Traffic) -> float:
    """Another transaction holds the table against writes: they give up after their time (55P03)."""
    with _locked(place, "SHARE"):
        traffic.fails("write")
        traffic.each_reads(5)
    return time.monotonic()


def statements_too_long(place: Place, traffic: Traffic) -> float:
    """Another transaction holds the table against everybody: reads end at their deadline (57014)."""
    with _locked(place, "ACCESS EXCLUSIVE"):
        traffic.fails("read")
    return time.monotonic()


def too_many_clients(place: Place, traffic: Traffic) -> float:
    """Others have all connections that the server does not have, and then those too."""
    with ExitStack() as others:
        with traffic.held():
            place.execute(f"SELECT pg_terminate_backend(pid) {_OURS}")
            with suppress(psycopg.OperationalError):
                while True:
                    others.enter_context(psycopg.connect(place.url("owner")))
        traffic.fails("read")
    return time.monotonic()


def data_disk_full(place: Place, traffic: Traffic) -> float:
    """No table can grow (53100): writes fail, reads go on."""
    disk = _there(place.disk)
    disk.fill()
    traffic.fails("write")
    traffic.each_reads(10)
    disk.free()
    return time.monotonic()


def wal_disk_full(place: Place, traffic: Traffic) -> float:
    """No new file for the write-ahead log: PostgreSQL panics, and is started when there is room again."""
    disk = _there(place.disk)
    disk.fill()
    with suppress(psycopg.OperationalError):
        while True:
            place.execute("SELECT pg_switch_wal() FROM pg_logical_emit_message(true, 'fault', 'fault')")
    traffic.fails()
    disk.free()
    since = time.monotonic()
    place.server.acquire()
    return since


def answers_to_commit_lost(place: Place, traffic: Traffic) -> float:
    """PostgreSQL has committed, and the answer is lost on its way."""
    proxy = _there(place.proxy)
    proxy.lose(5)
    traffic.until(lambda: proxy.lost == 5)  # noqa: PLR2004 - all of them
    return time.monotonic()


def clock_set_back(place: Place, traffic: Traffic) -> float:
    """The clock of PostgreSQL and of our server jumps two hours back."""
    before = place.execute("SELECT now()")[0][0]
    _there(place.clock).set("-2h")
    traffic.until(lambda: bool(place.execute("SELECT now()")[0][0] < before))
    return time.monotonic()


@contextmanager
def _setting(place: Place, traffic: Traffic, name: str) -> Iterator[None]:
    """The connections of our server have a timeout of 250 ms until the block ends."""
    _for_all_connections(place, traffic, f"ALTER ROLE app SET {name} = '250ms'")
    traffic.each_hears(1)
    try:
        yield
    finally:
        _for_all_connections(place, traffic, "ALTER ROLE app RESET ALL")


def _for_all_connections(place: Place, traffic: Traffic, setting: str) -> None:
    """Old connections do not know of a setting of the role: they are ended, and new ones made."""
    with traffic.held():
        place.execute(setting)
        place.execute(f"SELECT pg_terminate_backend(pid) {_OURS}")


@contextmanager
def _locked(place: Place, mode: str) -> Iterator[None]:
    with place.superuser() as connection, connection.transaction():
        connection.execute(f"LOCK TABLE agent_run IN {mode} MODE".encode())
        yield


def _there(part: "Part | None") -> Part:
    if part is None:
        raise TypeError("the fault wants a place that has such a part")
    return part


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens, where, and what no client may see of it."""

    name: str
    cause: Cause
    unseen: tuple[str, ...] = ()  # kinds of requests that must not fail: read, write
    proxied: bool = False
    full: str = ""
    clocked: bool = False

    @property
    def standard(self) -> bool:
        """Whether it needs nothing that other faults do not."""
        return not (self.proxied or self.full or self.clocked)


NOTHING_SEEN = ("read", "write")
FAULTS = [
    Fault("kill -9 of the postmaster and its children", server_killed),
    Fault("kill -9 of the postmaster", postmaster_killed),
    Fault("kill -9 of one backend", backend_killed),
    Fault(f"PostgreSQL is away for {_AWAY_SECONDS} s", server_stopped),
    Fault("pg_terminate_backend of all, between requests", connections_ended, NOTHING_SEEN),
    Fault("pg_terminate_backend of all, at work", connections_ended_at_work),
    Fault("idle_session_timeout", connections_idle_too_long, NOTHING_SEEN),
    Fault("transaction_timeout", transactions_too_long),
    Fault("lock_timeout", lock_held, ("read",)),
    Fault("statement_timeout", statements_too_long),
    Fault("too many clients", too_many_clients),
    Fault("the disk of the data is full", data_disk_full, ("read",), full="data"),
    Fault("the disk of the write-ahead log is full", wal_disk_full, full="wal"),
    Fault("the answer to COMMIT is lost", answers_to_commit_lost, ("read",), proxied=True),
    Fault("the clock goes back by two hours", clock_set_back, NOTHING_SEEN, clocked=True),
]
