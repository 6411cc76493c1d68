"""What a document, and what is made of it, takes of memory at most: estimates, by what was measured.

Much is made when it is first needed, such as the plan of a level when there is the first object on it. So a form is
weighed as what it can become, when nothing of it is there yet.
"""

import sys
from collections.abc import Iterable, Mapping

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    Node,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    get_named_type,
    is_abstract_type,
)
from graphql.language.ast import QUERY_DOCUMENT_KEYS

from schema.cost.pricing import Price
from schema.execution.accounting import Selected
from schema.execution.selection import applies

# Bytes.
_DOCUMENT, _NODE = 8_000, 320
_FORM, _FIELD, _VALUE, _CHARACTER = 4_000, 2_200, 400, 4
_ENTRY, _NAME, _PART = 1_000, 40, 350


def document_weight(text: str, nodes: int) -> int:
    """Bytes of a document that was parsed to so many nodes."""
    return _DOCUMENT + 2 * sys.getsizeof(text) + _NODE * nodes  # names and values are texts of their own


def price_weight(key: tuple[object, ...], price: Price) -> int:
    """Bytes of the price of an operation by values of its variables."""
    return _ENTRY + _NAME * len(key) + _PART * len(price.roots)


def selected_weight(key: tuple[object, ...], found: Selected) -> int:
    """Bytes of what is protected of a selection by values of its variables."""
    return _ENTRY + _NAME * len(key) + sum(_PART * (1 + len(labelled)) for labelled in found.fields.values())


def form_weight(
    schema: GraphQLSchema, operation: OperationDefinitionNode, fragments: Mapping[str, FragmentDefinitionNode]
) -> int:
    """Bytes of a form of a valid operation, whatever its conditions leave out, when all of it is there."""
    root = schema.get_root_type(operation.operation)
    return _FORM + (_Expansion(schema, fragments).of(root, operation.selection_set) if root else 0)


class _Expansion:
    """Weighs each field wherever its fragment is spread, once for each type that its object can be of."""

    def __init__(self, schema: GraphQLSchema, fragments: Mapping[str, FragmentDefinitionNode]) -> None:
        self._schema, self._fragments = schema, fragments
        self._values: dict[int, int] = {}  # of a field's arguments, which are looked at once

    def of(self, kind: GraphQLObjectType, selections: SelectionSetNode) -> int:
        return sum(self._node(kind, node) for node in selections.selections)

    def _node(self, kind: GraphQLObjectType, node: SelectionNode) -> int:
        if isinstance(node, FieldNode):
            return self._field(kind, node)
        fragment = self._fragments[node.name.value] if isinstance(node, FragmentSpreadNode) else node
        if not isinstance(fragment, (FragmentDefinitionNode, InlineFragmentNode)):
            raise TypeError(type(fragment).__name__)
        return self.of(kind, fragment.selection_set) if applies(self._schema, fragment.type_condition, kind) else 0

    def _field(self, kind: GraphQLObjectType, node: FieldNode) -> int:
        if id(node) not in self._values:
            self._values[id(node)] = sum(map(_value_weight, node.arguments or ()))
        found = _FIELD + self._values[id(node)]
        definition = self._schema.get_field(kind, node.name.value)
        if node.selection_set and definition:
            named = get_named_type(definition.type)
            found += sum(self.of(one, node.selection_set) for one in self._types(named))
        return found

    def _types(self, kind: GraphQLNamedType) -> Iterable[GraphQLObjectType]:
        if is_abstract_type(kind):
            return self._schema.get_possible_types(kind)
        return (kind,) if isinstance(kind, GraphQLObjectType) else ()


def _value_weight(node: Node) -> int:
    """Bytes of what becomes of an argument, such as the conditions of a filter."""
    found, waiting = 0, [node]
    while waiting:
        one = waiting.pop()
        found += 1
        for name in QUERY_DOCUMENT_KEYS.get(one.kind, ()):
            below = getattr(one, name)
            if isinstance(below, tuple):
                waiting += below
            elif isinstance(below, Node):
                waiting.append(below)
    return _VALUE * found + (_CHARACTER * (node.loc.end - node.loc.start) if node.loc else 0)
