"""Scalars and enums, a column at a time: what is usual of a type costs next to nothing, the rest graphql-core does."""

import datetime
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any
from uuid import UUID

from graphql import (
    GRAPHQL_MAX_INT,
    GRAPHQL_MIN_INT,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLLeafType,
    GraphQLString,
    Undefined,
)
from graphql.pyutils import inspect, is_awaitable

from schema.execution.core import enum_names

One = Callable[[Any], Any]
Column = Callable[[Iterable[Any]], list[Any]]
# Values of these classes are neither errors nor awaited; what they become is up to their scalar.
_USUAL = frozenset({str, int, float, bool, Decimal, UUID, datetime.date, datetime.datetime, datetime.time})


class Unsettled(Exception):
    """A value that must be awaited before it can be completed."""


def completer(kind: GraphQLLeafType, missing: str | None) -> One:
    """Completes one value as graphql-core does; `missing` is the complaint where it may not be null.

    The function raises whatever is wrong with the value.
    """
    coerce = kind.coerce_output_value

    def complete(value: Any) -> Any:
        if isinstance(value, Exception):
            raise value
        if value is None or value is Undefined:
            if missing is not None:
                raise TypeError(missing)
            return None
        if is_awaitable(value):
            raise Unsettled
        made = coerce(value)
        if made is None or made is Undefined:
            raise TypeError(
                f"Expected `{inspect(kind)}.coerce_output_value({inspect(value)})` to return non-nullable value,"
                f" returned: {inspect(made)}"
            )
        return made

    return complete


def column(kind: GraphQLLeafType, one: One) -> Column:
    """Completes many values of a type; raises as soon as one of them needs a look of its own."""
    if kind in _COLUMNS:
        return _COLUMNS[kind](one)
    if isinstance(kind, GraphQLEnumType):
        return _names(enum_names(kind), one)
    return _coerced(kind.coerce_output_value, one)


def _texts(one: One) -> Column:
    return lambda values: [value if value.__class__ is str else one(value) for value in values]


def _booleans(one: One) -> Column:
    return lambda values: [value if value is True or value is False else one(value) for value in values]


def _integers(one: One) -> Column:
    low, high = GRAPHQL_MIN_INT, GRAPHQL_MAX_INT
    return lambda values: [value if value.__class__ is int and low <= value <= high else one(value) for value in values]


def _numbers(one: One) -> Column:
    # The difference is not zero where the number is infinite or none.
    return lambda values: [value if value.__class__ is float and value - value == 0 else one(value) for value in values]


_COLUMNS: dict[GraphQLLeafType, Callable[[One], Column]] = {
    GraphQLString: _texts,
    GraphQLID: _texts,
    GraphQLBoolean: _booleans,
    GraphQLInt: _integers,
    GraphQLFloat: _numbers,
}


def _names(names: dict[Any, str], one: One) -> Column:
    classes = {key.__class__ for key in names}
    return lambda values: [
        names[value] if value.__class__ in classes and value in names else one(value) for value in values
    ]


def _coerced(coerce: One, one: One) -> Column:
    return lambda values: [
        made
        if value.__class__ in _USUAL and (made := coerce(value)) is not None and made is not Undefined
        else one(value)
        for value in values
    ]
