"""The Django application `drift`."""

from django.apps import AppConfig


class DriftConfig(AppConfig):
    """Registers the application under an explicit label."""

    name = "backend.drift"
    label = "drift"
