"""The Django application `audit`."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """Registers the application under an explicit label."""

    name = "backend.audit"
    label = "audit"
