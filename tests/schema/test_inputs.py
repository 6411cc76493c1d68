"""Input objects are those that Strawberry's own way would make, for every argument of the schema."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    get_named_type,
    is_input_object_type,
    is_leaf_type,
    is_object_type,
)
from hypothesis import given
from hypothesis import strategies as st

from schema.build import core_schema
from schema.execution.core import python_arguments
from schema.inputs import InputMaker

_LEVELS = 3  # of filters within filters


def _fields_with_inputs() -> dict[str, GraphQLField]:
    return {
        f"{kind.name}.{name}": field
        for kind in core_schema().type_map.values()
        if is_object_type(kind) and not kind.name.startswith("__")
        for name, field in kind.fields.items()
        if any(is_input_object_type(get_named_type(argument.type)) for argument in field.args.values())
    }


_FIELDS = _fields_with_inputs()


def _values(kind: GraphQLInputType, level: int = 0) -> st.SearchStrategy[Any]:
    if isinstance(kind, GraphQLNonNull):
        return _present(kind.of_type, level)
    return st.none() | _present(kind, level)


def _present(kind: Any, level: int) -> st.SearchStrategy[Any]:
    if is_leaf_type(kind):
        return st.integers()  # whatever it is, it is handed on
    if isinstance(kind, GraphQLList):
        return st.lists(_values(kind.of_type, level), max_size=0 if level > _LEVELS else 2)
    return st.deferred(lambda: _objects(kind, level + 1))


def _objects(kind: GraphQLInputObjectType, level: int) -> st.SearchStrategy[dict[str, Any]]:
    required, optional = {}, {}
    for name, field in kind.fields.items():
        if isinstance(field.type, GraphQLNonNull):
            required[name] = _values(field.type, level)
        elif level <= _LEVELS or is_leaf_type(field.type):
            optional[name] = _values(field.type, level)
    return st.fixed_dictionaries(required, optional=optional)


@contextmanager
def _strawberrys_own_way() -> Iterator[None]:
    kinds = [kind for kind in core_schema().type_map.values() if isinstance(kind, GraphQLInputObjectType)]
    definitions = {id(one): one for kind in kinds if (one := kind.extensions["strawberry-definition"])}.values()
    before = [(definition, definition.from_input) for definition in definitions]
    for definition in definitions:
        definition.from_input = None
    try:
        yield
    finally:
        for definition, hook in before:
            definition.from_input = hook


def _plain(value: Any) -> Any:
    """What an object holds; classes by name, for a generic one is made anew each time."""
    if is_dataclass(value):
        return type(value).__name__, {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", _FIELDS)
@given(data=st.data())
def test_the_objects_are_those_that_strawberry_makes(name: str, data: st.DataObject) -> None:
    field = _FIELDS[name]
    values = data.draw(_objects(_as_object(field), 0))

    found = python_arguments(field, values)

    with _strawberrys_own_way():
        expected = python_arguments(field, values)
    assert _plain(found) == _plain(expected)


def _as_object(field: GraphQLField) -> Any:
    """The arguments, as if they were the fields of an input object."""
    return type("Arguments", (), {"fields": field.args})


def test_lists_are_copied() -> None:
    kind: Any = core_schema().type_map["DriftEventFilter"]
    texts = ["OPEN"]

    made = InputMaker(kind).make({"status": {"in": texts}})

    assert made.status.in_ == texts
    assert made.status.in_ is not texts


def test_strawberry_asks_the_maker() -> None:
    assert all(
        kind.extensions["strawberry-definition"].from_input is not None
        for kind in core_schema().type_map.values()
        if isinstance(kind, GraphQLInputObjectType)
    )
