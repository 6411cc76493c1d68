"""`manage.py migrate_safely`: applies migrations one at a time, with short waits for locks."""

import time
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.exceptions import AmbiguityError
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import OperationalError

from backend.migration_safety.applying import PatientExecutor, drop_invalid_indexes
from backend.migration_safety.locking import ATTEMPTS, LOCK_TIMEOUT_MS, LocksNotToBeHad
from backend.migration_safety.scratch import owner_connection
from backend.migration_safety.selection import refuse_conflicts

_ONE_AT_A_TIME = 0x6D69_6772_7361_6665  # "migrsafe": the advisory lock of a deployment
_MOST = 2_147_483_647  # what PostgreSQL takes as a lock_timeout
_WAIT_SECONDS, _POLL_SECONDS = 10, 0.1
# A process that is killed cannot end its statement: PostgreSQL would finish the index, and hold the lock until then.
_END_WITH_CLIENT = (
    "SELECT set_config(name, '500ms', false) FROM pg_settings WHERE name = 'client_connection_check_interval'"
)
_BLOCKERS = (
    "SELECT DISTINCT a.pid, a.application_name, extract(epoch FROM now() - a.xact_start)::int FROM pg_locks l"
    " JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'relation' AND l.pid <> pg_backend_pid()"
    " AND a.xact_start IS NOT NULL AND a.datname = current_database() ORDER BY 3 DESC LIMIT 3"
)


class Command(BaseCommand):
    """May be interrupted anywhere and run again: transactions roll back, safe operations look before they act."""

    help = (
        "Applies the pending migrations one at a time. Each waits at most --lock-timeout for a lock, lets the queue"
        " behind it go and tries again."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """How far to go, how long to wait for a lock and how often."""
        parser.add_argument("app_label", nargs="?", help="only the migrations that this app needs")
        parser.add_argument("migration", nargs="?", help="as far as this migration of the app; also backwards")
        parser.add_argument(
            "--lock-timeout", type=_positive, default=LOCK_TIMEOUT_MS, help="milliseconds (default 100)"
        )
        parser.add_argument(
            "--wait",
            type=float,
            default=_WAIT_SECONDS,
            help=f"seconds for another migrate_safely, or what a killed one left, to end (default {_WAIT_SECONDS})",
        )
        parser.add_argument("--attempts", type=_positive, default=ATTEMPTS, help=f"per migration (default {ATTEMPTS})")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Applies.

        Raises:
            CommandError: another migrate_safely is at work; no such migration or app, or an app has several last
                migrations; locks were not to be had; interrupted, or the connection was lost.
        """
        connection = owner_connection()
        try:
            self._migrate_alone(connection, options)
        except KeyboardInterrupt:
            raise CommandError("Interrupted: run it again, and it goes on.", returncode=130) from None
        except OperationalError as error:
            if connection.is_usable():
                raise
            reason = " ".join(str(error).split())
            raise CommandError(
                f"The connection {connection.alias} to the database failed: {reason}. Run it again, and it goes on."
            ) from error

    def _migrate_alone(self, connection: BaseDatabaseWrapper, options: dict[str, Any]) -> None:
        if not _alone(connection, options["wait"]):
            raise CommandError("Another migrate_safely is at work on this database.", returncode=2)
        try:
            self._migrate(connection, options)
        finally:
            if connection.is_usable():
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_advisory_unlock(%s)", [_ONE_AT_A_TIME])

    def _migrate(self, connection: BaseDatabaseWrapper, options: dict[str, Any]) -> None:
        def start(migration: Migration, backward: bool) -> None:
            if options["verbosity"]:
                verb = "taking back" if backward else "applying"
                self.stdout.write(f"{verb} {migration.app_label}.{migration.name}")

        def wait(attempt: int) -> None:
            with connection.cursor() as cursor:
                cursor.execute(_BLOCKERS)
                waits = [f"pid {pid} ({who or 'unnamed'}) since {age} s" for pid, who, age in cursor.fetchall()]
            self.stdout.write(f"  no lock at attempt {attempt}; open transactions: {', '.join(waits) or 'none now'}")

        executor = PatientExecutor(
            connection, limit=options["lock_timeout"], attempts=options["attempts"], on_start=start, on_wait=wait
        )
        executor.loader.check_consistent_history(connection)
        refuse_conflicts(executor.loader)
        steps = executor.migration_plan(_targets(executor, options["app_label"], options["migration"]))
        known = executor.loader.graph.nodes
        for name in drop_invalid_indexes(connection) if steps else ():
            self.stdout.write(f"dropped the index {name}, which an interrupted attempt had left INVALID")
        before = executor.loader.project_state([key for key in executor.loader.applied_migrations if key in known])
        # Without a step too: an attempt that was interrupted after its last one has not told the receivers.
        quiet: dict[str, Any] = {"verbosity": 0, "interactive": False, "db": connection.alias, "plan": steps}
        emit_pre_migrate_signal(apps=before.apps, **quiet)
        try:
            after = executor.migrate(None, plan=steps)
        except LocksNotToBeHad as error:
            raise CommandError(str(error)) from error
        emit_post_migrate_signal(apps=after.apps, **quiet)
        if options["verbosity"]:
            self.stdout.write(f"{len(steps)} done" if steps else "Nothing to apply.")


def _positive(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= _MOST:
        raise ArgumentTypeError(f"it must be a whole number from 1 to {_MOST}")
    return int(text)


def _alone(connection: BaseDatabaseWrapper, seconds: float) -> bool:
    """Whether this process is the one that migrates, within so many seconds."""
    end = time.monotonic() + seconds
    with connection.cursor() as cursor:
        cursor.execute(_END_WITH_CLIENT)
        while True:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [_ONE_AT_A_TIME])
            if cursor.fetchone()[0]:
                return True
            if time.monotonic() > end:
                return False
            time.sleep(_POLL_SECONDS)


def _targets(executor: MigrationExecutor, app: str | None, name: str | None) -> list[tuple[str, str | None]]:
    graph = executor.loader.graph
    if app is None:
        return list(graph.leaf_nodes())
    if app not in executor.loader.migrated_apps:
        raise CommandError(f"There is no app {app} with migrations.", returncode=2)
    if name is None:
        return [key for key in graph.leaf_nodes() if key[0] == app]
    if name == "zero":
        return [(app, None)]
    try:
        found = executor.loader.get_migration_by_prefix(app, name)
    except (KeyError, AmbiguityError) as error:
        raise CommandError(f"There is not exactly one migration {app}.{name}.", returncode=2) from error
    return [(found.app_label, found.name)]
