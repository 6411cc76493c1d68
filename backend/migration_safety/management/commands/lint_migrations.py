"""`manage.py lint_migrations`: what can be told of migrations by reading them."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections
from django.db.migrations.loader import MigrationLoader

from backend.migration_safety import selection
from backend.migration_safety.lint.lint import lint
from backend.migration_safety.lint.presentation import FORMS
from backend.migration_safety.lint.squawk import NoSquawk
from backend.migration_safety.scratch import options as project


class Command(BaseCommand):
    """Exit code 0: nothing that has no reason; 1: something; 2: squawk is not installed, or no such migration."""

    help = (
        "Reads migrations: their SQL with squawk, their operations with rules of its own. Without arguments: those that"
        " the database lacks."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Which migrations, and the form of the answer."""
        selection.add_arguments(parser)
        parser.add_argument("--format", choices=sorted(FORMS), default="text")
        parser.add_argument("--output", type=Path, help="a file for the answer, instead of standard output")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Lints.

        Raises:
            CommandError: squawk is not installed, or no such migration.
        """
        chosen = selection.choose(options["migrations"], options["since"])
        connection = connections[project()["OWNER"]]
        loader = MigrationLoader(connection, replace_migrations=False)
        findings = []
        try:
            for key in sorted(chosen):
                migration = loader.get_migration(*key)
                findings += lint(migration, loader.project_state(key, at_end=False), connection)
        except NoSquawk as error:
            raise CommandError(str(error), returncode=2) from None
        answer = FORMS[options["format"]](findings, len(chosen))
        if options["output"]:
            options["output"].write_text(answer + "\n")
        else:
            self.stdout.write(answer)
        if any(not finding.reason for finding in findings):
            sys.exit(1)
