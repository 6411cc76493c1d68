"""The statements of the code that is deployed while a migration runs, and what becomes of them.

They are made of the historical models before the migration, run as the server's role, and are always rolled back.
"""

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import Connection, sql

from backend.migration_safety.rehearsal.synthetic import Table, raw
from backend.migration_safety.rehearsal.values import of_row

_LIMIT = 50  # rows of a SELECT
WORKERS = 2
_PAUSE_SECONDS = 0.002
LEAST = "least INSERT"  # of a row that says as little as it may
_CUT_OFF = "SET statement_timeout = '30s'"  # a migration that never ends must not hold the rehearsal for ever


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """One of SELECT, INSERT, LEAST, UPDATE, DELETE on a table.

    `texts` run in one transaction; `%(row)s` is a row's number.
    """

    kind: str
    table: str
    texts: tuple[sql.Composed, ...]

    @property
    def label(self) -> str:
        """For example "INSERT claim"."""
        return f"{self.kind} {self.table}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Rows that a statement saw or changed, and its SQLSTATE with PostgreSQL's message if it failed."""

    rows: int
    error: str = ""


def statements(table: Table) -> list[Statement]:
    """What Django does to a table: all columns by name, and no other."""
    name, key = sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, table.keys))
    columns = [sql.Identifier(column) for column in table.expressions]
    select = sql.SQL("SELECT {} FROM {} ORDER BY {} LIMIT {}").format(
        sql.SQL(", ").join(columns), name, key, sql.Literal(_LIMIT)
    )
    found = [Statement("SELECT", table.name, (select,))]
    if not table.rows or not set(table.keys) <= table.expressions.keys():
        return found
    inserted, present = (_is_row(table, number) for number in (f"({table.rows} + %(row)s)::bigint", "%(row)s::bigint"))
    insert = table.insert(f"{table.rows} + %(row)s", f"{table.rows} + %(row)s")
    others = [sql.Identifier(column) for column in table.expressions if column not in table.keys]
    same = [sql.SQL("{0} = {0}").format(column) for column in others]
    found += [
        Statement("INSERT", table.name, (insert,)),
        Statement("DELETE", table.name, (insert, sql.SQL("DELETE FROM {} WHERE ").format(name) + inserted)),
    ]
    if table.least != table.expressions:
        least = table.insert(f"{table.rows} + %(row)s", f"{table.rows} + %(row)s", table.least)
        found.append(Statement(LEAST, table.name, (least,)))
    if same:
        update = sql.SQL("UPDATE {} SET {} WHERE ").format(name, sql.SQL(", ").join(same)) + present
        found.append(Statement("UPDATE", table.name, (update,)))
    return found


def _is_row(table: Table, number: str) -> sql.Composed:
    """The condition that a row is the one of that number."""
    equal = sql.SQL("{} = {}")
    return sql.SQL(" AND ").join(
        equal.format(sql.Identifier(key), raw(of_row(table.expressions[key], number))) for key in table.keys
    )


def connect(address: str) -> "Connection[Any]":
    """A connection as the server's; statements are sent as they stand, never prepared."""
    connection = psycopg.connect(address, autocommit=True, prepare_threshold=None)
    connection.execute(_CUT_OFF)
    return connection


def run(connection: "Connection[Any]", statement: Statement, begin: Sequence[str], row: int = 1) -> Outcome:
    """What becomes of a statement; nothing of it stays, constraints are checked as at a COMMIT."""
    try:
        with connection.transaction(force_rollback=True):
            for text in begin:
                connection.execute(raw(text))
            for composed in statement.texts:
                cursor = connection.execute(composed, {"row": row})
            if statement.kind != "SELECT":
                connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            return Outcome(cursor.rowcount)
    except psycopg.Error as error:
        return Outcome(0, f"{error.sqlstate}: {error.diag.message_primary or type(error).__name__}")


def sorted_out(
    address: str, tables: Iterable[Table], begin: Sequence[str]
) -> tuple[dict[Statement, Outcome], dict[Statement, str]]:
    """The statements that work now, each with what it gives, and those that do not, each with the reason."""
    with connect(address) as connection:
        found = {statement: run(connection, statement, begin) for table in tables for statement in statements(table)}
    sound = {statement: outcome for statement, outcome in found.items() if not outcome.error and outcome.rows}
    return sound, {item: outcome.error or "no rows" for item, outcome in found.items() if item not in sound}


def broken(address: str, before: dict[Statement, Outcome], begin: Sequence[str]) -> dict[Statement, str]:
    """The statements that worked before and do not now, with the reason."""
    found = {}
    with connect(address) as connection:
        for statement, expected in before.items():
            now = run(connection, statement, begin)
            if now.error:
                found[statement] = now.error
            elif now.rows < expected.rows:
                found[statement] = f"{now.rows} rows instead of {expected.rows}, without an error"
    return found


class Load:
    """Workers that run the statements again and again; `longest` is in seconds."""

    def __init__(self, address: str, statements: Iterable[Statement], begin: Sequence[str]) -> None:
        self._address, self._statements, self._begin = address, list(statements), begin
        self._stop, self._threads = threading.Event(), list[threading.Thread]()
        self.longest = 0.0
        self.errors: dict[Statement, str] = {}
        self.executed = 0

    def __enter__(self) -> Self:
        if self._statements:
            ready = threading.Barrier(WORKERS + 1)
            self._threads = [
                threading.Thread(target=self._work, args=(number, ready), daemon=True) for number in range(WORKERS)
            ]
            for thread in self._threads:
                thread.start()
            ready.wait(timeout=30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self, number: int, ready: threading.Barrier) -> None:
        with connect(self._address) as connection:
            ready.wait(timeout=30)
            turn = number
            while not self._stop.wait(_PAUSE_SECONDS):
                statement = self._statements[turn % len(self._statements)]
                turn += 1
                started = time.perf_counter()
                outcome = run(connection, statement, self._begin, row=2 + number)
                self.longest = max(self.longest, time.perf_counter() - started)
                self.executed += 1
                if outcome.error:
                    self.errors[statement] = outcome.error
