"""How many statements one request makes PostgreSQL execute: from the server's own log, which counts for every client
alike.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from benchmarks.peers.database import Database
from benchmarks.peers.generation import TABLES
from benchmarks.peers.servers import Request, Running

_ENTRY = re.compile(r"^\S+ \S+ \S+ \[\d+\] LOG:  (?:execute [^:]*|statement): ", re.MULTILINE)
_READS = re.compile(rf'\b(?:FROM|JOIN)\s+(?:"?public"?\.)?"?(?:{"|".join(TABLES)})\b', re.IGNORECASE)
_SETS = re.compile(r"\s*SELECT set_config\(", re.IGNORECASE)  # ours looks at the token in it, and whose it is
_ASKED = 3  # requests over which is counted
_NOTICED_SECONDS = 0.3  # until every session has read the changed configuration


@dataclass(frozen=True, slots=True)
class Statements:
    """Per request."""

    reading: float  # that read rows of the organization
    every: float  # with those that begin, set and end


@contextmanager
def logged(database: Database) -> Iterator[None]:
    """PostgreSQL logs every statement until the block ends."""
    _configure(database, "SET log_statement = 'all'")
    try:
        yield
    finally:
        _configure(database, "RESET log_statement")


def count(running: Running, request: Request, database: Database) -> Statements:
    """The statements of one request; to be asked within `logged`, of a server that nobody else asks."""
    log = database.folder / "log"
    begin = log.stat().st_size
    for _ in range(_ASKED):
        running.ask(request)
    with log.open("rb") as file:
        file.seek(begin)
        entries = split(file.read().decode(errors="replace"))
    reading = sum(bool(_READS.search(entry)) and not _SETS.match(entry) for entry in entries)
    return Statements(reading / _ASKED, len(entries) / _ASKED)


def split(log: str) -> list[str]:
    """The texts of the statements that a part of the log tells of."""
    return _ENTRY.split(log)[1:]


def _configure(database: Database, setting: str) -> None:
    with psycopg.connect(database.server.url("postgres", "postgres"), autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM {setting}".encode())
        connection.execute("SELECT pg_reload_conf()")
    time.sleep(_NOTICED_SECONDS)
