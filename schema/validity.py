"""What is wrong with a document by the rules of GraphQL, as far as it may be told what the schema holds."""

from typing import Any

from django.conf import settings
from graphql import DocumentNode, FieldNode, GraphQLError, GraphQLSchema, ValidationRule, specified_rules, validate

_INTROSPECTION = ("__schema", "__type")


class _NoIntrospection(ValidationRule):
    """Refuses the fields that tell the schema."""

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        if node.name.value in _INTROSPECTION:
            message = f"Nothing tells the schema here ({node.name.value}): DRIFTGRAPH_INTROSPECTION is off."
            self.report_error(GraphQLError(message, node))


def problems(schema: GraphQLSchema, document: DocumentNode, *, at_most: int) -> list[GraphQLError]:
    """What is wrong with a document; nothing if it can be executed."""
    rules = specified_rules if settings.ENVIRONMENT.shows_schema else (*specified_rules, _NoIntrospection)
    return validate(
        schema, document, rules, max_errors=at_most, hide_suggestions=not settings.ENVIRONMENT.shows_suggestions
    )
