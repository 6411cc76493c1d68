"""A streaming replica of the tests' embedded server: a real one, made by pg_basebackup."""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from backend.db.embedded_cluster import Cluster, binaries
from backend.db.reads import Reads
from tests import server
from tests.environment import ROOT

# Who reads what a replayed change removes is stopped at once.
_OPTIONS = {"fsync": "off", "max_standby_streaming_delay": "0"}
_KEPT = "1GB"
_SECONDS = 30.0  # until what was written has been replayed


class Standby:
    """A replica, whose replay can be held, and which can be killed, started again and promoted."""

    def __init__(self, folder: Path) -> None:
        self.cluster = Cluster(folder, _OPTIONS)
        self._lock = os.open(folder.with_name(folder.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)

    def create(self) -> None:
        """Copies the primary and follows it."""
        with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as primary:
            # Checkpoints of other tests would remove what has not been copied yet.
            primary.execute(f"ALTER SYSTEM SET wal_keep_size = '{_KEPT}'")
            primary.execute("SELECT pg_reload_conf()")
        self.cluster._make_private(self.cluster.folder)
        words = ["--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "--no-sync"]
        source = server.url("postgres", "postgres")
        command = [binaries() / "pg_basebackup", "-d", source, "-D", self.cluster.folder, *words]
        self.cluster._run(command, cwd=Path("/"))
        self.start()

    def start(self) -> None:
        self.cluster.start(self._lock)

    def kill(self) -> None:
        """Ends it as a failure of its machine would."""
        self.cluster._run([*self.cluster.stop_command(), "-m", "immediate"], cwd=Path("/"))

    def stop(self) -> None:
        if self.cluster.answers():
            self.cluster.stop()
        os.close(self._lock)

    def url(self, role: str, database: str) -> str:
        return self.cluster.url(role, database)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within, nothing is replayed; what was written before has been."""
        self.catch_up()
        self._ask("SELECT pg_wal_replay_pause()")
        self._until("SELECT pg_get_wal_replay_pause_state() = 'paused'")
        try:
            yield
        finally:
            self._ask("SELECT pg_wal_replay_resume()")
            self.catch_up()

    def catch_up(self) -> None:
        """Returns when it shows all that the primary had at the call."""
        with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as primary:
            primary.execute(
                "SELECT pg_logical_emit_message(false, 'tests', '', true)"
            )  # and all before it, to the disk
            row = primary.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
        assert row is not None
        self._until(f"SELECT pg_last_wal_replay_lsn() >= '{row[0]}'")

    def promote(self) -> None:
        self._ask("SELECT pg_promote()")

    def _ask(self, text: str) -> object:
        with psycopg.connect(self.url("postgres", "postgres"), autocommit=True) as connection:
            row = connection.execute(text.encode()).fetchone()
        return row[0] if row else None

    def _until(self, text: str) -> None:
        until = time.monotonic() + _SECONDS
        while not self._ask(text):
            assert time.monotonic() < until, text
            time.sleep(0.01)


@contextmanager
def standby(name: str) -> Iterator[Standby]:
    """A replica of everything that the server of the tests has."""
    found = Standby(ROOT / name)
    found.create()
    try:
        yield found
    finally:
        found.stop()


async def is_read(reads: Reads) -> None:
    """Returns when the replica is read."""
    assert reads.replica is not None
    for _ in range(3_000):
        await reads.replica.look()
        if reads.fit_replica is not None:
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"the replica is not read: {reads.replica.unfit}")
