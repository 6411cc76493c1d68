"""A whole rehearsal: a scratch database, the migrations that are there already, then the chosen ones one by one."""

from collections.abc import Callable

from django.db.migrations.executor import MigrationExecutor

from backend.migration_safety.applying import apply
from backend.migration_safety.locking import LOCK_TIMEOUT_MS
from backend.migration_safety.rehearsal.demands import demands
from backend.migration_safety.rehearsal.engine import ROWS, Rehearsal
from backend.migration_safety.rehearsal.verdict import Report
from backend.migration_safety.scratch import owner_connection, redirected, scratch_database
from backend.migration_safety.selection import Key, keys, plan


def rehearse(
    chosen: frozenset[Key],
    *,
    rows: int = ROWS,
    limit: int | None = LOCK_TIMEOUT_MS,
    on_progress: Callable[[str], None] = lambda _text: None,
) -> list[Report]:
    """One report for each migration, in the order of their execution.

    After one that fails the others are reported as failed too: they cannot be rehearsed.

    Raises:
        CommandError: the connection that migrations use is not configured.
    """
    owner_connection()
    reports: list[Report] = []
    with scratch_database() as scratch, redirected(scratch) as connection:
        executor = MigrationExecutor(connection)
        order = plan(executor, chosen)
        on_progress(f"applying {len(order.base)} migrations that are there already")
        executor.migrate(None, plan=[(migration, False) for migration in order.base])
        in_the_end = demands(executor.loader.project_state(), connection)
        rehearsal = Rehearsal(connection, scratch, rows=rows, limit=limit, demands=in_the_end)
        state = executor.loader.project_state(keys(order.base)) if order.base else executor.loader.project_state([])
        for number, migration in enumerate(order.rest):
            key = (migration.app_label, migration.name)
            if key not in chosen:
                state = apply(executor, state, migration)
                continue
            on_progress(f"rehearsing {migration.app_label}.{migration.name}")
            report, after = rehearsal.rehearse(migration, state)
            reports.append(report)
            if after is None:
                for app, name in keys(order.rest[number + 1 :]):
                    if (app, name) in chosen:
                        reports.append(Report(f"{app}.{name}"))
                        reports[-1].add("failed", f"not rehearsed, because {report.migration} failed")
                break
            state = after
    return reports
