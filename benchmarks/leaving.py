"""`python -m benchmarks leaving`: how soon a statement is gone whose deadline has come or whose client has left.

The statement waits for a table that another transaction keeps to itself: it ends by being cancelled, or not at all.
"""

import argparse
import http.client
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import django

django.setup()

import psycopg
from django.core.management import call_command
from django.utils import timezone
from rich.console import Console
from rich.table import Table

from backend.accounts.services import organization_create, token_create
from backend.config.env import BASE_DIR
from backend.core.actor import Actor, Role
from backend.db.reads import connection_url
from benchmarks.peers.report import commit, write
from benchmarks.serving import served

DEADLINE_MS = 200
_BODY = '{"query": "{ payers { totalCount nodes { name } } }"}'
_WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND state = 'active' AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()"
)
_PAUSE_SECONDS, _PATIENCE_SECONDS = 0.001, 60.0
_MILLISECONDS = 1000


class StatementStays(Exception):
    """A statement did not come, or did not go."""


@contextmanager
def kept_table(owner: str, app: str) -> Iterator["psycopg.Connection[Any]"]:
    """A connection that sees the server's statements; meanwhile the owner keeps the table of payers to itself."""
    with psycopg.connect(owner) as keeper, psycopg.connect(app, autocommit=True) as watcher:
        keeper.execute("LOCK TABLE payer IN ACCESS EXCLUSIVE MODE")
        yield watcher
        keeper.rollback()


def until_waiting(watcher: "psycopg.Connection[Any]", wanted: int) -> float:
    """The moment, by time.monotonic(), at which so many statements wait for the table.

    Raises:
        StatementStays: it did not come in a minute.
    """
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        [[found]] = watcher.execute(_WAITING).fetchall()
        if found == wanted:
            return time.monotonic()
        if time.monotonic() > end:
            raise StatementStays(f"{found} statements wait for the table, not {wanted}")
        time.sleep(_PAUSE_SECONDS)


def left(url: str, headers: dict[str, str], watcher: "psycopg.Connection[Any]") -> float:
    """Seconds from the moment at which a client hangs up until its statement is gone."""
    client = _asking(url, headers)
    until_waiting(watcher, 1)
    client.close()
    gone_from = time.monotonic()
    return until_waiting(watcher, 0) - gone_from


def late(url: str, headers: dict[str, str], watcher: "psycopg.Connection[Any]") -> tuple[float, bytes]:
    """Seconds from the moment at which a request is sent until its statement is gone, and what the client is told."""
    begin = time.monotonic()
    deadline = {"driftgraph-deadline-ms": str(DEADLINE_MS)}
    client = _asking(url, {**headers, **deadline})
    until_waiting(watcher, 1)
    seconds = until_waiting(watcher, 0) - begin
    body = client.getresponse().read()
    client.close()
    return seconds, body


def _asking(url: str, headers: dict[str, str]) -> http.client.HTTPConnection:
    client = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_PATIENCE_SECONDS)
    client.request("POST", "/graphql", _BODY, {"content-type": "application/json", **headers})
    return client


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks leaving", description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="how often each is tried")
    options, console = parser.parse_args(arguments), Console()
    call_command("migrate", verbosity=0)
    actor = Actor.system(organization_create(name="leaving").id, "benchmark")
    ends = timezone.now() + timedelta(hours=1)
    _, secret = token_create(actor=actor, name="leaving", role=Role.ADMIN, expires_at=ends)
    headers = {"authorization": f"Bearer {secret}"}

    found: dict[str, list[float]] = {"the client has left": [], f"a deadline of {DEADLINE_MS} ms has passed": []}
    with served({}) as server, kept_table(connection_url("owner"), connection_url()) as watcher:
        for _ in range(options.times):
            after_leaving = left(server.url, headers, watcher) * _MILLISECONDS
            after_deadline = late(server.url, headers, watcher)[0] * _MILLISECONDS - DEADLINE_MS
            for took, one in zip(found.values(), (after_leaving, after_deadline), strict=True):
                took.append(one)
    table = Table("since", "median, ms", "longest, ms", title="Until a statement is gone", title_justify="left")
    for since, took in found.items():
        table.add_row(since, f"{statistics.median(took):.0f}", f"{max(took):.0f}")
    console.print(table)
    write("leaving", {"settings": {**vars(options), "commit": commit(BASE_DIR)}, "milliseconds": found}, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
