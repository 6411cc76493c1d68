"""`manage.py migrate`, as the role that owns the tables."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.core.management.commands.migrate import Command as Migrate


class Command(Migrate):
    """Django's command with the owner's connection as its default."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Django's arguments; `--database` defaults to `owner`."""
        super().add_arguments(parser)
        parser.set_defaults(database="owner")

    def execute(self, *args: Any, **options: Any) -> Any:
        """Migrates; refuses before Django's own checks, which open every configured connection.

        Raises:
            CommandError: no owner connection is configured.
        """
        if options["database"] == "owner" and "owner" not in settings.DATABASES:
            raise CommandError("Set DRIFTGRAPH_OWNER_DATABASE_URL: migrations run as the role that owns the tables.")
        return super().execute(*args, **options)
