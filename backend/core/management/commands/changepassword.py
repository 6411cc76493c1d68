"""Django's `changepassword`, for an address in whatever case it is typed, as where people sign in."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.management.commands import changepassword


class Command(changepassword.Command):
    """Finds the person as the log-in does."""

    def handle(self, *args: Any, **options: Any) -> Any:
        """What Django's command does, with the address as it is kept."""
        username = options["username"] and get_user_model().normalize_username(options["username"])
        return super().handle(*args, **{**options, "username": username})
