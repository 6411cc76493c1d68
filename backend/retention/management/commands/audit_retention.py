"""`manage.py audit_retention [--dry-run]`: removes the months of the audit trail that are past their time."""

from typing import IO, Any, cast

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.backends.base.base import BaseDatabaseWrapper
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from backend.audit.removal import Due, removal_check, removal_due, removal_run
from backend.core.errors import AppError
from backend.core.operators import os_operator
from backend.migration_safety.locking import LocksNotToBeHad
from backend.migration_safety.scratch import owner_connection


class Command(BaseCommand):
    """Exit code 1 where a month stays that is past its time, and why; may be interrupted anywhere, and run again."""

    help = (
        "Remove whole months of the audit trail that are past their time (DRIFTGRAPH_RETENTION_AUDIT_YEARS), as the"
        " owner of the database. Each is verified first, and has a certificate that verify_audit holds against the"
        " seals. There is no way back."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Dry run."""
        parser.add_argument("--dry-run", action="store_true", help="verify and count, and remove nothing")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Removes or counts, and prints a table.

        Raises: CommandError.
        """
        owner, dry_run = owner_connection(), options["dry_run"]
        owner.ensure_connection()
        table, refusals = Table("partition", "entries", "past their time" if dry_run else "certificate"), list[str]()
        columns = (SpinnerColumn(), TextColumn("{task.description}: {task.completed} entries"), TimeElapsedColumn())
        try:
            # The clock that certificates are dated by: months of another one's past would be gone, and not certified.
            now = owner.connection.execute("SELECT clock_timestamp()").fetchone()[0]
            found = removal_due(owner.connection, years=settings.ENVIRONMENT.retention_audit_years, now=now)
            with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
                for due in found:
                    try:
                        table.add_row(due.part, *_done(owner, due, bar, dry_run=dry_run))
                    except AppError as refusal:
                        refusals.append(refusal.message)
        except LocksNotToBeHad as error:
            raise CommandError(str(error), returncode=2) from None
        except AppError as refusal:
            raise CommandError(refusal.message) from refusal
        if table.row_count:
            Console(file=cast("IO[str]", self.stdout), no_color=options["no_color"]).print(table)
        elif not refusals:
            self.stdout.write("no month is past its time")
        if refusals:
            raise CommandError("\n".join(refusals))


def _done(owner: BaseDatabaseWrapper, due: Due, bar: Progress, *, dry_run: bool) -> tuple[str, str]:
    task = bar.add_task(due.part, total=None)

    def progress(done: int) -> None:
        bar.update(task, completed=done)

    if dry_run:
        return f"{removal_check(owner.connection, due, progress):,}", f"before {due.before.date()}"
    certificate = removal_run(owner, due, operator=os_operator(), progress=progress)
    return f"{certificate.entries:,}", f"{certificate.seq} {certificate.own_hash().hex()}"
