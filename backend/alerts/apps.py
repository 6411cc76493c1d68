"""The Django application `alerts`."""

from django.apps import AppConfig


class AlertsConfig(AppConfig):
    """Registers the application under an explicit label."""

    name = "backend.alerts"
    label = "alerts"
