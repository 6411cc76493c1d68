"""What an operation selects: the specification's CollectFields, on the syntax tree alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    BooleanValueNode,
    DirectiveNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionNode,
    SelectionSetNode,
    VariableNode,
    Visitor,
    is_abstract_type,
    visit,
)
from graphql.language import NamedTypeNode


@dataclass(frozen=True, slots=True)
class Selection:
    """One response key of an object: the field, and every place in the document that asks for it."""

    key: str
    name: str
    nodes: tuple[FieldNode, ...]


def collect(
    schema: GraphQLSchema,
    fragments: Mapping[str, FragmentDefinitionNode],
    variables: Mapping[str, Any],
    object_type: GraphQLObjectType,
    selection_sets: Iterable[SelectionSetNode],
) -> dict[str, Selection]:
    """The fields of an object type by response key, in the order of their first appearance.

    `variables` are the coerced values; only those in @skip and @include are read.
    """
    found: dict[str, list[FieldNode]] = {}
    collector = _Collector(schema, fragments, variables, object_type, found)
    for selection_set in selection_sets:
        collector.add(selection_set)
    return {key: Selection(key, nodes[0].name.value, tuple(nodes)) for key, nodes in found.items()}


def applies(schema: GraphQLSchema, condition: NamedTypeNode | None, kind: GraphQLObjectType) -> bool:
    """Whether a fragment with this type condition says something of objects of a type."""
    if condition is None or condition.name.value == kind.name:
        return True
    named = schema.get_type(condition.name.value)
    return is_abstract_type(named) and schema.is_sub_type(named, kind)


class _Collector:
    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: Mapping[str, Any],
        object_type: GraphQLObjectType,
        found: dict[str, list[FieldNode]],
    ) -> None:
        self._schema, self._fragments, self._variables, self._type = schema, fragments, variables, object_type
        self._found = found
        self._visited: set[str] = set()

    def add(self, selection_set: SelectionSetNode) -> None:
        for node in selection_set.selections:
            if is_included(node, self._variables):
                self._add(node)

    def _add(self, node: SelectionNode) -> None:
        if isinstance(node, FieldNode):
            key = node.alias.value if node.alias else node.name.value
            self._found.setdefault(key, []).append(node)
        elif isinstance(node, InlineFragmentNode):
            if applies(self._schema, node.type_condition, self._type):
                self.add(node.selection_set)
        elif isinstance(node, FragmentSpreadNode) and node.name.value not in self._visited:
            self._visited.add(node.name.value)
            fragment = self._fragments.get(node.name.value)
            if fragment is not None and applies(self._schema, fragment.type_condition, self._type):
                self.add(fragment.selection_set)


def is_included(node: SelectionNode, variables: Mapping[str, Any]) -> bool:
    """Whether @skip and @include let a part of a selection be, for these values of their variables."""
    for directive in node.directives or ():
        name = directive.name.value
        if name in ("skip", "include") and _condition(directive, variables) is (name == "skip"):
            return False
    return True


def _condition(directive: DirectiveNode, variables: Mapping[str, Any]) -> bool:
    value = next(argument.value for argument in directive.arguments or () if argument.name.value == "if")
    if isinstance(value, VariableNode):
        return bool(variables.get(value.name.value))
    return isinstance(value, BooleanValueNode) and value.value


class _Conditions(Visitor):
    """Finds the variables in @skip and @include, other directives, and the fragments that are spread."""

    def __init__(self) -> None:
        super().__init__()
        self.variables: set[str] = set()
        self.others = False
        self.spreads: set[str] = set()

    def enter_directive(self, node: DirectiveNode, *_: Any) -> None:
        if node.name.value in ("skip", "include"):
            values = (argument.value for argument in node.arguments or ())
            self.variables.update(value.name.value for value in values if isinstance(value, VariableNode))
        else:
            self.others = True

    def enter_fragment_spread(self, node: FragmentSpreadNode, *_: Any) -> None:
        self.spreads.add(node.name.value)


@dataclass(frozen=True, slots=True)
class Conditions:
    """On what it depends what is selected: on these variables, sorted; `others`: on directives that we do not know."""

    variables: tuple[str, ...] = ()
    others: bool = False


def is_for_reference(kind: OperationType, conditions: Conditions, raw_variables: Mapping[str, Any] | None) -> bool:
    """Whether graphql-core itself executes an operation: what is no query, or has a condition that only it can judge.

    That is one of a directive that we do not know, or null, which is an error where it is met.
    """
    if kind is not OperationType.QUERY or conditions.others:
        return True
    if not conditions.variables or not raw_variables:
        return False
    return any(name in raw_variables and raw_variables[name] is None for name in conditions.variables)


def conditions_of(operation: OperationDefinitionNode, fragments: Mapping[str, FragmentDefinitionNode]) -> Conditions:
    """On what it depends what an operation selects."""
    visitor = _Conditions()
    visit(operation, visitor)
    done: set[str] = set()
    while waiting := visitor.spreads - done:
        for name in waiting:
            done.add(name)
            if name in fragments:
                visit(fragments[name], visitor)
    return Conditions(tuple(sorted(visitor.variables)), visitor.others)
