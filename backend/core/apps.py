"""The Django application `core`."""

from django.apps import AppConfig


class CoreConfig(AppConfig):
    """Registers the application under an explicit label."""

    name = "backend.core"
    label = "core"
