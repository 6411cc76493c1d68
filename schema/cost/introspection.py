"""What it costs to ask for the schema: its lists have no pages, so the objects of the answer are counted."""

from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from graphql import (
    FragmentDefinitionNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    SelectionSetNode,
    StringValueNode,
    get_named_type,
    get_nullable_type,
    introspection_types,
    is_list_type,
)

from schema.execution.selection import Selection, collect

WEIGHT = 2
"""The price of an object that tells of the schema: each is resolved by itself, which rows of the database are not."""


class _Below(NamedTuple):
    """A field of objects, and what is asked for of them."""

    field: GraphQLField
    is_list: bool
    kind: GraphQLObjectType
    sets: tuple[SelectionSetNode, ...]


class Introspection:
    """Counts the objects that an operation asks for; it stops where they cost more than `at_most`."""

    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: Mapping[str, Any],
        at_most: int,
    ) -> None:
        self._schema, self._fragments, self._variables = schema, fragments, variables
        self._left = at_most // WEIGHT + 1
        self._info = SimpleNamespace(schema=schema)
        self._plans: dict[tuple[int, ...], list[_Below]] = {}

    def cost(self, selection: Selection) -> int:
        """The price of a root field; 0 if it does not tell of the schema.

        It is exact as long as it is not more than `at_most`, together with those that were asked for before.
        """
        sets = tuple(node.selection_set for node in selection.nodes if node.selection_set is not None)
        if selection.name == "__schema":
            return WEIGHT * self._objects(_named("__Schema"), self._schema, sets)
        if selection.name == "__type":
            return WEIGHT * self._objects(_named("__Type"), self._type(selection), sets)
        return 0

    def _type(self, selection: Selection) -> Any:
        names = [argument.value for argument in selection.nodes[0].arguments or ()]
        if names and isinstance(names[0], StringValueNode):
            return self._schema.get_type(names[0].value)
        # Prices do not depend on variables that are texts: it is taken to be the largest.
        return max(self._schema.type_map.values(), key=_members)

    def _objects(self, kind: GraphQLObjectType, value: Any, sets: tuple[SelectionSetNode, ...]) -> int:
        if value is None or self._left <= 0:
            return 0
        self._left -= 1
        found = 1
        for below in self._plan(kind, sets):
            arguments = {"includeDeprecated": True} if "includeDeprecated" in below.field.args else {}
            resolve = below.field.resolve
            values = resolve(value, self._info, **arguments) if resolve is not None else None
            for one in (values or ()) if below.is_list else (values,):
                found += self._objects(below.kind, one, below.sets)
        return found

    def _plan(self, kind: GraphQLObjectType, sets: tuple[SelectionSetNode, ...]) -> list[_Below]:
        key = tuple(map(id, sets))
        if key not in self._plans:
            self._plans[key] = list(self._below(kind, sets))
        return self._plans[key]

    def _below(self, kind: GraphQLObjectType, sets: Sequence[SelectionSetNode]) -> Iterator[_Below]:
        for selection in collect(self._schema, self._fragments, self._variables, kind, sets).values():
            field = kind.fields.get(selection.name)
            named = get_named_type(field.type) if field is not None else None
            if field is not None and isinstance(named, GraphQLObjectType):
                below = tuple(node.selection_set for node in selection.nodes if node.selection_set is not None)
                yield _Below(field, is_list_type(get_nullable_type(field.type)), named, below)


def _named(name: str) -> GraphQLObjectType:
    found = introspection_types[name]
    if not isinstance(found, GraphQLObjectType):
        raise TypeError(name)
    return found


def _members(kind: Any) -> int:
    fields = getattr(kind, "fields", {})
    return len(fields) + sum(len(getattr(field, "args", ())) for field in fields.values())
