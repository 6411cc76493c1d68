"""One migration: forward under load, backward, and forward again behind a transaction that holds its tables."""

import inspect
import re
import threading
import time
from collections.abc import Callable, Iterator
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
from django.db.utils import Error as DatabaseError
from psycopg import Connection, sql

from backend.migration_safety.applying import INVALID_INDEXES, apply
from backend.migration_safety.locking import LOCK_TIMEOUT_MS
from backend.migration_safety.rehearsal import catalog, old_code
from backend.migration_safety.rehearsal.observation import Observer
from backend.migration_safety.rehearsal.synthetic import Keys, Rows
from backend.migration_safety.rehearsal.verdict import Report, excuse, judge_statements
from backend.migration_safety.scratch import Scratch

ROWS = 5_000  # enough to tell a look at the catalog from a scan
LEAST_ROWS = 200
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
    `migrate`. `keys` are those that are unique in the end (synthetic.py).
    """

    connection: BaseDatabaseWrapper
    scratch: Scratch
    rows: int = ROWS
    limit: int | None = LOCK_TIMEOUT_MS
    keys: Keys = field(default_factory=dict)
    _rows: Rows = field(init=False)
    executor: MigrationExecutor = field(init=False)

    def __post_init__(self) -> None:
        self.connection.ensure_connection()
        self._rows = Rows(self._raw, self.rows, self.scratch.begin, self.keys)
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
        report.notes += [f"{table.name} has no rows: {table.reason}" for table in tables if table.reason]
        sound = old_code.sound(self.scratch.app, tables, self.scratch.begin)
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
        failed = load.errors | old_code.broken(self.scratch.app, sound, self.scratch.begin)
        for label, reason in sorted(failed.items()):
            report.add("old-statement-fails", f"{label}: {reason}")
        for (name,) in self._raw.execute(INVALID_INDEXES).fetchall():
            report.add("invalid-index", name)
        self._back_and_again(migration, state, report, before)
        return after

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
            return None
        finally:
            report.attempts = max(report.attempts, attempts)
        return after

    def _back_and_again(self, migration: Migration, state: ProjectState, report: Report, before: _Before) -> None:
        applied = self._catalog()
        try:
            apply(self.executor, state, migration, limit=self.limit, backward=True)
        except (IrreversibleError, NotImplementedError) as error:
            report.add("irreversible", str(error))
            return
        except DatabaseError as error:
            report.add("irreversible", f"backward fails: {_said(error)}")
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
        tables = sorted(report.locks)
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


def _said(error: BaseException) -> str:
    """SQLSTATE and message without its detail, which may hold values of rows."""
    cause = error.__cause__
    if isinstance(cause, psycopg.Error):
        return f"{cause.sqlstate}: {cause.diag.message_primary or type(cause).__name__}"
    return type(error).__name__


def touched(migration: Migration, state: ProjectState) -> list[type[models.Model]]:
    """The models that a migration works on; all of its app where its operations do not say."""
    apps = state.apps
    known = {model._meta.db_table: model for model in apps.get_models(include_auto_created=True)}
    found: dict[type[models.Model], None] = {}
    for operation in _flattened(migration.operations):
        texts = ""
        if isinstance(operation, RunSQL):
            texts = str(operation.sql)
        elif isinstance(operation, RunPython):
            texts = inspect.getsource(operation.code)
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


def _flattened(operations: Any) -> Iterator[Any]:
    for operation in operations:
        inner = getattr(operation, "database_operations", None)
        if inner is None:
            yield operation
        else:
            yield from _flattened(inner)
