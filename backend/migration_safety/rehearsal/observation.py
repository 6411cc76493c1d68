"""What each statement of a migration does to the tables that were there before it.

Read inside the statement's own transaction, right after it: pg_locks of its backend (exact; polling misses what lasts
a millisecond), pg_stat_xact_all_tables (rows read and written so far) and the file of each table, which a rewrite
replaces (what a table_rewrite event trigger would tell, but without being superuser). A statement outside of a
transaction is given one of its own; only where PostgreSQL refuses that (CONCURRENTLY, a DO block that commits) or the
statement ended it, its locks are polled. A script that begins and ends transactions, or sets how long it waits for
locks, is executed statement by statement.
"""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import psycopg
import sqlparse
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import Error as DatabaseError
from psycopg import Connection
from psycopg.pq import TransactionStatus

# Modes that make a live statement wait, weakest first; SHARE stops writes, ACCESS EXCLUSIVE everything.
STRONG = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
_SHOWN = 120  # characters of a statement
_POLL_SECONDS = 0.001
_CANNOT_RUN_INSIDE = frozenset({"25001", "2D000"})  # CONCURRENTLY and its like; a COMMIT in a DO block
_OF_TRANSACTIONS = re.compile(r"\s*(?:BEGIN|START\s+TRANSACTION|COMMIT|END|ROLLBACK|ABORT)\b", re.IGNORECASE)
_SCRIPTED = re.compile(r"\b(?:COMMIT|ROLLBACK|ABORT|lock_timeout)\b", re.IGNORECASE)
_SQL_BODY = re.compile(r"\bBEGIN\s+ATOMIC\b", re.IGNORECASE)
_LOCKS = (
    "SELECT relation, array_agg(mode) FROM pg_locks WHERE locktype = 'relation' AND granted AND pid = {pid} GROUP BY 1"
)
_TABLES = (
    "SELECT c.relname, c.oid, coalesce(pg_relation_filenode(c.oid), 0)::bigint, coalesce(l.modes, '{}'),"
    " coalesce(s.seq_tup_read, 0), coalesce(s.n_tup_upd + s.n_tup_del, 0), coalesce(s.n_tup_ins, 0)"
    f" FROM pg_class c LEFT JOIN ({_LOCKS.format(pid='pg_backend_pid()')}) AS l(relation, modes) ON l.relation = c.oid"
    " LEFT JOIN pg_stat_xact_all_tables s ON s.relid = c.oid"
    " WHERE c.relkind IN ('r', 'p', 'm') AND c.relnamespace = current_schema()::regnamespace"
)
_TIMEOUT = "SELECT setting::int FROM pg_settings WHERE name = 'lock_timeout'"
_NEXT_TRANSACTION = "SELECT (pg_snapshot_xmax(pg_current_snapshot())::text::numeric % 4294967296)::bigint"
_WRITTEN = (
    "SELECT coalesce(max(rows), 0) FROM"
    " (SELECT count(*) AS rows FROM {} WHERE xmin::text::bigint >= {} GROUP BY xmin::text) AS by_transaction"
)
_TRANSACTION = "SELECT coalesce(pg_current_xact_id_if_assigned()::text, '')"


@dataclass(frozen=True, slots=True)
class _Table:
    oid: int
    file: int
    modes: frozenset[str]
    read: int
    changed: int
    inserted: int


@dataclass(frozen=True, slots=True)
class Observed:
    """One statement. Tables that the migration itself made are left out: nobody waits for them."""

    sql: str  # without its parameters
    locks: Mapping[str, str]  # strongest strong lock held on each table when the statement had ended
    acquired: tuple[str, ...]  # tables on which it was the statement itself that took that lock
    lock_timeout: int  # milliseconds; 0: waits for ever
    read: Mapping[str, int]  # rows read by scans of whole tables
    changed: Mapping[str, int]  # rows updated or deleted
    rewritten: tuple[str, ...]
    transaction: str = ""  # its id; empty if it wrote nothing or had none

    @property
    def work(self) -> int:
        """Rows that the statement went through."""
        return sum(self.read.values()) + sum(self.changed.values())


