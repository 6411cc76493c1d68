"""Which parts of the schema an operation uses: those its document names, and those the values of its variables do.

A part is a schema coordinate: a field, an argument, an input field or an enum value. What stands under @skip or
@include counts too: a document that names it fails when it goes. A field asked for on an interface is the interface's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from sys import intern
from typing import Any

from graphql import (
    EnumValueNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLSchema,
    ListTypeNode,
    NonNullTypeNode,
    ObjectFieldNode,
    OperationDefinitionNode,
    TypeInfo,
    TypeInfoVisitor,
    TypeNode,
    Visitor,
    get_named_type,
    visit,
)

_VALUES = 1_000  # of the variables of one request; the others are not looked at
_INTROSPECTION = "__"
_Telling = GraphQLInputObjectType | GraphQLEnumType
"""The types whose values name parts of the schema."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What an operation uses: `named` by its document; by the values of the variables in `telling`, too."""

    named: frozenset[str] = frozenset()
    telling: Mapping[str, _Telling] = field(default_factory=dict)

    def coordinates(self, variables: Mapping[str, Any] | None) -> frozenset[str]:
        """The coordinates with these raw values of the variables; `named` itself where they add none."""
        if not self.telling or not variables:
            return self.named
        told = _told([(kind, variables[name]) for name, kind in self.telling.items() if name in variables])
        return self.named if told <= self.named else self.named | told


def usage_of(
    schema: GraphQLSchema, operation: OperationDefinitionNode, fragments: Mapping[str, FragmentDefinitionNode]
) -> Usage:
    """What a valid operation uses, with the fragments that it spreads."""
    info = TypeInfo(schema)
    visitor = _Named(info)
    visit(operation, TypeInfoVisitor(info, visitor))
    done: set[str] = set()
    while waiting := visitor.spreads - done:
        for name in waiting:
            done.add(name)
            visit(fragments[name], TypeInfoVisitor(info, visitor))
    kinds = {
        node.variable.name.value: schema.get_type(_type_name(node.type))
        for node in operation.variable_definitions or ()
    }
    named = frozenset(map(intern, visitor.found))  # documents that are forgotten leave no copies in the ledger
    return Usage(named, {name: kind for name, kind in kinds.items() if isinstance(kind, _Telling)})


def _type_name(node: TypeNode) -> str:
    while isinstance(node, (ListTypeNode, NonNullTypeNode)):
        node = node.type
    name: str = node.name.value  # type: ignore[attr-defined]  # nothing but a NamedTypeNode is left
    return name


class _Named(Visitor):
    """Notes what is named, and the fragments that are spread."""

    def __init__(self, info: TypeInfo) -> None:
        super().__init__()
        self._info = info
        self.found: set[str] = set()
        self.spreads: set[str] = set()

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        parent, name = self._info.get_parent_type(), node.name.value
        if parent is None or _INTROSPECTION in (name[:2], parent.name[:2]):
            return
        self.found.add(f"{parent.name}.{name}")
        self.found.update(f"{parent.name}.{name}({one.name.value}:)" for one in node.arguments or ())

    def enter_object_field(self, node: ObjectFieldNode, *_: Any) -> None:
        kind = get_named_type(self._info.get_parent_input_type())
        if isinstance(kind, GraphQLInputObjectType):
            self.found.add(f"{kind.name}.{node.name.value}")

    def enter_enum_value(self, node: EnumValueNode, *_: Any) -> None:
        kind = get_named_type(self._info.get_input_type())
        if isinstance(kind, GraphQLEnumType):
            self.found.add(f"{kind.name}.{node.value}")

    def enter_fragment_spread(self, node: FragmentSpreadNode, *_: Any) -> None:
        self.spreads.add(node.name.value)


def _told(waiting: list[tuple[_Telling, Any]]) -> frozenset[str]:
    """What raw values of these types name; names that the types do not have are left out."""
    found: set[str] = set()
    left = _VALUES
    while waiting and left:
        kind, value = waiting.pop()
        left -= 1
        members = _members(kind)
        if isinstance(value, list):
            waiting.extend((kind, item) for item in value[:left])
        elif isinstance(value, str):
            found.update(members.get(value, (kind, ()))[1])
        elif isinstance(value, dict):
            for name, inner in value.items():
                below, coordinate = members.get(name, (None, ()))
                found.update(coordinate)
                if below is not None:
                    waiting.append((below, inner))
    return frozenset(found)


@cache
def _members(kind: _Telling) -> dict[str, tuple[_Telling | None, tuple[str, ...]]]:
    """The names that values of a type can hold, each with the type below it, if that tells anything, and coordinate."""
    if isinstance(kind, GraphQLEnumType):
        return {name: (None, (intern(f"{kind.name}.{name}"),)) for name in kind.values}
    found: dict[str, tuple[_Telling | None, tuple[str, ...]]] = {}
    for name, one in kind.fields.items():
        below = get_named_type(one.type)
        found[name] = (below if isinstance(below, _Telling) else None, (intern(f"{kind.name}.{name}"),))
    return found
