"""What is wrong with a document by the rules of GraphQL, as far as it may be told what the schema holds."""

from typing import Any, cast

from django.conf import settings
from graphql import (
    ASTValidationRule,
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    ValidationContext,
    ValidationRule,
    specified_rules,
    validate,
)

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
    applied: list[ASTValidationRule] = []

    def noted(rule: type[ASTValidationRule]) -> type[ASTValidationRule]:
        def apply(context: ValidationContext) -> ASTValidationRule:
            applied.append(rule(context))
            return applied[-1]

        return cast("type[ASTValidationRule]", apply)

    try:
        return validate(
            schema,
            document,
            [noted(rule) for rule in rules],
            max_errors=at_most,
            hide_suggestions=not settings.ENVIRONMENT.shows_suggestions,
        )
    finally:
        # A visitor refers to itself, so all that a rule has noted, thousands of objects, would wait for the collector
        # of garbage, which holds up everybody.
        for rule in applied:
            vars(rule).clear()
