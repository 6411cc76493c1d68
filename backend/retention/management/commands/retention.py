"""`manage.py retention [--organization NAME] [--dry-run]`: removes the rows that are past their time."""

from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from backend.accounts.selectors import organization_named, organizations_all
from backend.core.actor import Actor
from backend.core.errors import AppError
from backend.retention.services import retention_due, retention_run


class Command(BaseCommand):
    """Removes; may be interrupted anywhere, and run again."""

    help = (
        "Remove the rows of an organization, or of every one, that are past their time; a worker does it every night."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The organization, dry run."""
        parser.add_argument("--organization", metavar="NAME", help="every one if not given")
        parser.add_argument("--dry-run", action="store_true", help="count, and remove nothing")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Removes or counts, and prints a table for each organization.

        Raises: CommandError.
        """
        name, dry_run = options["organization"], options["dry_run"]
        console = Console(file=cast("IO[str]", self.stdout), no_color=options["no_color"])
        try:
            for organization in [organization_named(name)] if name else organizations_all():
                actor = Actor.system(organization.id, "retention")
                counts = retention_due(actor=actor) if dry_run else _removed(actor)
                table = Table("table", "rows past their time" if dry_run else "rows removed", title=organization.name)
                for of, number in counts.items():
                    table.add_row(of, f"{number:,}")
                console.print(table)
        except AppError as refusal:
            raise CommandError(refusal.message) from refusal


def _removed(actor: Actor) -> dict[str, int]:
    columns = (SpinnerColumn(), TextColumn("{task.description}: {task.completed} rows removed"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        return retention_run(
            actor=actor, progress=lambda table, done: bar.update(task, description=table, completed=done)
        )
