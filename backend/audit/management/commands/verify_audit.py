"""`manage.py verify_audit`: whether the audit trail is what was sealed."""

import re
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from backend.audit.verification import Report, verify

_PUBLISHED = re.compile(r"audit seal (\d+) ([0-9a-f]{64})", re.ASCII)


class Command(BaseCommand):
    """Exit code 0: as sealed. 1: damaged, and where first. 2: it could not be done."""

    help = (
        "Verifies the audit trail against its seals and names the first damaged place. That its newest seals were taken"
        " away shows only against seals that were kept elsewhere: give the server's log as --published."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """`--published`."""
        parser.add_argument(
            "--published", type=Path, metavar="FILE", help="a log, or any text with lines as `audit seal 17 <hash>`"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Verifies.

        Raises:
            CommandError: damaged (1), or not to be verified (2).
        """
        published = _published(options["published"])
        columns = (TextColumn("entries"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        try:
            connection.ensure_connection()
            with Progress(*columns, console=Console(stderr=True)) as bar:
                task = bar.add_task("entries", total=None)
                report = verify(
                    connection.connection, published, lambda done, total: bar.update(task, completed=done, total=total)
                )
        except DatabaseError as error:
            raise CommandError(f"The audit trail cannot be read: {type(error).__name__}.", returncode=2) from None
        self._tell(report)

    def _tell(self, report: Report) -> None:
        if report.damages:
            first, *others = report.damages
            more = f"\nand {len(others)} more" if others else ""
            raise CommandError(f"damaged: {first.what}{more}", returncode=1)
        latest = f"; latest: audit seal {report.latest}" if report.latest else ""
        counts = f"{report.entries:,} entries under {report.seals:,} seals; {report.unsealed:,} not yet sealed"
        if report.removed:
            counts += f"; {report.removed:,} removed past their time, with certificates"
        self.stdout.write(f"as sealed: {counts}{latest}")


def _published(path: Path | None) -> set[tuple[int, str]]:
    """Every number and hash: where the chain grew back after a cut, a log tells two hashes of one number."""
    if path is None:
        return set()
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise CommandError(f"--published: {error.strerror}.", returncode=2) from None
    if not (found := {(int(seq), digest) for seq, digest in _PUBLISHED.findall(text)}):
        raise CommandError("--published: the file names no seal.", returncode=2)
    return found
