"""`manage.py lint_migrations`: what can be told of migrations by reading them."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader

from backend.migration_safety import selection
from backend.migration_safety.lint.lint import lint
from backend.migration_safety.lint.presentation import as_json, as_text
from backend.migration_safety.lint.squawk import PACKAGE, NoSquawk
from backend.migration_safety.outcome import could_not_be_done
from backend.migration_safety.sarif import Finding, Run, deliver
from backend.migration_safety.scratch import owner_connection


class Command(BaseCommand):
    """Exit code 0: nothing that has no reason; 1: something; 2: it could not be done."""

    help = (
        "Reads migrations: their SQL with squawk, their operations with rules of its own. Without arguments: those that"
        " the database lacks."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Which migrations, the form of the answer, and where it goes."""
        selection.add_arguments(parser)
        parser.add_argument("--format", choices=("json", "sarif", "text"), default="text")
        parser.add_argument("--output", type=Path, help="a file for the answer, instead of standard output")
        parser.add_argument(
            "--report",
            action="store_true",
            help="keep the findings as an agent run; without a database only the operations are read then, and the run"
            " is inconclusive",
        )

    @could_not_be_done()
    def handle(self, *_args: Any, **options: Any) -> None:
        """Lints.

        Raises:
            CommandError: squawk is not installed, no such migration, or no database and no report that could say so.
        """
        run = Run("lint_migrations", tools=[PACKAGE])
        chosen = selection.choose(options["migrations"], options["since"], say=self.stderr.write)
        database = self._database(may_be_missing=options["report"])
        findings = self._findings(chosen, database)
        run.skipped = [PACKAGE] if database is None else []
        run.metrics = {"migrations": (len(chosen), "")}
        if options["format"] == "sarif":
            answer = run.document(findings)
        else:
            answer = (as_json if options["format"] == "json" else as_text)(findings, len(chosen))
        if options["output"]:
            options["output"].write_text(answer + "\n")
        else:
            self.stdout.write(answer)
        if options["report"]:
            self.stderr.write(deliver(run.document(findings)))
        if any(not finding.reason for finding in findings):
            sys.exit(1)

    def _database(self, *, may_be_missing: bool) -> BaseDatabaseWrapper | None:
        try:
            connection = owner_connection()
            connection.ensure_connection()
        except (OperationalError, CommandError):
            if not may_be_missing:
                raise
            self.stderr.write("There is no database to make the SQL of migrations with: only operations are read.")
            return None
        return connection

    def _findings(self, chosen: Iterable[selection.Key], database: BaseDatabaseWrapper | None) -> list[Finding]:
        loader = MigrationLoader(None, replace_migrations=False)
        findings: list[Finding] = []
        try:
            for key in sorted(chosen):
                findings += lint(loader.get_migration(*key), loader.project_state(key, at_end=False), database)
        except NoSquawk as error:
            raise CommandError(str(error), returncode=2) from None
        return findings
