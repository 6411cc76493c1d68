"""The one file that touches what graphql-core and Strawberry keep to themselves; a test pins what it relies on."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from enum import Enum
from operator import attrgetter
from typing import Any, cast

from django.conf import settings
from django.db.models import Model
from graphql import (
    GRAPHQL_MAX_INT,
    GRAPHQL_MIN_INT,
    DocumentNode,
    ExecutionResult,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLAbstractType,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLError,
    GraphQLField,
    GraphQLID,
    GraphQLInt,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    GraphQLString,
    OperationDefinitionNode,
    Undefined,
    create_source_event_stream,
    default_field_resolver,
    default_type_resolver,
    execute,
    execute_subscription_event,
    get_argument_values,
    get_nullable_type,
    get_variable_values,
)
from graphql.execution.collect_fields import FieldDetails, FragmentDetails
from graphql.execution.executor import Executor, invalid_return_type_error
from graphql.execution.get_variable_signature import GraphQLVariableSignature, get_variable_signature
from graphql.execution.values import VariableValues, VariableValueSource
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.types.arguments import convert_arguments
from strawberry.types.cast import TYPE_CAST_ATTRIBUTE
from strawberry.types.field import StrawberryField

from backend.db.sql import Columns
from schema.build import build_schema, core_schema
from schema.context import Context
from schema.declarations import columns_read
from schema.declared_field import DeclaredField
from schema.relay.pages import ListSource

__all__ = ["Executor"]
_USUAL: Mapping[Any, type] = {GraphQLID: str, GraphQLString: str, GraphQLInt: int, GraphQLBoolean: bool}


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
    definitions = operation.variable_definitions or ()
    hides = not settings.ENVIRONMENT.shows_suggestions
    found = get_variable_values(schema, definitions, dict(raw or {}), max_errors=50, hide_suggestions=hides)
    if isinstance(found, list):
        raise RefusedVariables(found)
    return found


class Coercion:
    """Coerces the variables of one operation, as graphql-core does; it is asked only for what is not as usual.

    Usual are strings, 32-bit integers and booleans for variables of GraphQL's own types that have no default.
    """

    def __init__(self, schema: GraphQLSchema, operation: OperationDefinitionNode) -> None:
        self._schema, self._operation = schema, operation
        self._usual: list[tuple[GraphQLVariableSignature, type, bool]] | None = []
        for node in operation.variable_definitions or ():
            signature = get_variable_signature(schema, node)
            if isinstance(signature, GraphQLError):
                raise signature
            usual = _USUAL.get(get_nullable_type(signature.type))
            if usual is None or node.default_value:
                self._usual = None
                break
            self._usual.append((signature, usual, isinstance(signature.type, GraphQLNonNull)))

    def values(self, raw: Mapping[str, Any] | None) -> VariableValues:
        """The values of the operation's variables.

        Raises:
            RefusedVariables: they do not fit; with the errors that graphql-core reports.
        """
        if self._usual is None:
            return coerce_variables(self._schema, self._operation, raw)
        sources: dict[str, VariableValueSource] = {}
        found: dict[str, Any] = {}
        for signature, usual, required in self._usual:
            value = (raw or {}).get(signature.name, Undefined)
            sources[signature.name] = VariableValueSource(signature, value)
            if value is Undefined and not required:
                continue
            if not (type(value) is usual or (value is None and not required)):
                return coerce_variables(self._schema, self._operation, raw)
            if type(value) is int and not GRAPHQL_MIN_INT <= value <= GRAPHQL_MAX_INT:
                return coerce_variables(self._schema, self._operation, raw)
            found[signature.name] = value
        return VariableValues(sources, found)


def coerced(variables: VariableValues) -> Mapping[str, Any]:
    """The values by name."""
    return variables.coerced


def argument_values(field: GraphQLField, node: FieldNode, variables: VariableValues) -> dict[str, Any]:
    """The arguments of a field as graphql-core hands them to a resolver.

    Raises:
        GraphQLError: an argument is missing or does not fit.
    """
    hides = not settings.ENVIRONMENT.shows_suggestions
    return get_argument_values(field, node, variables, hide_suggestions=hides)


def python_arguments(field: GraphQLField, values: dict[str, Any]) -> dict[str, Any]:
    """The arguments as Strawberry hands them to a resolver: Python names, input objects, enum members."""
    converter = build_schema().schema_converter
    definition = field.extensions["strawberry-definition"]
    return convert_arguments(values, definition.arguments, converter.scalar_registry, converter.config)


def declared(field: GraphQLField) -> DeclaredField | None:
    """The declaration behind a field of the schema; None where anything else has a say in its value."""
    found = field.extensions.get("strawberry-definition")
    if not isinstance(found, DeclaredField) or found.permission_classes or found.extensions:
        return None
    return found


def reader(field: GraphQLField) -> Callable[[Any], Any] | None:
    """What reads a field's value off the object, if that is all that its resolver does."""
    definition = field.extensions.get("strawberry-definition")
    if getattr(field.resolve, "__name__", "") != "_get_basic_result" or not isinstance(definition, StrawberryField):
        return None
    if isinstance(definition, DeclaredField):
        return definition.read
    if type(definition).get_result is StrawberryField.get_result and definition.default_resolver is getattr:
        return attrgetter(definition.python_name)
    return None


