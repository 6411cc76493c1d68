"""Workers as processes of their own, and what a worker that dies leaves behind."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db import connection, transaction

from tests import server

ROOT = Path(__file__).resolve().parents[2]


def start_worker(database: str, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "DRIFTGRAPH_DATABASE_URL": server.url("app", database), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "manage.py", "worker", *words],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def working(database: str) -> Iterator[subprocess.Popen[str]]:
    """A worker that is there for a while."""
    worker = start_worker(database)
    try:
        yield worker
    finally:
        worker.kill()
        worker.communicate()


def until(condition: Callable[[], object], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


def empty_queue() -> None:
    """No job of another test, whose files and rows a worker would look for in vain, and no worker of one."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs")
        cursor.execute("DELETE FROM procrastinate_workers")


def kill_in_the_middle(database: str, table: str) -> None:
    """A worker, killed while its statement waits to write to the table; its transaction has ended when this returns."""
    with working(database) as worker:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {table} IN SHARE MODE")
            assert until(lambda: waiting_statements(table) == 1), "no worker came so far"
            worker.kill()
            worker.wait()
        assert until(lambda: waiting_statements(table) == 0)


def waiting_statements(table: str) -> int:
    """How many transactions hold or wait for the right to write to a table."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(DISTINCT pid) FROM pg_locks WHERE locktype = 'relation' AND relation = %s::regclass"
            " AND mode = 'RowExclusiveLock'",
            [table],
        )
        return int(cursor.fetchone()[0])


def worker_is_long_dead() -> None:
    """As if the time had passed after which a worker without a heartbeat counts as dead."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE procrastinate_workers SET last_heartbeat = last_heartbeat - interval '31 seconds'")
