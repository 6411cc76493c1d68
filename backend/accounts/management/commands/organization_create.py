"""`manage.py organization_create NAME [--owner EMAIL]`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from backend.accounts.services import organization_create
from backend.core.errors import AppError


class Command(BaseCommand):
    """Makes an organization and its first owner."""

    help = "Make an organization; --owner makes the first owner (password: manage.py changepassword)."

    def add_arguments(self, parser: CommandParser) -> None:
        """Name, owner and time zone."""
        parser.add_argument("name")
        parser.add_argument("--owner", metavar="EMAIL", default=None)
        parser.add_argument("--timezone", default="UTC")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Prints the organization's id.

        Raises: CommandError.
        """
        try:
            organization = organization_create(
                name=options["name"], owner_email=options["owner"], timezone_name=options["timezone"]
            )
        except AppError as refusal:
            raise CommandError(refusal.message) from refusal
        self.stdout.write(str(organization.id))
