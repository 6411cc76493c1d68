"""The Django application `payers`."""

from django.apps import AppConfig


class PayersConfig(AppConfig):
    """Registers the application under an explicit label."""

    name = "backend.payers"
    label = "payers"
