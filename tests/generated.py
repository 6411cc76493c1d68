"""Generated documents over the schema, with their variables: valid ones, whose arguments are not always good."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    Undefined,
    get_named_type,
    is_composite_type,
)
from hypothesis import strategies as st

from schema.build import core_schema
from schema.relay.ids import encode_id
from schema.relay.node import NodeKinds
from tests.every_value import COUNT, DATES, MOMENTS, TEXTS, key

_LEVELS = 2  # of rows inside rows; with pages and edges between them and values in the last, 12 levels of fields
_ALIASES, _FIELDS = 40, 50  # of a document; the product takes 50 aliases and 2,000 tokens
_SIZES = (2, 1, 3, 0, 5, 7)
_TAG_OF = {  # input fields whose ids are of one type
    "agent": "AG",
    "batch": "IB",
    "parent": "DE",
    "driftEventId": "DE",
    "payer": "PY",
    "group": "PG",
    "id": "DE",
    "detectionRunId": "DR",
    "agentRun": "RU",
    "detectionRun": "DR",
    "driftEvent": "DE",
}
_TEXT = (*TEXTS, "p00plain", "main", "DENIED", "1")
_NUMBERS = ("0.00", "0.01", "0", "12.34", "123456.78", "-1", "92233720368547758.07", "99999999999999999999", "x")
_DAYS = (*(day.isoformat() for day in DATES), "2026-03-10", "2026-02-30")
_MOMENTS = (*(moment.isoformat() for moment in MOMENTS), "2026-03-01T13:00:00.5+01:00", "2026-03-01T12:00:00")

T = TypeVar("T")
Draw = Callable[[st.SearchStrategy[Any]], Any]
Cursors = Mapping[tuple[str, str], Sequence[str]]
"""Cursors by the name of the row's type and the order that they belong to."""


@dataclass(frozen=True, slots=True)
class Value:
    """An argument's value, as it stands in a document and as it stands among variables."""

    literal: str
    plain: Any


_NULL = Value("null", None)


@dataclass(slots=True)
class Document:
    """A document and the values of its variables."""

    text: str
    variables: dict[str, Any]

    def __repr__(self) -> str:
        return f"{self.text}\n{json.dumps(self.variables)}"


@dataclass(slots=True)
class _Choices:
    """What is drawn; the first of several, and a condition that does not hold, are the simplest."""

    draw: Draw

    def one(self, values: Sequence[T]) -> T:
        found: T = self.draw(st.sampled_from(values))
        return found

    def number(self, low: int, high: int) -> int:
        found: int = self.draw(st.integers(low, high))
        return found

    def chance(self, percent: int) -> bool:
        return self.number(0, 99) >= 100 - percent


@dataclass(slots=True)
class _Values(_Choices):
    """Draws values of input types; `name` is the input field or argument that they are for."""

    def of(self, kind: Any, name: str, depth: int = 2) -> Value:
        if isinstance(kind, GraphQLNonNull):
            return self.of(kind.of_type, name, depth)
        if isinstance(kind, GraphQLList):
            items = [self.of(kind.of_type, name, depth - 1) for _ in range(self.number(0, 3))]
            return Value(f"[{', '.join(item.literal for item in items)}]", [item.plain for item in items])
        if isinstance(kind, GraphQLInputObjectType):
            return self._object(kind, name, depth)
        if isinstance(kind, GraphQLEnumType):
            member = self.one(list(kind.values))
            return Value(member, member)
        return self._scalar(kind.name, name)

    def inside(self, _kind: Any, value: Value) -> str:
        """How a value stands inside an input object of the document."""
        return value.literal

    def _scalar(self, kind: str, name: str) -> Value:
        if kind == "Boolean":
            return _json(self.one((True, False)))
        if kind == "Int":
            return _json(self.one(_SIZES) if self.chance(97) else self.one((-1, 101)))
        if kind == "ID":
            return _json(self.id(_TAG_OF.get(name, "")))
        texts: dict[str, tuple[str, ...]] = {"Date": _DAYS, "DateTime": _MOMENTS, "Decimal": _NUMBERS, "String": _TEXT}
        found = texts[kind]
        # The last of each but the texts is not a good one.
        return _json(self.one(found if kind == "String" or self.chance(5) else found[:-1]))

    def id(self, tag: str) -> str:
        if self.chance(4):
            return self.one(("", "no id", encode_id("XX", key(NodeKinds.by_tag["PY"].model, 0))))
        if not tag or self.chance(3):
            tag = self.one(sorted(NodeKinds.by_tag))
        model = NodeKinds.by_tag[tag].model
        return encode_id(tag, key(model, self.number(0, COUNT.get(model, 0))))

    def _object(self, kind: GraphQLInputObjectType, name: str, depth: int) -> Value:
        nested = {"and", "or", "not"} & kind.fields.keys()
        names = [one for one in kind.fields if depth > 0 or one not in nested]
        chosen = self.draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
        found = {}
        for one in chosen:
            inner = kind.fields[one].type
            # Comparisons of one value take the name of what they compare, a list of filters has names of its own.
            context = one if isinstance(get_named_type(inner), GraphQLInputObjectType) or one in _TAG_OF else name
            if kind.name.endswith("OfFilter"):
                context = name
            null = not isinstance(inner, GraphQLNonNull) and self.chance(2)
            found[one] = _NULL if null else self.of(inner, context, depth - (one in nested))
        literal = ", ".join(f"{one}: {self.inside(kind.fields[one].type, value)}" for one, value in found.items())
        return Value(f"{{{literal}}}", {one: value.plain for one, value in found.items()})


