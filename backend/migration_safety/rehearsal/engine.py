"""One migration: forward under load, backward, and forward again behind a transaction that holds its tables."""

import inspect
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration, RunPython, RunSQL
from django.db.migrations.exceptions import IrreversibleError
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState
from django.db.utils import NotSupportedError
from psycopg import Connection, sql
from psycopg.pq import TransactionStatus

from backend.migration_safety.applying import INVALID_INDEXES, apply
from backend.migration_safety.locking import LOCK_TIMEOUT_MS
from backend.migration_safety.nesting import in_the_database
from backend.migration_safety.rehearsal import catalog, old_code
from backend.migration_safety.rehearsal.demands import Demands
from backend.migration_safety.rehearsal.observation import Observer
from backend.migration_safety.rehearsal.synthetic import Rows, Table
from backend.migration_safety.rehearsal.verdict import Report, excuse, judge_statements
from backend.migration_safety.scratch import Scratch

ROWS = 5_000  # enough to tell a look at the catalog from a scan
LEAST_ROWS = 200
_TABLES_OF = (
    "SELECT relname FROM pg_class WHERE relname = ANY(%s) AND relkind IN ('r', 'p')"
    " AND relnamespace = current_schema()::regnamespace ORDER BY 1"
)
PINNED_SECONDS = 0.4  # how long the probe holds the tables


@dataclass(frozen=True, slots=True)
class _Before:
    """The database before the migration: definitions, and rows with the columns that they are summed over."""

    catalog: catalog.Fingerprint
    columns: dict[str, list[str]]
    sums: dict[str, tuple[Any, ...]]


@dataclass
class Rehearsal:
    """Rehearses migrations one after another on one scratch database, to which `connection` leads as the owner.

    `limit` is the lock_timeout that the deployment gives to migrations, in milliseconds; None: it uses Django's
    `migrate`. `demands` are what rows must satisfy in the end.
    """

    connection: BaseDatabaseWrapper
    scratch: Scratch
    rows: int = ROWS
    limit: int | None = LOCK_TIMEOUT_MS
    demands: Demands = field(default_factory=Demands)
    _rows: Rows = field(init=False)
    executor: MigrationExecutor = field(init=False)

    def __post_init__(self) -> None:
        self.connection.ensure_connection()
        self._rows = Rows(self._raw, self.rows, self.scratch.begin, self.demands)
        self.executor = MigrationExecutor(self.connection)
        self.executor.recorder.ensure_schema()

    @property
    def _raw(self) -> "Connection[Any]":
        found: Connection[Any] = self.connection.connection
        return found

    def rehearse(self, migration: Migration, state: ProjectState) -> tuple[Report, ProjectState | None]:
        """The report, and the state after the migration, which is applied now; None if it failed."""
        started = time.perf_counter()
        report = Report(f"{migration.app_label}.{migration.name}")
        after = self._rehearse(migration, state, report)
        report.findings = excuse(report.findings, migration)
        report.seconds = time.perf_counter() - started
        return report, after

    def _rehearse(self, migration: Migration, state: ProjectState, report: Report) -> ProjectState | None:
        tables = self._rows.tables(touched(migration, state), self.connection)
        sound = self._sound(tables, report)
        columns = catalog.columns(self._raw, [table.name for table in tables])
        before = _Before(self._catalog(), columns, catalog.checksums(self._raw, columns))

        observer = Observer(self.connection, self.scratch.owner)
        with old_code.Load(self.scratch.app, sound, self.scratch.begin) as load, observer.watching() as seen:
            after = self._forward(migration, state, report, lambda _attempt: seen.clear())
        report.statements = [item for item in seen if item.locks or item.work or item.rewritten]
        report.load, report.blocked_ms = load.executed, load.longest * 1000
        if after is None:
            return None

        report.findings += judge_statements(report.statements, self.rows)
        _judge_tables(tables, sound, report)
        _judge_old_code(load.errors | old_code.broken(self.scratch.app, sound, self.scratch.begin), report)
        for (name,) in self._raw.execute(INVALID_INDEXES).fetchall():
            report.add("invalid-index", name)
        self._back_and_again(migration, state, report, before)
        return after

    def _sound(self, tables: Iterable[Table], report: Report) -> dict[old_code.Statement, old_code.Outcome]:
        """The statements of the deployed code that work; what is not looked at is noted."""
        report.notes += [f"{table.name} has no rows: {table.reason}" for table in tables if table.reason]
        filled = {table.name for table in tables if table.rows}
        sound, unsound = old_code.sorted_out(self.scratch.app, tables, self.scratch.begin)
        whole = {statement.table for statement in unsound if statement.kind == "INSERT"}
        report.notes += [
            f"{statement.label}, which does not work before: {reason}"
            for statement, reason in unsound.items()
            if statement.table in filled and not (statement.kind == old_code.LEAST and statement.table in whole)
        ]
        return sound

    def _catalog(self) -> catalog.Fingerprint:
        return catalog.fingerprint(self._raw)

    def _forward(
        self, migration: Migration, state: ProjectState, report: Report, on_wait: Callable[[int], None]
    ) -> ProjectState | None:
        attempts = 1

        def wait(attempt: int) -> None:
            nonlocal attempts
            attempts = attempt + 1
            on_wait(attempt)

        try:
            after = apply(self.executor, state, migration, limit=self.limit, on_wait=wait)
        except Exception as error:  # noqa: BLE001 - a migration may raise anything
            report.add("failed", _said(error))
            self._end_transaction()
            return None
        finally:
            report.attempts = max(report.attempts, attempts)
        return after

    def _end_transaction(self) -> None:
        """What a script began and did not end."""
        if self._raw.info.transaction_status is not TransactionStatus.IDLE:
            self._raw.execute("ROLLBACK")

    def _back_and_again(self, migration: Migration, state: ProjectState, report: Report, before: _Before) -> None:
        applied = self._catalog()
        try:
            apply(self.executor, state, migration, limit=self.limit, backward=True)
        except (IrreversibleError, NotImplementedError) as error:
            report.add("irreversible", str(error))
            return
        except Exception as error:  # noqa: BLE001 - a migration may raise anything
            report.add("irreversible", f"backward fails: {_said(error)}")
            self._end_transaction()
            return
        for line in catalog.differences(before.catalog, self._catalog()):
            report.add("catalog-differs", f"after backward: {line}")
        there = catalog.columns(self._raw, before.columns)
        for table, names in before.columns.items():
            if set(names) <= set(there.get(table, [])):
                if catalog.checksums(self._raw, {table: names})[table] != before.sums[table]:
                    report.add("rows-differ", table)
            else:
                report.add("rows-differ", f"{table} lacks columns")
        with self._pinned(report):
            self._forward(migration, state, report, lambda _attempt: None)
        for line in catalog.differences(applied, self._catalog()):
            report.add("catalog-differs", f"forward again: {line}")

    @contextmanager
    def _pinned(self, report: Report) -> Iterator[None]:
        """Another transaction has read the migration's tables and stays open; a reader that comes later is timed."""
        tables = [name for (name,) in self._raw.execute(_TABLES_OF, [sorted(report.locks)]).fetchall()]
        if not tables:
            yield
            return
        held, done = threading.Event(), threading.Event()
        names = sql.SQL(", ").join(map(sql.Identifier, tables))

        def hold() -> None:
            with psycopg.connect(self.scratch.owner) as connection:
                connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))
                held.set()
                done.wait(PINNED_SECONDS)

        def read() -> None:
            with psycopg.connect(self.scratch.owner, autocommit=True) as connection:
                held.wait(30)
                while not done.wait(0.005):
                    started = time.perf_counter()
                    with connection.transaction():
                        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))
                    report.blocked_ms = max(report.blocked_ms, (time.perf_counter() - started) * 1000)

        threads = [threading.Thread(target=work, daemon=True) for work in (hold, read)]
        for thread in threads:
            thread.start()
        held.wait(30)
        try:
            yield
        finally:
            done.set()
            for thread in threads:
                thread.join()


