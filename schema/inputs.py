"""Makes input objects of coerced values: Strawberry's own way looks every field up anew, for each of thousands."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING
from functools import cached_property
from typing import Any, cast

from graphql import GraphQLInputObjectType, GraphQLInputType, GraphQLList, GraphQLNonNull, GraphQLSchema, is_leaf_type
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import StrawberryField

Convert = Callable[[Any], Any]
_DEFINITION = "strawberry-definition"


class InputMaker:
    """Makes the objects of one input type; what each field needs is found once."""

    def __init__(self, kind: GraphQLInputObjectType) -> None:
        self._kind = kind
        self._definition: StrawberryObjectDefinition = kind.extensions[_DEFINITION]

    @cached_property
    def _fields(self) -> list[tuple[str, str, Convert | None]]:
        """Name in the schema, name in Python, and what makes the value if it is not taken as it is."""
        return [
            (name, _strawberry_field(field).python_name, _convert(field.type))
            for name, field in self._kind.fields.items()
        ]

    @cached_property
    def _unset(self) -> dict[str, None]:
        """The fields that have no default, as Strawberry gives them to the class."""
        fields = self._definition.fields
        return {
            one.python_name: None for one in fields if one.default_value is MISSING and one.default_factory is MISSING
        }

    def make(self, value: Mapping[str, Any]) -> Any:
        """The object that Strawberry would make of the value, whose keys are names in the schema."""
        given: dict[str, Any] = dict(self._unset)
        for name, python_name, convert in self._fields:
            if name in value:
                found = value[name]
                given[python_name] = found if convert is None else convert(found)
        return self._definition.origin(**given)


def make_inputs_directly(schema: GraphQLSchema) -> None:
    """Has Strawberry ask an InputMaker for each object of an input type, by the hook that it has for that."""
    for kind in schema.type_map.values():
        if isinstance(kind, GraphQLInputObjectType):
            definition: StrawberryObjectDefinition = kind.extensions[_DEFINITION]
            make = _maker(kind).make
            definition.from_input = lambda _class, value, _context, make=make: make(value)


def _maker(kind: GraphQLInputObjectType) -> InputMaker:
    """The maker of a type, one for all fields of that type."""
    found = kind.extensions.setdefault("driftgraph-maker", InputMaker(kind))
    return cast("InputMaker", found)


def _strawberry_field(field: Any) -> StrawberryField:
    found: StrawberryField = field.extensions[_DEFINITION]
    return found


def _convert(kind: GraphQLInputType) -> Convert | None:
    """What makes a value of a type; None where the value is taken as it is."""
    bare = kind.of_type if isinstance(kind, GraphQLNonNull) else kind
    if is_leaf_type(bare):
        return None
    if isinstance(bare, GraphQLList):
        item = _convert(bare.of_type)
        # Copied in any case: a default is one list for all requests.
        return _unless_absent(list if item is None else lambda values: [item(value) for value in values])
    return _unless_absent(_maker(cast("GraphQLInputObjectType", bare)).make)


def _unless_absent(convert: Convert) -> Convert:
    return lambda value: value if value is None else convert(value)
