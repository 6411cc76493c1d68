"""`manage.py token_create --organization NAME --name N --role ROLE [--scope SCOPE ...] [--days 90]`."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from backend.accounts.selectors import organization_named
from backend.accounts.services import MAX_TOKEN_DAYS, token_create
from backend.core.actor import SERVICE_SCOPES, Right, Role
from backend.core.errors import AppError
from backend.core.operators import operator_actor


class Command(BaseCommand):
    """Makes an API token and prints its secret, which cannot be shown again."""

    help = "Make an API token; the only line on standard output is its secret, which cannot be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        """Organization, name, role, scopes and days."""
        parser.add_argument("--organization", required=True, metavar="NAME")
        parser.add_argument("--name", required=True)
        parser.add_argument("--role", choices=[role.value for role in Role], default=Role.SERVICE.value)
        parser.add_argument(
            "--scope",
            action="append",
            default=[],
            choices=[right.value for right in Right],
            help="may be repeated; a SERVICE token needs at least one of "
            f"{', '.join(sorted(SERVICE_SCOPES))}; other roles have all their rights without",
        )
        parser.add_argument("--days", type=int, default=90, help=f"until it expires, up to {MAX_TOKEN_DAYS}")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Prints the secret.

        Raises: CommandError.
        """
        if not 1 <= options["days"] <= MAX_TOKEN_DAYS:
            raise CommandError(
                f"--days must be from 1 to {MAX_TOKEN_DAYS}: a token expires within {MAX_TOKEN_DAYS} days."
            )
        try:
            organization = organization_named(options["organization"])
            token, secret = token_create(
                actor=operator_actor(organization.id, "token_create"),
                name=options["name"],
                role=Role(options["role"]),
                scopes=options["scope"],
                # A minute less, so that the longest term is still within the limit when it is checked.
                expires_at=timezone.now() + timedelta(days=options["days"], minutes=-1),
            )
        except AppError as refusal:
            raise CommandError(refusal.message) from refusal
        self.stderr.write(f"expires {token.expires_at:%Y-%m-%d}; scopes: {', '.join(token.scopes)}")
        self.stdout.write(secret)
