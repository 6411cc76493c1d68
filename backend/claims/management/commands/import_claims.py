"""`manage.py import_claims`: imports files for one organization, with a progress bar and a summary."""

from argparse import ArgumentTypeError
from pathlib import Path
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console, Group
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from backend.accounts.models import Organization
from backend.claims.loading import TOO_MANY_ERRORS, TRUNCATED
from backend.claims.models import BatchKind, BatchStatus, ImportBatch
from backend.claims.selectors import quality_reports_all
from backend.claims.services import ImportOptions, ImportOutcome, import_file
from backend.core.actor import Actor
from backend.core.errors import AppError
from backend.core.tenancy import acting_for
from backend.ingestion.records import DateFormat

_REFUSED = {TOO_MANY_ERRORS: "too many rows have errors", TRUNCATED: "the file is cut off"}
_COUNTS = {
    "accepted": "new",
    "updated": "updated",
    "duplicate": "known",
    "rejected": "refused",
    "warned": "with warnings",
}


def _mapping(text: str) -> tuple[str, str]:
    field, separator, header = text.partition("=")
    if not separator or not field or not header:
        raise ArgumentTypeError("write it as field=header")
    return field, header


class Command(BaseCommand):
    """Imports claim outcomes (CSV or X12 835) or outcome counts."""

    help = "Import files of claim outcomes (CSV, X12 835) or outcome counts for an organization."

    def add_arguments(self, parser: CommandParser) -> None:
        """Files, the organization, and what is said about the files."""
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
        parser.add_argument("--organization", required=True, metavar="NAME")
        parser.add_argument("--dry-run", action="store_true", help="do all the work, then roll it back")
        parser.add_argument("--kind", choices=["auto", *BatchKind.values], default="auto")
        parser.add_argument("--date-format", choices=[member.value for member in DateFormat], default="ISO")
        parser.add_argument("--measure", help="what outcome counts count, where no column says it")
        parser.add_argument(
            "--column", action="append", type=_mapping, default=[], metavar="FIELD=HEADER", help="for outcome counts"
        )
        parser.add_argument(
            "--skip", action="append", type=_mapping, default=[], metavar="HEADER=TEXT", help="leave such counts out"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Imports one file after the other.

        Raises:
            CommandError: the organization is unknown, or a file could not be loaded; files before it stay loaded.
        """
        organization = Organization.objects.filter(name=options["organization"]).first()
        if organization is None:
            raise CommandError(
                "There is no organization of this name. Make it with: manage.py organization_create NAME"
            )
        actor = Actor.system(organization.id, "import")
        kind = None if options["kind"] == "auto" else BatchKind(options["kind"])
        wanted = ImportOptions(
            kind=kind,
            date_format=DateFormat(options["date_format"]),
            columns=dict(options["column"]),
            measure=options["measure"],
            skip=dict(options["skip"]),
        )
        console = Console(file=cast("IO[str]", self.stdout), no_color=options["no_color"])
        summaries: list[Group] = []
        failure = None
        for path in options["files"]:
            try:
                outcome = _import(Console(stderr=True), actor, path, wanted, dry_run=options["dry_run"])
            except AppError as error:
                failure = f"{path.name}: {error.message} ({getattr(error, 'rule', error.code)})"
                break
            score = _score(actor, outcome.batch)
            summaries.append(_summary(path, outcome, score, dry_run=options["dry_run"]))
            if outcome.batch.status == BatchStatus.REJECTED:
                code = outcome.batch.error_code
                failure = f"{path.name}: {_REFUSED[code]}; nothing was loaded ({code})"
                break
        if summaries:
            console.print(f"Imported files: {len(summaries)}\n", *summaries, sep="\n")
        if failure:
            raise CommandError(failure)


def _import(console: Console, actor: Actor, path: Path, options: ImportOptions, *, dry_run: bool) -> ImportOutcome:
    name = TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1))
    columns = (name, BarColumn(20), DownloadColumn(), TimeRemainingColumn())
    # Beside the output, as the bar is for whoever looks on: nothing of it goes into a pipe or a log.
    with Progress(*columns, console=console, transient=True, expand=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(escape(path.name), total=None)
        return import_file(
            actor=actor,
            path=path,
            options=options,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            dry_run=dry_run,
        )


def _summary(path: Path, outcome: ImportOutcome, score: float | None, *, dry_run: bool) -> Group:
    """A file's name with what became of it below, readable in any width."""
    batch = outcome.batch
    remark = ", dry run" if dry_run else "" if outcome.created else ", loaded before"
    counts = ", ".join(f"{getattr(batch, f'rows_{name}'):,} {word}" for name, word in _COUNTS.items())
    lines = Table.grid(padding=(0, 2))
    lines.add_row("  status", f"{batch.status} ({batch.kind}{remark})")
    lines.add_row("  rows", f"{batch.rows_total:,}: {counts if outcome.created else f'none new; then {counts}'}")
    if score is not None:
        lines.add_row("  score", f"{score:.3f}")
    return Group(Text(path.name, style="bold", overflow="fold"), lines)


def _score(actor: Actor, batch: ImportBatch) -> float | None:
    with acting_for(actor.organization_id):
        return quality_reports_all().filter(batch_id=batch.id).values_list("score", flat=True).first()
