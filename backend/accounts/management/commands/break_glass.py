"""`manage.py break_glass --organization NAME --user EMAIL --reason TEXT --hours N [--role ROLE]`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from backend.accounts.break_glass import glass_break
from backend.accounts.selectors import organization_named, user_named
from backend.core.actor import Role
from backend.core.errors import AppError


class Command(BaseCommand):
    """Gives somebody who is no member emergency access to an organization."""

    help = "Give somebody who is no member access to an organization for some hours; the audit trail says so."

    def add_arguments(self, parser: CommandParser) -> None:
        """Organization, person, reason, hours and role."""
        parser.add_argument("--organization", required=True, metavar="NAME")
        parser.add_argument("--user", required=True, metavar="EMAIL")
        parser.add_argument("--reason", required=True, help="why; kept, and shown to the organization's auditors")
        parser.add_argument("--hours", required=True, type=int, help="until it ends (DRIFTGRAPH_BREAK_GLASS_HOURS)")
        roles = [role.value for role in Role if role is not Role.SERVICE]
        parser.add_argument("--role", choices=roles, default=Role.ADMIN.value)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Prints when it ends.

        Raises: CommandError.
        """
        try:
            access = glass_break(
                organization=organization_named(options["organization"]),
                user=user_named(options["user"]),
                role=Role(options["role"]),
                reason=options["reason"],
                hours=options["hours"],
            )
        except AppError as refusal:
            raise CommandError(refusal.message) from refusal
        self.stdout.write(f"{access.role} until {access.expires_at:%Y-%m-%d %H:%M} UTC")