def _json(value: Any) -> Value:
    return Value(json.dumps(value, ensure_ascii=False), value)


@dataclass(slots=True)
class _Arguments(_Values):
    """Writes the arguments of fields; some of their values become variables."""

    cursors: Cursors
    definitions: list[str] = field(default_factory=list)
    variables: dict[str, Any] = field(default_factory=dict)
    shared: dict[str, list[str]] = field(default_factory=dict)  # variables by their type
    whole: bool = False  # whether the value in hand becomes one variable, so that none can stand in it

    def inside(self, kind: Any, value: Value) -> str:
        """The value, or a variable with it."""
        return value.literal if self.whole or not self.chance(15) else self._variable(str(kind), value)

    def arguments(self, definition: GraphQLField, name: str) -> str:
        """The arguments of a field in parentheses; nothing where it has none."""
        paging = self._page(definition) if "orderBy" in definition.args else {}
        given = []
        for argument, declared in definition.args.items():
            kind = declared.type
            required = isinstance(kind, GraphQLNonNull) and declared.default_value is Undefined
            if argument in paging:
                given.append(f"{argument}: {self._placed(kind, paging[argument])}")
            elif required or (argument not in _PAGING and self.chance(50)):
                self.whole = self.chance(40)
                null = not isinstance(kind, GraphQLNonNull) and self.chance(3)
                value = _NULL if null else self.of(kind, name if argument == "id" else argument)
                given.append(f"{argument}: {self._variable(str(kind), value) if self.whole else value.literal}")
        return f"({', '.join(given)})" if given else ""

    def directives(self) -> str:
        """Nothing, or a condition."""
        if not self.chance(12):
            return ""
        value = self._placed(GraphQLNonNull(GraphQLBoolean), _json(self.one((True, False))))
        return f" @{self.one(('include', 'skip'))}(if: {value})"

    def _page(self, definition: GraphQLField) -> dict[str, Value]:
        orders, found = get_named_type(definition.args["orderBy"].type), {}
        order = definition.extensions["strawberry-definition"].declaration.source.default_order.name
        if isinstance(orders, GraphQLEnumType) and self.chance(40):
            order = self.one(list(orders.values))
            found["orderBy"] = Value(order, order)
        for size in self.one((("first",), (), ("last",))) if self.chance(97) else ("first", "last"):
            found[size] = self.of(definition.args[size].type, size) if self.chance(97) else _NULL
        row = get_named_type(definition.type).name.removesuffix("Connection")
        for side in ("after", "before"):
            if self.chance(25):
                of = (row, order) if self.chance(95) else self.one(list(self.cursors))
                found[side] = _json(self.one(self.cursors[of]) if self.chance(97) else "no cursor")
        return found

    def _placed(self, kind: Any, value: Value) -> str:
        return self._variable(str(kind), value) if self.chance(40) else value.literal

    def _variable(self, kind: str, value: Value) -> str:
        if kind in self.shared and self.chance(40):
            return self.one(self.shared[kind])
        name = f"v{len(self.definitions)}"
        default = f" = {value.literal}" if "$" not in value.literal and self.chance(20) else ""
        self.definitions.append(f"${name}: {kind}{default}")
        # Without a value it has its default, or is as if the argument was not there.
        if (kind.endswith("!") and not default) or not self.chance(50 if default else 8):
            self.variables[name] = value.plain
        if kind in ("Int", "Boolean!"):
            self.shared.setdefault(kind, []).append(f"${name}")
        return f"${name}"


_PAGING = ("orderBy", "first", "after", "last", "before")


