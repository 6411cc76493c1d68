"""Applies migrations as `migrate_safely` does and as a rehearsal must see it."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState

from backend.migration_safety.locking import ATTEMPTS, LOCK_TIMEOUT_MS, lock_timeout, with_retries

INVALID_INDEXES = """
SELECT i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
WHERE NOT x.indisvalid AND i.relnamespace = current_schema()::regnamespace AND i.relkind = 'i'
  AND NOT EXISTS (SELECT 1 FROM pg_stat_progress_create_index p WHERE p.index_relid = x.indexrelid)
ORDER BY 1
"""


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
    migration outside of a transaction is resumed by operations that look before they act.

    Raises:
        LocksNotToBeHad: other transactions held the locks at every attempt.
    """

    def once() -> ProjectState:
        work = MigrationExecutor.unapply_migration if backward else MigrationExecutor.apply_migration
        found: ProjectState = work(executor, state.clone(), migration)
        return found

    def whole() -> ProjectState:
        # Django records what it takes back after the transaction that did it: a process that is killed in between
        # would take it back twice.
        with transaction.atomic(using=executor.connection.alias) if migration.atomic and backward else nullcontext():
            return once()

    if limit is None:
        return once()
    with lock_timeout(executor.connection, limit):
        return with_retries(whole, attempts=attempts, on_wait=on_wait)


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
