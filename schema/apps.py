"""The Django application of the API, for its management commands."""

from django.apps import AppConfig


class SchemaConfig(AppConfig):
    """Registers the application under a label that nothing else can own."""

    name = "schema"
    label = "graphql_schema"