@dataclass(slots=True)
class _Writer(_Arguments):
    """Writes one document. A field has arguments without an alias at one place only, so that no two conflict."""

    fragments: list[str] = field(default_factory=list)
    reusable: list[tuple[str, str, int]] = field(default_factory=list)  # name, type, levels
    bare: dict[str, bool] = field(default_factory=dict)  # fields without alias: whether with arguments
    aliases: int = 0
    fields: int = 0

    def document(self) -> Document:
        """The document."""
        body = self._selection(core_schema().query_type, _LEVELS)
        variables = f"({', '.join(self.definitions)})" if self.definitions else ""
        return Document("\n".join([f"query Generated{variables} {body}", *self.fragments]), self.variables)

    def _selection(self, kind: Any, levels: int, *, aliased: bool = False) -> str:
        """A selection set; `aliased`: fields of other types stand beside it, so each needs a key of its own."""
        if isinstance(kind, GraphQLInterfaceType):
            return self._abstract(levels)
        names = self._names(kind, levels)
        more = st.lists(st.sampled_from([*names, "__typename"]), max_size=2 if kind.name == "Query" else 5)
        items = [self._field(kind, name, levels, aliased=aliased) for name in (self.one(names), *self.draw(more))]
        if self.chance(25):
            start = self.number(0, len(items) - 1)
            items[start:] = [self._fragment(kind.name, items[start:], levels, aliased=aliased)]
        known = [name for name, of, deep in self.reusable if of == kind.name and deep <= levels]
        if known and not aliased and self.chance(50):
            items.insert(self.number(0, len(items)), f"...{self.one(known)}{self.directives()}")
        return f"{{ {' '.join(items)} }}"

    def _names(self, kind: GraphQLObjectType, levels: int) -> list[str]:
        """The fields to choose among; those that lead to other rows twice, for they have the most to differ in."""
        names = []
        for name, one in kind.fields.items():
            if name == "auditEntries":
                continue  # every answer makes it longer
            inner = get_named_type(one.type)
            if not is_composite_type(inner) or _is_value(inner) or _is_between(kind):
                names.append(name)
            elif levels > 0 and self.fields < _FIELDS:
                names += [name, name]
        return names

    def _field(self, kind: GraphQLObjectType, name: str, levels: int, *, aliased: bool) -> str:
        self.fields += 1
        alone = aliased and name not in ("id", "__typename")
        alias = self._alias(100 if alone else 20)
        if name == "__typename":
            return f"{alias}{name}{self.directives()}"
        definition = kind.fields[name]
        if not alias and self.bare.get(name, False):
            alias = self._alias(100)
        if not alias and (alone or self.bare.get(name, False)):
            return "__typename"
        arguments = self.arguments(definition, name) if alias or name not in self.bare else ""
        if not alias and definition.args:
            self.bare[name] = arguments != ""
        inner = get_named_type(definition.type)
        directives, below = self.directives(), ""
        if is_composite_type(inner):
            below = " " + self._selection(inner, levels if _is_between(kind) else levels - 1)
        return f"{alias}{name}{arguments}{directives}{below}"

    def _alias(self, percent: int) -> str:
        if self.aliases >= _ALIASES or not self.chance(percent):
            return ""
        self.aliases += 1
        return f"a{self.aliases}: "

    def _fragment(self, kind: str, items: list[str], levels: int, *, aliased: bool) -> str:
        directives, body = self.directives(), f"{{ {' '.join(items)} }}"
        if self.chance(50):
            return f"...{self.one(('', f' on {kind}'))}{directives} {body}"
        name = f"F{len(self.fragments)}"
        self.fragments.append(f"fragment {name} on {kind} {body}")
        if not aliased:
            self.reusable.append((name, kind, levels))
        return f"...{name}{directives}"

    def _abstract(self, levels: int) -> str:
        """Fields of the interface, and of some of its types."""
        tags = self.draw(st.lists(st.sampled_from(sorted(NodeKinds.by_tag)), min_size=1, max_size=3, unique=True))
        items = [self.one(("id", "__typename", "... on Node { id __typename }"))]
        for number, tag in enumerate(tags):
            name = NodeKinds.by_tag[tag].type_name
            body = self._selection(core_schema().get_type(name), levels, aliased=number > 0)
            items.append(f"... on {name}{self.directives()} {body}")
        return f"{{ {' '.join(items)} }}"


def _is_between(kind: Any) -> bool:
    """Whether a type stands between rows: the root, a page or an edge."""
    return kind.name == "Query" or kind.name.endswith(("Connection", "Edge"))


def _is_value(kind: Any) -> bool:
    """Whether an object belongs to its row."""
    return isinstance(kind, GraphQLObjectType) and not kind.interfaces and not _is_between(kind)


@st.composite
def documents(draw: Draw, cursors: Cursors) -> Document:
    """A query with fragments, conditions, aliases, variables, pages, filters and orders."""
    return _Writer(draw, cursors).document()
