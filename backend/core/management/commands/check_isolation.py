"""`manage.py check_isolation`: whether the catalog of the database keeps organizations apart."""

from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, connections

from backend.core.isolation import check


class Command(BaseCommand):
    """Exits 1 with the name of everything that lets one organization reach another's rows."""

    help = (
        "Looks, in the catalog alone, for what lets one organization reach another's rows: policies, references, views,"
        " powers of the server's role. Reads only; safe on a production database."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The one option."""
        parser.add_argument("--role", default="", help="the server's role; the one that connects if not given")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Prints what was looked at.

        Raises: CommandError with what is wrong.
        """
        with connections[DEFAULT_DB_ALIAS].cursor() as cursor:

            def rows(statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
                cursor.execute(statement, values or None)
                found: list[tuple[Any, ...]] = cursor.fetchall()
                return found

            role = options["role"] or rows("SELECT current_user::text", [])[0][0]
            isolation = check(rows, role)
        if isolation.violations:
            lines = "\n".join(f"{name}: {problem}" for name, problem in isolation.violations)
            raise CommandError(f"Organizations are not kept apart:\n{lines}")
        self.stdout.write(
            f"{isolation.tables} tables of organizations and {isolation.references} references between them keep"
            f" organizations apart; {role} cannot bypass it."
        )