def columns_of(field: GraphQLField) -> Columns | None:
    """The columns of its row that a field reads, beside the id; None: that is not known, as of a resolver."""
    definition = field.extensions.get("strawberry-definition")
    if isinstance(definition, DeclaredField):
        return columns_read(definition.declaration) if declared(field) else None
    if isinstance(definition, StrawberryField) and reader(field) is not None:
        return (definition.python_name,)
    return None


def paged_model(field: GraphQLField) -> type[Model] | None:
    """The model that a field reads a page of, whatever is selected of that; None: it reads no page."""
    found = declared(field)
    source = getattr(found.declaration, "source", None) if found else None
    return source.model if isinstance(source, ListSource) else None


def row_model(kind: GraphQLObjectType) -> type[Model] | None:
    """The model whose rows are the objects of a type; None: they are plain objects."""
    definition = kind.extensions.get("strawberry-definition")
    django = getattr(getattr(definition, "origin", None), "__strawberry_django_definition__", None)
    return django.model if django else None


def surely(kind: GraphQLObjectType) -> Callable[[Any], bool] | None:
    """What knows of most objects of a type, at less cost than `is_type_of`, that they are; None: nothing does.

    Strawberry's own `is_type_of` is true of any instance of the model that was not cast to another type.
    """
    owner = getattr(kind.is_type_of, "__self__", None)
    if getattr(kind.is_type_of, "__module__", "") != "strawberry_django.type" or not isinstance(owner, type):
        return None
    if any("is_type_of" in parent.__dict__ for parent in owner.__mro__[1:]):
        return None
    row = cast("Any", owner).__strawberry_django_definition__.model
    return lambda found: found.__class__ is row and TYPE_CAST_ATTRIBUTE not in found.__dict__


def runtime_type(
    executor: Executor[Any], name: Any, kind: GraphQLAbstractType, info: "GraphQLResolveInfo[Any]", value: Any
) -> GraphQLObjectType:
    """The object type that a value of an abstract type was said to have.

    Raises:
        GraphQLError: it cannot have that type.
    """
    return executor.ensure_valid_runtime_type(name, kind, _details(info.field_nodes), info, value)


def wrong_type(kind: GraphQLObjectType, value: Any, nodes: list[FieldNode]) -> GraphQLError:
    """What graphql-core says of a value that is not of the type that its field has."""
    return invalid_return_type_error(kind, value, _details(nodes))


def _details(nodes: list[FieldNode]) -> list[FieldDetails]:
    return [FieldDetails(node, None) for node in nodes]


def enum_names(kind: GraphQLEnumType) -> dict[Any, str]:
    """The names that an enum type gives its members, and the texts or numbers behind them; not complete."""
    members = [value.value for value in kind.values.values() if isinstance(value.value, (str, int, Enum))]
    members += getattr(kind, "wrapped_cls", ())
    found = {}
    for member in members:
        try:
            found[member] = kind.coerce_output_value(member)
        except (GraphQLError, ValueError):
            continue
    return found


def executor(
    schema: GraphQLSchema,
    operation: OperationDefinitionNode,
    fragments: dict[str, FragmentDefinitionNode],
    variables: VariableValues,
    context: Any,
) -> Executor[Any]:
    """graphql-core's executor of an operation, which makes the `info` of resolvers and checks abstract types."""
    return StrawberryGraphQLCoreExecutionContext(
        schema,
        fragments,
        {name: FragmentDetails(node) for name, node in fragments.items()},
        None,
        context,
        operation,
        variables,
        default_field_resolver,
        default_type_resolver,
        default_field_resolver,
        operation_extensions=None,
        hide_suggestions=not settings.ENVIRONMENT.shows_suggestions,
    )


async def source_events(executor: Executor[Any]) -> AsyncGenerator[Any, None]:
    """What a subscription's field gives, one after the other; to be closed.

    Raises:
        GraphQLError: its arguments do not fit, or the field failed before its first event.
    """
    found = create_source_event_stream(executor)
    if isinstance(found, Awaitable):
        found = await found
    if isinstance(found, ExecutionResult):
        raise (found.errors or [])[0]
    return cast("AsyncGenerator[Any, None]", found)


async def event_result(executor: Executor[Any], event: Any) -> ExecutionResult:
    """What graphql-core answers to one event of a subscription."""
    found = execute_subscription_event(executor.build_per_event_executor(event))
    return found if isinstance(found, ExecutionResult) else await found


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
        hide_suggestions=not settings.ENVIRONMENT.shows_suggestions,
    )
    return cast("ExecutionResult", found if isinstance(found, ExecutionResult) else await cast("Any", found))