def _judge_tables(tables: Iterable[Table], sound: Iterable[old_code.Statement], report: Report) -> None:
    worked = {statement.table for statement in sound}
    for table in tables:
        if table.rows and table.name not in worked:
            report.add("not-looked-at", f"{table.name}: no statement of the deployed code works on it before")
        elif not table.rows and table.name in report.locks:
            report.add("not-looked-at", f"{table.name}: {table.reason}")


def _judge_old_code(failed: Mapping[old_code.Statement, str], report: Report) -> None:
    """A finding for each; a least INSERT counts only where the whole one works."""
    whole = {statement.table for statement in failed if statement.kind == "INSERT"}
    for statement, reason in sorted(failed.items(), key=lambda item: item[0].label):
        if statement.kind != old_code.LEAST:
            report.add("old-statement-fails", f"{statement.label}: {reason}")
        elif statement.table not in whole:
            report.add("least-insert-fails", f"{statement.label}: {reason}")


def _said(error: BaseException) -> str:
    """SQLSTATE and message without its detail, which may hold values of rows."""
    cause = error.__cause__
    if isinstance(error, NotSupportedError) and cause is None:  # an operation of ours that says what to do instead
        return str(error)
    if isinstance(cause, psycopg.Error):
        return f"{cause.sqlstate}: {cause.diag.message_primary or type(cause).__name__}"
    return type(error).__name__


def touched(migration: Migration, state: ProjectState) -> list[type[models.Model]]:
    """The models that a migration works on; all of its app where its operations do not say."""
    apps = state.apps
    known = {model._meta.db_table: model for model in apps.get_models(include_auto_created=True)}
    found: dict[type[models.Model], None] = {}
    for operation in in_the_database(migration.operations):
        texts = ""
        if isinstance(operation, RunSQL):
            texts = str(operation.sql)
        elif isinstance(operation, RunPython):
            texts = _source(operation.code)
        names = set(re.findall(r"\w+", texts.lower()))
        for table, model in known.items():
            own = model._meta.app_label == migration.app_label
            label, name = model._meta.app_label, model._meta.model_name or ""
            if texts:
                hit = table.lower() in names or name in names
            elif hasattr(operation, "model_name"):
                hit = own and operation.model_name.lower() == name
            else:
                hit = own and operation.references_model(name, label)
            if hit:
                found[model] = None
    if not found:
        found = dict.fromkeys(model for model in known.values() if model._meta.app_label == migration.app_label)
    return list(found)


def _source(code: Any) -> str:
    """The text of a function; empty where there is none to be had."""
    try:
        return inspect.getsource(getattr(code, "func", code))
    except (OSError, TypeError):
        return ""
