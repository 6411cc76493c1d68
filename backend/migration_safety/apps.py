"""Registers the commands with Django."""

from django.apps import AppConfig


class MigrationSafetyConfig(AppConfig):
    """Commands alone; no models."""

    name = "backend.migration_safety"
    label = "migration_safety"
