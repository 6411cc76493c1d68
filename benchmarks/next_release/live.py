"""The migrations of the next release on a large table, one by one, while both releases are asked and one reads long."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from benchmarks.faults.place import Place
from benchmarks.next_release.release import EXPANDED, MIGRATIONS, SELECTION, Migrator, Release
from benchmarks.serving import served
from benchmarks.traffic import Target, Traffic

_FILL = """
INSERT INTO agent_run (id, organization_id, agent_id, trigger, status, commit, branch, tools, critical_count,
                       high_count, medium_count, low_count, info_count, external_trace_url, started_at)
SELECT uuidv7(), %s, %s, 'CI', 'RUNNING', md5(n::text), 'main', '[]', 0,
       0, 0, 0, n, '', now() - make_interval(secs => n)
FROM generate_series(1, %s) n
"""
_AGENT = (
    "INSERT INTO agent (id, organization_id, kind, name, version) VALUES (gen_random_uuid(), %s, 'EXTERNAL', 'old', '')"
    " RETURNING id"
)
_WAITED = re.compile(rb"^app LOG: +process \d+ acquired .* after ([0-9.]+) ms", re.MULTILINE)
_MILLISECONDS = 1000
_PAUSE_SECONDS = 1.0  # between two long transactions: somebody else may have their locks


@dataclass(frozen=True, slots=True)
class Phase:
    """What was heard while something was done."""

    name: str
    seconds: float
    answers: int
    longest_ms: float  # of the requests
    waited_ms: float  # longest wait of our servers for a lock, above 10
    failures: int


@dataclass(slots=True)
class Live:
    """A place whose runs are many, and what is asked of it."""

    place: Place
    release: Release
    migrations: Migrator
    connections: int
    pause: float  # seconds before each request of a connection

    def phases(self, quiet_seconds: float) -> Iterator[Phase]:
        """Nothing, then every migration forward, then back: the columns without the new code, the rest with it."""
        older, names = Target(self.place.served.url), [self.release.before, *MIGRATIONS]
        expanded = names.index(EXPANDED)
        with self._asked([older]) as traffic:
            yield self._heard(traffic, "nothing", lambda: time.sleep(quiet_seconds))
            for name in names[1 : expanded + 1]:
                yield self._led(traffic, name, name)
        with (
            served(self.place.variables, code=self.release.folder, ready="/healthz") as newer,
            self._asked([older, Target(newer.url, SELECTION)]) as traffic,
        ):
            for name in names[expanded + 1 :]:
                yield self._led(traffic, name, name)
            for number in range(len(names) - 1, expanded, -1):
                yield self._led(traffic, names[number - 1], f"back: {names[number]}")
        with self._asked([older]) as traffic:
            for number in range(expanded, 0, -1):
                yield self._led(traffic, names[number - 1], f"back: {names[number]}")

    @contextmanager
    def _asked(self, targets: list[Target]) -> Iterator[Traffic]:
        with Traffic(targets, self.place.token, clients=self.connections, pause=self.pause) as traffic:
            traffic.each_hears(3)
            traffic.longest()
            yield traffic
        lost, twice = traffic.kept(self.place.url("postgres"))
        if lost or twice:
            raise AssertionError(f"{lost} acknowledged writes are lost, {twice} were done twice")

    def _led(self, traffic: Traffic, target: str, name: str) -> Phase:
        return self._heard(traffic, name, lambda: self.migrations.to(target))

    def _heard(self, traffic: Traffic, name: str, work: Callable[[], None]) -> Phase:
        before, begin, log = traffic.heard, time.monotonic(), self.place.server.cluster.log
        said = log.stat().st_size
        work()
        seconds = time.monotonic() - begin
        traffic.each_hears(1)  # who waits still is heard as well
        after = traffic.heard
        waits = [float(wait) for wait in _WAITED.findall(log.read_bytes()[said:])]
        return Phase(
            name,
            seconds,
            after.answers - before.answers,
            traffic.longest() * _MILLISECONDS,
            max(waits, default=0.0),
            after.failures.total() - before.failures.total(),
        )


def log_waits(place: Place) -> None:
    """PostgreSQL's log tells of every wait for a lock that was longer than 10 ms, how long it was."""
    for setting in ("log_lock_waits = on", "deadlock_timeout = '10ms'", "log_line_prefix = '%u '"):
        place.execute(f"ALTER SYSTEM SET {setting}")
    place.execute("SELECT pg_reload_conf()")


def fill(place: Place, organization: object, rows: int) -> None:
    """So many runs of an auditor; no trigger is asked whether their references are right."""
    with place.superuser() as connection:
        connection.execute("SET session_replication_role = replica")
        agent = connection.execute(_AGENT, [organization]).fetchall()[0][0]
        connection.execute(_FILL, [organization, agent, rows])
        connection.execute("VACUUM (ANALYZE) agent_run")
        connection.execute("CHECKPOINT")


@contextmanager
def long_reader(place: Place, seconds: float) -> Iterator[None]:
    """Somebody who reads the table in one transaction of so many seconds after the other."""
    ended = threading.Event()

    def read() -> None:
        with psycopg.connect(place.url("owner"), application_name="a long report") as connection:
            while not ended.wait(_PAUSE_SECONDS):
                connection.execute("SELECT FROM agent_run LIMIT 1")
                ended.wait(seconds)
                connection.commit()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield
    finally:
        ended.set()
        reader.join()
