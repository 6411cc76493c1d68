"""Typed comparators and their translation to conditions. What can be filtered is listed in the file of each noun."""

import datetime
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from enum import Enum
from functools import reduce
from operator import and_, or_
from typing import Any, Generic, TypeVar

import strawberry
from django.conf import settings
from django.db.models import Q

from backend.core.errors import BadUserInput, LimitExceeded
from backend.db.sql import Slot
from schema import enums as _enums  # noqa: F401 - registered before any annotation names one
from schema.relay.ids import decode_id_of

T = TypeVar("T")


class NullComparison(BadUserInput):
    """A comparison with null: use isNull."""


@strawberry.input(name="EqualityComparison", description="Conditions on one value; all that are given must hold.")
class Equality(Generic[T]):
    eq: T | None = strawberry.field(default=strawberry.UNSET, description="Equal.")
    ne: T | None = strawberry.field(default=strawberry.UNSET, description="Not equal; rows without a value match.")
    in_: list[T] | None = strawberry.field(
        default=strawberry.UNSET, name="in", description="One of these, at most 100. An empty list matches nothing."
    )
    not_in: list[T] | None = strawberry.field(
        default=strawberry.UNSET, description="None of these, at most 100; rows without a value match."
    )
    is_null: bool | None = strawberry.field(
        default=strawberry.UNSET, description="true: without a value; false: with one."
    )


@strawberry.input(name="Comparison", description="Conditions on one ordered value; all that are given must hold.")
class Comparison(Equality[T], Generic[T]):
    lt: T | None = strawberry.field(default=strawberry.UNSET, description="Less than.")
    lte: T | None = strawberry.field(default=strawberry.UNSET, description="Less than or equal.")
    gt: T | None = strawberry.field(default=strawberry.UNSET, description="Greater than.")
    gte: T | None = strawberry.field(default=strawberry.UNSET, description="Greater than or equal.")


@dataclass(frozen=True, slots=True)
class Lookup:
    """What one field of a filter compares: a path of the model, and how its values reach the database."""

    path: str
    convert: Callable[[Any], Any] | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """A field of a filter that is more than a comparison of one column: a condition made from one slot."""

    build: Callable[[Slot], Q]
    convert: Callable[[Any], Any] | None = None
    key: str = ""


def lookup(path: str, description: str, convert: Callable[[Any], Any] | None = None, name: str | None = None) -> Any:
    """A comparable field of a filter."""
    return strawberry.field(
        default=strawberry.UNSET, description=description, name=name, metadata={"lookup": Lookup(path, convert)}
    )


def condition(
    key: str, build: Callable[[Slot], Q], description: str, convert: Callable[[Any], Any] | None = None
) -> Any:
    """A field of a filter with its own condition; `key` tells its SQL from others in the cache."""
    return strawberry.field(
        default=strawberry.UNSET, description=description, metadata={"lookup": Condition(build, convert, key)}
    )


def nested(description: str) -> Any:
    """A field of a filter that holds another filter, of a to-one relation."""
    return strawberry.field(default=strawberry.UNSET, description=description)


def prefix(path: str) -> Callable[[Slot], Q]:
    """Texts of a column in C collation that start with the value; a range, which keeps its index under a policy.

    The slot takes the pair of bounds that `prefix_bounds` makes.
    """
    return lambda slot: (
        Q(**{f"{path}__gte": Slot(f"{slot.name}_low")}) & Q(**{f"{path}__lt": Slot(f"{slot.name}_high")})
    )


def prefix_bounds(value: str) -> tuple[str, str]:
    """The smallest text with the prefix, and one that is greater than all of them."""
    return value, value + "\U0010ffff"


def cents(value: Decimal) -> int:
    """Dollars as the database keeps them."""
    return int((value * 100).to_integral_value())


def key_of(tag: str, type_name: str) -> Callable[[str], uuid.UUID]:
    """Global ids of one type as keys."""
    return lambda text: decode_id_of(text, tag, expected=type_name)


@dataclass(slots=True)
class Translated:
    """A filter as a condition with slots, the values for them, and its shape: equal shapes have equal SQL."""

    shape: tuple[Any, ...]
    condition: Q
    values: dict[str, Any]


_OPERATORS = {"lt": "lt", "lte": "lte", "gt": "gt", "gte": "gte"}


def translate(filter_input: object | None, *, slot_prefix: str = "f") -> Translated:
    """The condition of a filter; an empty one matches every row.

    Raises:
        NullComparison: a comparator was given null.
        LimitExceeded: a list longer than DRIFTGRAPH_MAX_INPUT_ITEMS, or more conditions than
            DRIFTGRAPH_MAX_FILTER_CONDITIONS.
        MalformedId, WrongIdType: an id in a filter.
    """
    limit = settings.ENVIRONMENT.max_filter_conditions
    if (number := _number(filter_input)) > limit:
        what, setting = "The number of conditions of a filter", "DRIFTGRAPH_MAX_FILTER_CONDITIONS"
        raise LimitExceeded(what=what, actual=number, limit=limit, setting=setting)
    values: dict[str, Any] = {}
    shape, found = _object(filter_input, values, slot_prefix, "")
    return Translated(shape, found, values)


