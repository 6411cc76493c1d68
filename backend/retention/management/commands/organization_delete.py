"""`manage.py organization_delete --organization NAME --reason TEXT --confirm NAME`: deletes it, and certifies that."""

import json
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from backend.accounts.selectors import organization_named
from backend.core.actor import Actor
from backend.core.errors import AppError
from backend.core.operators import os_operator
from backend.retention.deletion import PURPOSE, deletion_counts, organization_delete
from backend.retention.models import DeletionCertificate


class Command(BaseCommand):
    """Deletes; may be interrupted anywhere, and run again."""

    help = (
        "Delete an organization with all that belongs to it, but for its sealed audit trail; a certificate stays. There"
        " is no way back. Stop its workers' imports first, and run it where the server's data directory is."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The organization, why, its name once more, dry run."""
        parser.add_argument("--organization", required=True, metavar="NAME")
        parser.add_argument("--reason", default="", metavar="TEXT", help="goes into the certificate")
        parser.add_argument("--confirm", default="", metavar="NAME", help="the organization's name, once more")
        parser.add_argument("--dry-run", action="store_true", help="count, and delete nothing")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Deletes, with a progress bar, and prints the certificate; or counts.

        Raises: CommandError.
        """
        try:
            actor = Actor.system(organization_named(options["organization"]).id, PURPOSE)
            counts = deletion_counts(actor=actor)
            if options["dry_run"]:
                console = Console(file=cast("IO[str]", self.stdout), no_color=options["no_color"])
                console.print(_table(counts))
                return
            with Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=Console(stderr=True),
            ) as bar:
                task = bar.add_task("sealing", total=sum(counts.values()))
                certificate = organization_delete(
                    actor=actor,
                    confirm=options["confirm"],
                    reason=options["reason"],
                    operator=os_operator(),
                    progress=lambda table, rows: bar.update(task, description=table, advance=rows),
                )
        except AppError as refusal:
            raise CommandError(refusal.message) from refusal
        self.stdout.write(json.dumps(_shown(certificate), indent=2))


def _table(counts: dict[str, int]) -> Table:
    table = Table("table", "rows to delete")
    for name, number in counts.items():
        table.add_row(name, f"{number:,}")
    return table


def _shown(certificate: DeletionCertificate) -> dict[str, Any]:
    return {
        "certificate": str(certificate.id),
        "organization": str(certificate.subject_id),
        "name_hash": certificate.name_hash.hex(),
        "name_key_id": certificate.name_key_id,
        "rows_deleted": certificate.counts,
        "audit_entries_kept": certificate.trail_entries,
        "seal": f"{certificate.seal_seq} {bytes(certificate.seal_hash).hex()}",
        "seal_root": bytes(certificate.seal_root).hex(),
        "keys": certificate.key_ids,
        "keys_that_nothing_uses_any_more": certificate.unused_key_ids,
        "reason": certificate.reason,
        "operator": certificate.operator,
        "begun_at": certificate.begun_at.isoformat(),
    }
