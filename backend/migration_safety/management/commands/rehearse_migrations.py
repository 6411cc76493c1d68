"""`manage.py rehearse_migrations`: what migrations do to the code that runs beside them, by running them."""

import json
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from backend.migration_safety import selection
from backend.migration_safety.locking import LOCK_TIMEOUT_MS
from backend.migration_safety.outcome import could_not_be_done
from backend.migration_safety.rehearsal.engine import LEAST_ROWS, ROWS
from backend.migration_safety.rehearsal.presentation import located, metrics, table
from backend.migration_safety.rehearsal.run import rehearse
from backend.migration_safety.rehearsal.verdict import RULES, Report
from backend.migration_safety.sarif import Run, deliver


class Command(BaseCommand):
    """Exit code 0: all pass; 1: one does not; 2: it could not be done."""

    help = (
        "Runs migrations forward, backward and forward on a throw-away database with synthetic rows, under the"
        " statements of the code before them. Without arguments: those that the database lacks."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Which migrations, how many rows, how they are deployed, and the form of the answer."""
        selection.add_arguments(parser)
        parser.add_argument("--rows", type=int, default=ROWS, help=f"synthetic rows per table (default {ROWS})")
        parser.add_argument(
            "--plain",
            action="store_true",
            help="as Django's migrate applies them, without migrate_safely's lock_timeout",
        )
        parser.add_argument("--format", choices=("json", "sarif", "table"), default="table")
        parser.add_argument("--output", type=Path, help="a file for the answer, instead of standard output")
        parser.add_argument("--report", action="store_true", help="keep what was found as an agent run")

    @could_not_be_done()
    def handle(self, *_args: Any, **options: Any) -> None:
        """Rehearses.

        Raises:
            CommandError: no such migration, too few rows to tell a scan from a look at the catalog, or no
                database can be made.
        """
        if options["rows"] < LEAST_ROWS:
            raise CommandError(f"--rows must be at least {LEAST_ROWS}.", returncode=2)
        run = Run("rehearse_migrations", rules=RULES)
        chosen = selection.choose(options["migrations"], options["since"], say=self.stderr.write)
        reports = self._rehearse(chosen, options) if chosen else []
        run.metrics = metrics(reports)
        if options["format"] == "json":
            answer = json.dumps({"reports": [report.as_json() for report in reports]}, indent=2)
        elif options["format"] == "sarif":
            answer = run.document(located(reports))
        elif reports:
            answer = table(reports, colour=options["output"] is None and self.stdout.isatty())
        else:
            answer = "No migration to rehearse."
        if options["output"]:
            options["output"].write_text(answer + "\n")
        else:
            self.stdout.write(answer)
        if options["report"]:
            self.stderr.write(deliver(run.document(located(reports))))
        if not all(report.passed for report in reports):
            sys.exit(1)

    def _rehearse(self, chosen: frozenset[selection.Key], options: dict[str, Any]) -> list[Report]:
        return rehearse(
            chosen,
            rows=options["rows"],
            limit=None if options["plain"] else LOCK_TIMEOUT_MS,
            on_progress=self._progress if options["verbosity"] else lambda _text: None,
        )

    def _progress(self, text: str) -> None:
        self.stderr.write(self.style.NOTICE(text))
