"""The one file that touches what graphql-core and Strawberry keep to themselves; a test pins what it relies on."""

from collections.abc import Mapping
from typing import Any, cast

from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    GraphQLError,
    GraphQLField,
    GraphQLSchema,
    OperationDefinitionNode,
    execute,
    get_argument_values,
    get_variable_values,
)
from graphql.execution.values import VariableValues
from strawberry.types.arguments import convert_arguments

from schema.build import build_schema, core_schema
from schema.context import Context


class RefusedVariables(Exception):
    """The variables of a request do not fit the operation."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__("variables were refused")
        self.errors = errors


def coerce_variables(
    schema: GraphQLSchema, operation: OperationDefinitionNode, raw: Mapping[str, Any] | None
) -> VariableValues:
    """The values of an operation's variables.

    Raises:
        RefusedVariables: they do not fit; with the errors that graphql-core reports.
    """
    found = get_variable_values(schema, operation.variable_definitions or (), dict(raw or {}), max_errors=50)
    if isinstance(found, list):
        raise RefusedVariables(found)
    return found


def coerced(variables: VariableValues) -> Mapping[str, Any]:
    """The values by name."""
    return variables.coerced


def argument_values(field: GraphQLField, node: FieldNode, variables: VariableValues) -> dict[str, Any]:
    """The arguments of a field as graphql-core hands them to a resolver.

    Raises:
        GraphQLError: an argument is missing or does not fit.
    """
    return get_argument_values(field, node, variables)


def python_arguments(field: GraphQLField, values: dict[str, Any]) -> dict[str, Any]:
    """The arguments as Strawberry hands them to a resolver: Python names, input objects, enum members."""
    converter = build_schema().schema_converter
    definition = field.extensions["strawberry-definition"]
    return convert_arguments(values, definition.arguments, converter.scalar_registry, converter.config)


async def reference(
    document: DocumentNode, operation_name: str | None, raw: Mapping[str, Any] | None, context: Context
) -> ExecutionResult:
    """The answer of graphql-core itself to a valid document."""
    schema = build_schema()
    found = execute(
        core_schema(),
        document,
        None,
        context,
        dict(raw or {}),
        operation_name,
        executor_class=schema.execution_context_class,
        operation_extensions=None,
    )
    return cast("ExecutionResult", found if isinstance(found, ExecutionResult) else await cast("Any", found))
