"""The Django application `alerts`."""

from importlib import import_module

from django.apps import AppConfig


class AlertsConfig(AppConfig):
    """Registers the application under an explicit label."""

    name = "backend.alerts"
    label = "alerts"

    def ready(self) -> None:
        """Connects the receivers, which need the models and so cannot be imported before."""
        import_module("backend.alerts.receivers")
