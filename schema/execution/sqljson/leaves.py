"""The JSON text of leaves: for each GraphQL type the SQL whose text equals what the executor serializes.

Relies on timezone=UTC and datestyle=ISO, which backend.db.pools pins for the connection, and on extra_float_digits=1,
which backend.db.snapshots pins for the transaction.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import models
from graphql import (
    GRAPHQL_MAX_INT,
    GRAPHQL_MIN_INT,
    GraphQLEnumType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
)

from schema.execution.sqljson.outcome import NotPlain
from schema.execution.sqljson.texts import MISFIT, Cell, Parts, json_text, literal

_INTEGERS = (models.IntegerField, models.SmallIntegerField)
# Which columns a scalar can be made of without a conversion; another pair could leave the scalar's range.
_SOURCES: dict[str, tuple[type[Any], ...]] = {
    "String": (models.TextField, models.CharField),
    "Int": _INTEGERS,
    "BigInt": (*_INTEGERS, models.BigIntegerField),
    "Float": (models.FloatField,),
    "Boolean": (models.BooleanField,),
    "Date": (models.DateField,),
    "DateTime": (models.DateTimeField,),
}


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value of a row: its SQL with `{row}` for the row's alias, its GraphQL type, and what NULL means."""

    expression: str
    write: "Writer"
    nullable: bool  # whether the expression can be NULL
    required: bool  # whether the field is non-null: then NULL is an error

    def parts(self, alias: str) -> Parts:
        """The JSON text of the value in the row with that alias."""
        missing = (MISFIT if self.required else "'null'") if self.nullable else None
        return self.write(self.expression.format(row=alias), missing)


Writer = Callable[[str, str | None], Parts]
"""From an SQL expression and the SQL for its NULL (None: it is never NULL) to the JSON text."""


def _unless_null(text: str, missing: str | None) -> Parts:
    return [Cell(text if missing is None else f"coalesce({text}, {missing})")]


def _string(value: str, missing: str | None) -> Parts:
    return [Cell(f"to_json({value})")] if missing is None else _unless_null(f"to_json({value})::text", missing)


def _number(value: str, missing: str | None) -> Parts:
    return [Cell(value)] if missing is None else _unless_null(f"{value}::text", missing)


def within_32_bits(value: str) -> str:
    """The text of a whole number that GraphQL's Int can hold; any other is the executor's to refuse."""
    fits = f"{value} IS NULL OR {value} BETWEEN {GRAPHQL_MIN_INT} AND {GRAPHQL_MAX_INT}"
    return f"CASE WHEN {fits} THEN {value}::text ELSE {MISFIT} END"


def _quoted(value: str, missing: str | None) -> Parts:
    if missing is None:
        return ['"', Cell(value), '"']
    return _unless_null(f"'\"' || {value}::text || '\"'", missing)


def _boolean(value: str, missing: str | None) -> Parts:
    otherwise = "'false'" if missing is None else f"WHEN NOT {value} THEN 'false' ELSE {missing}"
    return [Cell(f"CASE WHEN {value} THEN 'true' {'ELSE ' if missing is None else ''}{otherwise} END")]


def _float(value: str, missing: str | None) -> Parts:
    null = "" if missing is None else f" WHEN {value} IS NULL THEN {missing}"
    finite = f"{value} > '-Infinity' AND {value} < 'Infinity'"  # NaN is greater than every number here
    return [Cell(f"CASE WHEN {finite} THEN {value}::text{null} ELSE {MISFIT} END")]


def _moment(value: str, missing: str | None) -> Parts:
    # An infinite moment is no moment of the API; its text lacks the offset.
    text = f"CASE WHEN isfinite({value}) THEN replace(to_json({value})::text, '+00:00', 'Z')"
    null = "" if missing is None else f" WHEN {value} IS NULL THEN {missing}"
    return [Cell(f"{text}{null} ELSE {MISFIT} END")]


_WRITERS: dict[str, Writer] = {
    "String": _string,
    "ID": _string,
    "Int": _number,
    "Float": _float,
    "Boolean": _boolean,
    "BigInt": _quoted,
    "Decimal": _quoted,
    "Date": _quoted,
    "DateTime": _moment,
}


def _enum(kind: GraphQLEnumType) -> Writer:
    cases = "".join(
        f" WHEN {_constant(value.value)} THEN {literal(json_text(name))}" for name, value in kind.values.items()
    )

    def write(value: str, missing: str | None) -> Parts:
        known = f"CASE {value}{cases} ELSE {MISFIT} END"
        return [Cell(known if missing is None else f"CASE WHEN {value} IS NULL THEN {missing} ELSE {known} END")]

    return write


def _constant(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise NotPlain(f"an enum value of type {type(value).__name__}")
    return literal(value) if isinstance(value, str) else str(value)


def _array(items: Any) -> Writer:
    """Lists of non-null items; an array with a NULL in it is the executor's to refuse."""
    condition = ""
    if isinstance(items, GraphQLEnumType):
        if any(name != value.value for name, value in items.values.items()):
            raise NotPlain("a list of an enum whose names are not its values")
        condition = " AND {} <@ ARRAY[" + ", ".join(literal(name) for name in items.values) + "]::text[]"
    elif not isinstance(items, GraphQLScalarType) or items.name not in ("String", "Int"):
        raise NotPlain(f"a list of {items}")

    def write(value: str, missing: str | None) -> Parts:
        whole = f"array_position({value}, NULL) IS NULL{condition.format(value)}"
        null = "" if missing is None else f"WHEN {value} IS NULL THEN {missing} "
        return [Cell(f"CASE {null}WHEN {whole} THEN to_json({value})::text ELSE {MISFIT} END")]

    return write


def writer_of(kind: Any) -> Writer:
    """How a leaf type or a list of one is written.

    Raises:
        NotPlain: the type is made in Python.
    """
    if isinstance(kind, GraphQLEnumType):
        return _enum(kind)
    if isinstance(kind, GraphQLList):
        if not isinstance(kind.of_type, GraphQLNonNull):
            raise NotPlain("a list with nullable items")
        return _array(kind.of_type.of_type)
    if isinstance(kind, GraphQLScalarType) and kind.name in _WRITERS:
        return _WRITERS[kind.name]
    raise NotPlain(f"the type {kind}")


def check_source(kind: Any, field: "models.Field[Any, Any]") -> None:
    """Raises NotPlain where a column without conversion could hold what the type cannot."""
    source: Any = field.output_field if isinstance(field, models.GeneratedField) else field
    if isinstance(kind, GraphQLEnumType):
        fits = isinstance(source, (models.TextField, models.CharField, *_INTEGERS))
    elif isinstance(kind, GraphQLList):
        fits = source.get_internal_type() == "ArrayField"
    else:
        fits = isinstance(source, _SOURCES.get(kind.name, ()))
        # Django's classes inherit: BigIntegerField is an IntegerField, DateTimeField a DateField.
        fits = fits and not (kind.name == "Int" and isinstance(source, models.BigIntegerField))
        fits = fits and not (kind.name == "Date" and isinstance(source, models.DateTimeField))
    if not fits:
        raise NotPlain(f"{kind} from a column of type {source.get_internal_type()}")
