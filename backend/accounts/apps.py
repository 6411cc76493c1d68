"""The Django application `accounts`."""

from importlib import import_module

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Registers the application under an explicit label."""

    name = "backend.accounts"
    label = "accounts"

    def ready(self) -> None:
        """Connects the receivers, which need the models and so cannot be imported before."""
        import_module("backend.accounts.receivers")
