"""The Django application `usage`."""

from django.apps import AppConfig


class UsageConfig(AppConfig):
    """Registers the application under an explicit label."""

    name = "backend.usage"
    label = "usage"