@dataclass
class Observer:
    """Wraps every statement of a Django connection; `before` are the tables that count."""

    connection: BaseDatabaseWrapper
    address: str
    seen: list[Observed] = field(default_factory=list)
    _before: frozenset[str] = frozenset()

    @contextmanager
    def watching(self) -> Iterator["list[Observed]"]:
        """The statements of the block, in the order of their execution."""
        self.connection.ensure_connection()
        self._before = frozenset(self._tables()) - {"django_migrations"}
        self.seen = []
        with self.connection.execute_wrapper(self._statement):
            yield self.seen

    def _raw(self) -> "Connection[Any]":
        found: Connection[Any] = self.connection.connection
        return found

    def _tables(self) -> dict[str, _Table]:
        return {
            name: _Table(oid, file, frozenset(modes), read, changed, inserted)
            for name, oid, file, modes, read, changed, inserted in psycopg.Cursor(self._raw())
            .execute(_TABLES)
            .fetchall()
        }

    def _statement(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        parts = _parts(sql) if not params else [sql]
        if any(map(_OF_TRANSACTIONS.match, parts)):
            return self._script(execute, parts, params, many, context)
        if self._is_inside():
            return self._inside(execute, parts, params, many, context)
        return self._alone(execute, parts, params, many, context)

    def _script(
        self, execute: Callable[..., Any], parts: list[str], params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        """Parts some of which begin or end transactions; one that fails leaves no aborted transaction behind."""
        try:
            for part in parts:
                observed = execute if _OF_TRANSACTIONS.match(part) else partial(self._one, execute)
                result = observed(part, params, many, context)
        except DatabaseError:
            if not self.connection.in_atomic_block:
                psycopg.Cursor(self._raw()).execute("ROLLBACK")
            raise
        return result

    def _one(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        return (self._inside if self._is_inside() else self._alone)(execute, [sql], params, many, context)

    def _is_inside(self) -> bool:
        return self.connection.in_atomic_block or self._raw().info.transaction_status is not TransactionStatus.IDLE

    def _alone(
        self, execute: Callable[..., Any], parts: list[str], params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        """The parts in a transaction of their own, which PostgreSQL would give them too."""
        cursor = psycopg.Cursor(self._raw())
        cursor.execute("BEGIN")
        try:
            result = self._inside(execute, parts, params, many, context)
        except DatabaseError as error:
            cursor.execute("ROLLBACK")
            if getattr(error.__cause__, "sqlstate", None) not in _CANNOT_RUN_INSIDE:
                raise
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
        else:
            cursor.execute("COMMIT")
            return result
        return self._outside(execute, "; ".join(parts), params, many, context)

    def _inside(
        self, execute: Callable[..., Any], parts: list[str], params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        for sql in parts:
            timeout, before = self._timeout(), self._tables()
            result = execute(sql, params, many, context)
            if self._raw().info.transaction_status is TransactionStatus.INTRANS:
                after = self._tables()
                self._record(sql, timeout, before, after, {name: after[name].modes for name in after})
        return result

    def _outside(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        timeout, before, begin = self._timeout(), self._tables(), self._value(_NEXT_TRANSACTION)
        with _polled(self.address, self._raw().info.backend_pid) as modes:
            result = execute(sql, params, many, context)
        names = {table.oid: name for name, table in before.items()}
        held = {names[oid]: frozenset(found) for oid, found in modes.items() if oid in names}
        # The counters are those of several transactions, if the statement commits: rows tell which of them wrote them.
        after = {
            name: replace(new, changed=before[name].changed + self._largest(name, begin))
            if name in before and new.changed > before[name].changed
            else new
            for name, new in self._tables().items()
        }
        self._record(sql, timeout, before, after, held)
        return result

    def _largest(self, table: str, begin: int) -> int:
        """How many rows of the table a transaction wrote, of those since `begin` the one that wrote most."""
        return int(self._value(_WRITTEN.format(self.connection.ops.quote_name(table), int(begin))))

    def _timeout(self) -> int:
        return int(self._value(_TIMEOUT))

    def _value(self, query: str) -> Any:
        (found,) = psycopg.Cursor(self._raw()).execute(query).fetchone() or (0,)
        return found

    def _record(
        self,
        sql: str,
        timeout: int,
        before: dict[str, _Table],
        after: dict[str, _Table],
        held: Mapping[str, frozenset[str]],
    ) -> None:
        there = {name: (before[name], after[name]) for name in self._before & before.keys() & after.keys()}
        read = {name: new.read - old.read for name, (old, new) in there.items()}
        changed = {name: new.changed - old.changed for name, (old, new) in there.items()}
        # A name that another table gave up has no table before the statement that gives it away.
        known = self._before & before.keys()
        strong = {name: _strongest(modes) for name, modes in sorted(held.items()) if name in known}
        locks = {name: mode for name, mode in strong.items() if mode}
        self.seen.append(
            Observed(
                sql=" ".join(str(sql).split())[:_SHOWN],
                locks=locks,
                acquired=tuple(name for name, mode in locks.items() if mode != _strongest(before[name].modes)),
                lock_timeout=timeout,
                read={name: rows for name, rows in sorted(read.items()) if rows > 0},
                changed={name: rows for name, rows in sorted(changed.items()) if rows > 0},
                transaction=self._value(_TRANSACTION),
                rewritten=tuple(sorted(name for name, (old, new) in there.items() if old.file != new.file)),
            )
        )


def _parts(script: Any) -> list[Any]:
    """The statements of a script whose transactions or waits are its own; any other is one part."""
    if not isinstance(script, str) or ";" not in script or not _SCRIPTED.search(script) or _SQL_BODY.search(script):
        return [script]
    return [part for part in sqlparse.split(script) if part.strip("; \t\n")]


def _strongest(modes: frozenset[str]) -> str:
    return max(modes & set(STRONG), key=STRONG.index, default="")


@contextmanager
def _polled(address: str, pid: int) -> Iterator[dict[int, set[str]]]:
    """Lock modes by relation that a backend was seen to hold while the block ran."""
    found: dict[int, set[str]] = {}
    stop, ready = threading.Event(), threading.Event()

    def poll() -> None:
        with psycopg.connect(address, autocommit=True) as connection:
            ready.set()
            while not stop.wait(_POLL_SECONDS):
                for relation, modes in connection.execute(_LOCKS.format(pid=pid)).fetchall():
                    found.setdefault(relation, set()).update(modes)

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    ready.wait(timeout=30)
    try:
        yield found
    finally:
        stop.set()
        thread.join()
