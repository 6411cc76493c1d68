"""The Django application `agents`."""

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    """Registers the application under an explicit label."""

    name = "backend.agents"
    label = "agents"
