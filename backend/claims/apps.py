"""The Django application `claims`."""

from django.apps import AppConfig


class ClaimsConfig(AppConfig):
    """Registers the application under an explicit label."""

    name = "backend.claims"
    label = "claims"
