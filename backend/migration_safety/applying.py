"""Applies migrations as `migrate_safely` does and as a rehearsal must see it."""

import re
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState
from psycopg.pq import TransactionStatus

from backend.migration_safety.locking import ATTEMPTS, LOCK_TIMEOUT_MS, lock_timeout, with_retries

# Whoever makes an index holds this lock on its table to the end. pg_stat_progress_create_index would show the work of
# other roles to superusers alone; what has no user is autovacuum, which holds the same lock and makes no index.
INVALID_INDEXES = """
SELECT i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
WHERE NOT x.indisvalid AND i.relnamespace = current_schema()::regnamespace AND i.relkind = 'i'
  AND NOT EXISTS (
    SELECT 1 FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'relation' AND l.relation = x.indrelid AND l.database = a.datid AND l.granted
      AND l.mode = 'ShareUpdateExclusiveLock' AND a.usesysid IS NOT NULL AND l.pid <> pg_backend_pid()
  )
ORDER BY 1
"""
# PostgreSQL executes these alone, so nothing in the same text is meant; their locks let reads and writes pass.
_INDEX_CONCURRENTLY = re.compile(
    r"(\s|--[^\n]*\n|/\*.*?\*/)*"
    r"(CREATE\s+(UNIQUE\s+)?INDEX|DROP\s+INDEX|REINDEX\s*(\([^)]*\)\s*)?(INDEX|TABLE))\s+CONCURRENTLY\b",
    re.IGNORECASE | re.DOTALL,
)


def apply(
    executor: MigrationExecutor,
    state: ProjectState,
    migration: Migration,
    *,
    limit: int | None = LOCK_TIMEOUT_MS,
    attempts: int = ATTEMPTS,
    backward: bool = False,
    on_wait: Callable[[int], None] | None = None,
) -> ProjectState:
    """The state after the migration (before it, if `backward`).

    It waits at most `limit` milliseconds for each lock and is tried again until it gets them; None leaves the waiting
    as the session has it and tries once, as Django's `migrate`. What an interrupted attempt may have left of a
    migration outside of a transaction is resumed by operations that look before they act; INVALID indexes are dropped
    for those that do not. An index that is made or dropped CONCURRENTLY waits without limit: giving up would leave it
    INVALID.

    Raises:
        LocksNotToBeHad: other transactions held the locks at every attempt.
    """

    is_first = True

    def once() -> ProjectState:
        work = MigrationExecutor.unapply_migration if backward else MigrationExecutor.apply_migration
        found: ProjectState = work(executor, state.clone(), migration)
        return found

    def again(attempt: int) -> None:
        nonlocal is_first
        is_first = False
        if on_wait is not None:
            on_wait(attempt)

    def whole() -> ProjectState:
        if not is_first and not migration.atomic:
            drop_invalid_indexes(executor.connection)
        # Django records what it takes back after the transaction that did it: a process that is killed in between
        # would take it back twice.
        with transaction.atomic(using=executor.connection.alias) if migration.atomic and backward else nullcontext():
            return once()

    if limit is None:
        return once()
    with lock_timeout(executor.connection, limit), executor.connection.execute_wrapper(_unlimited_concurrently):
        return with_retries(whole, attempts=attempts, on_wait=again)


def _unlimited_concurrently(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    connection: BaseDatabaseWrapper = context["connection"]
    is_alone = connection.connection.info.transaction_status is TransactionStatus.IDLE
    if not is_alone or not _INDEX_CONCURRENTLY.match(str(sql)):
        return execute(sql, params, many, context)
    with lock_timeout(connection, 0):
        return execute(sql, params, many, context)


class PatientExecutor(MigrationExecutor):
    """Django's executor, with `apply` for each migration."""

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        *,
        limit: int,
        attempts: int,
        on_start: Callable[[Migration, bool], None],
        on_wait: Callable[[int], None],
    ) -> None:
        super().__init__(connection)
        self._options: dict[str, Any] = {"limit": limit, "attempts": attempts, "on_wait": on_wait}
        self._on_start = on_start

    def apply_migration(self, state: ProjectState, migration: Migration, *_faked: bool, **_fake: bool) -> ProjectState:
        """The state after the migration. Nothing is faked."""
        return self._apply(state, migration, backward=False)

    def unapply_migration(
        self, state: ProjectState, migration: Migration, *_faked: bool, **_fake: bool
    ) -> ProjectState:
        """The state before the migration. Nothing is faked."""
        return self._apply(state, migration, backward=True)

    def _apply(self, state: ProjectState, migration: Migration, *, backward: bool) -> ProjectState:
        self._on_start(migration, backward)
        return apply(self, state, migration, backward=backward, **self._options)


def drop_invalid_indexes(connection: BaseDatabaseWrapper) -> list[str]:
    """The names of the indexes that an interrupted CONCURRENTLY left, which are gone now.

    SQL: 1, and 1 for each; their locks let everything but DDL pass.
    """
    with connection.cursor() as cursor:
        cursor.execute(INVALID_INDEXES)
        names = [name for (name,) in cursor.fetchall()]
        for name in names:
            cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {connection.ops.quote_name(name)}")
    return names
