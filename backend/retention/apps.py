"""The Django application `retention`."""

from django.apps import AppConfig


class RetentionConfig(AppConfig):
    """Registers the application under an explicit label."""

    name = "backend.retention"
    label = "retention"
