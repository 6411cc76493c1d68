"""How many conditions a filter has, by which its price goes: known before execution, of values that need not be good.

They are those that DRIFTGRAPH_MAX_FILTER_CONDITIONS limits. A list of scalars is one, whatever its length; one of
filters has those of each. A part that says nothing is one, for it is looked at, too; a whole filter
that says nothing has none.
"""

from collections.abc import Collection, Mapping
from typing import Any

from graphql import (
    GraphQLInputObjectType,
    GraphQLSchema,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    ValueNode,
    VariableNode,
    get_named_type,
    type_from_ast,
)

FILTER = "filter"
"""The argument whose value is one."""


def filter_variables(schema: GraphQLSchema, operation: OperationDefinitionNode) -> frozenset[str]:
    """The variables that can hold a filter, or a part of one, and not one value."""
    return frozenset(
        definition.variable.name.value
        for definition in operation.variable_definitions or ()
        if isinstance(get_named_type(type_from_ast(schema, definition.type)), GraphQLInputObjectType)
    )


def conditions_in(value: Any) -> int:
    """The conditions of a filter's raw value; what is no filter has none."""
    found, waiting = 0, [one for one in _filters(value) if one]
    while waiting:
        one = waiting.pop()
        found += not one
        for inner in one.values():
            filters = _filters(inner)
            found += not filters
            waiting += filters
    return found


def _filters(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value]
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def conditions_of(node: ValueNode, held: Mapping[str, Any], variables: Collection[str]) -> int:
    """The conditions of a filter in a document; `held` are those of each of the variables that can hold any."""
    if isinstance(node, VariableNode):
        return int(held.get(node.name.value) or 0)
    says_nothing = isinstance(node, NullValueNode) or (isinstance(node, ObjectValueNode) and not node.fields)
    return 0 if says_nothing else _within(node, held, variables)


def _within(node: ValueNode, held: Mapping[str, Any], variables: Collection[str]) -> int:
    if isinstance(node, VariableNode) and node.name.value in variables:
        return int(held.get(node.name.value) or 1)
    if isinstance(node, ObjectValueNode):
        return sum(_within(one.value, held, variables) for one in node.fields) or 1
    if isinstance(node, ListValueNode):
        filters = [one for one in node.values if _is_filter(one, variables)]
        return sum(_within(one, held, variables) for one in filters) if filters else 1
    return 1


def _is_filter(node: ValueNode, variables: Collection[str]) -> bool:
    return isinstance(node, ObjectValueNode) or (isinstance(node, VariableNode) and node.name.value in variables)
