"""The Django application `accounts`."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Registers the application under an explicit label."""

    name = "backend.accounts"
    label = "accounts"