def _number(value: Any) -> int:
    """How many conditions a part of a filter has. Each becomes SQL; one that says nothing is to be looked at, too."""
    if is_dataclass(value):
        given = [getattr(value, field.name) for field in fields(value)]
        return sum(_number(one) for one in given if one is not strawberry.UNSET) or 1
    if isinstance(value, list) and value and is_dataclass(value[0]):
        return sum(map(_number, value))
    return 1


def _object(node: object | None, values: dict[str, Any], slots: str, path: str) -> tuple[tuple[Any, ...], Q]:
    shape: list[Any] = []
    total = Q()
    if node is None or node is strawberry.UNSET:
        return (), total
    for field in fields(node):  # type: ignore[arg-type]  # Strawberry inputs are dataclasses
        value = getattr(node, field.name)
        if value is strawberry.UNSET or value is None:
            continue
        part, one = _field(field, value, values, slots, path)
        shape.append((field.name, part))
        total &= one
    return tuple(shape), total


def _field(field: Any, value: Any, values: dict[str, Any], slots: str, path: str) -> tuple[Any, Q]:
    if field.name in ("and_", "or_"):
        return _several(field.name.rstrip("_"), value, values, slots, path)
    if field.name == "not_":
        shape, one = _object(value, values, slots, path)
        return shape, ~one if one else _nothing(values, slots)
    declared = field.metadata.get("lookup")
    if isinstance(declared, Condition):
        return _condition(declared, value, values, slots)
    if isinstance(declared, Lookup):
        return _comparison(declared, value, values, slots)
    return _object(value, values, slots, path)


def _several(operator: str, items: list[Any], values: dict[str, Any], slots: str, path: str) -> tuple[Any, Q]:
    _limit(items, operator)
    parts = [_object(item, values, slots, path) for item in items]
    shape, conditions = tuple(shape for shape, _ in parts), [one for _, one in parts]
    if operator == "and":
        return shape, reduce(and_, conditions, Q())
    if not conditions:
        return shape, _nothing(values, slots)  # no alternative that could hold
    # Django leaves an empty condition out of an "or"; here it is an alternative that every row meets.
    return shape, reduce(or_, conditions) if all(conditions) else Q()


def _nothing(values: dict[str, Any], slots: str) -> Q:
    """A condition that no row meets, as SQL: Django would not send a statement that it knows to be empty."""
    slot = Slot(f"{slots}{len(values)}")
    values[slot.name] = []
    return Q(id__any_of=slot)


def _condition(declared: Condition, value: Any, values: dict[str, Any], slots: str) -> tuple[Any, Q]:
    slot = Slot(f"{slots}{len(values)}")
    converted = _plain(declared.convert(value) if declared.convert else value)
    if isinstance(converted, tuple):
        values[f"{slot.name}_low"], values[f"{slot.name}_high"] = converted
    else:
        values[slot.name] = converted
    return declared.key, declared.build(slot)


def _comparison(declared: Lookup, value: Any, values: dict[str, Any], slots: str) -> tuple[Any, Q]:
    shape: list[Any] = []
    total = Q()
    for operator, operand in _operands(value):
        if operand is None:
            raise NullComparison(path=(operator.rstrip("_"),))
        shape.append((operator, operand) if operator == "is_null" else operator)
        if operator == "is_null":
            total &= Q(**{f"{declared.path}__isnull": operand})
            continue
        slot = Slot(f"{slots}{len(values)}")
        total &= _one(declared.path, operator, slot)
        values[slot.name] = _operand(declared, operator, operand)
    return tuple(shape), total


def _operands(value: object) -> Iterator[tuple[str, Any]]:
    for field in fields(value):  # type: ignore[arg-type]  # Strawberry inputs are dataclasses
        operand = getattr(value, field.name)
        if operand is not strawberry.UNSET:
            yield field.name, operand


def _one(path: str, operator: str, slot: Slot) -> Q:
    if operator == "eq":
        return Q(**{path: slot})
    if operator == "ne":
        return ~Q(**{path: slot})
    if operator == "in_":
        return Q(**{f"{path}__any_of": slot})
    if operator == "not_in":
        return ~Q(**{f"{path}__any_of": slot})
    return Q(**{f"{path}__{_OPERATORS[operator]}": slot})


def _operand(declared: Lookup, operator: str, operand: Any) -> Any:
    convert = declared.convert or (lambda value: value)
    if operator in ("in_", "not_in"):
        _limit(operand, operator.rstrip("_"))
        return [_plain(convert(item)) for item in operand]
    return _plain(convert(operand))


def _limit(items: list[Any], name: str) -> None:
    limit = settings.ENVIRONMENT.max_input_items
    if len(items) > limit:
        raise LimitExceeded(
            what=f"The list {name}", actual=len(items), limit=limit, setting="DRIFTGRAPH_MAX_INPUT_ITEMS", path=(name,)
        )


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


BooleanComparison = Equality[bool]
TextComparison = Equality[str]
IdComparison = Equality[strawberry.ID]
IntComparison = Comparison[int]
FloatComparison = Comparison[float]
DateComparison = Comparison[datetime.date]
DateTimeComparison = Comparison[datetime.datetime]
MoneyComparison = Comparison[Decimal]
