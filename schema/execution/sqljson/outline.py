"""What a plain root field asks for, as a tree of values: no SQL and no argument value yet."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from django.db import models
from graphql import FieldNode, GraphQLField

from schema.declarations import Aggregate, ChildList, ToOne
from schema.execution.sqljson.leaves import Leaf
from schema.execution.sqljson.texts import json_text
from schema.relay.pages import PageQuery


@dataclass(frozen=True, slots=True)
class Bound:
    """The arguments of one field in one request: the SQL depends on `shape`, the answer also on `values`."""

    shape: Hashable
    values: dict[str, Any]
    query: PageQuery | None = None

    @property
    def page(self) -> PageQuery:
        """The page asked for, of a field that has one."""
        if self.query is None:
            raise TypeError("this field is no page")
        return self.query


@dataclass(frozen=True, slots=True)
class Use:
    """A field with arguments; `number` is its place among the bounds of its root field."""

    number: int
    field: GraphQLField
    node: FieldNode
    declaration: Any


@dataclass(frozen=True, slots=True)
class Text:
    """A value that is known: __typename."""

    value: str

    @property
    def json(self) -> str:
        """As JSON text."""
        return json_text(self.value)


@dataclass(frozen=True, slots=True)
class Id:
    """The row's global id."""

    tag: str


@dataclass(frozen=True, slots=True)
class Row:
    """The fields of one row by response key, in the order of the document."""

    model: type[models.Model]
    fields: tuple[tuple[str, "Part"], ...]


@dataclass(frozen=True, slots=True)
class One:
    """A row that this row points at."""

    declaration: ToOne
    required: bool
    row: Row


@dataclass(frozen=True, slots=True)
class First:
    """The first row, or the first rows, of a child page."""

    use: Use
    single: bool
    row: Row


@dataclass(frozen=True, slots=True)
class Many:
    """All rows of a short list."""

    declaration: ChildList
    row: Row


@dataclass(frozen=True, slots=True)
class Grouped:
    """An object of grouped values: response keys with a column of the statement, or a text."""

    declaration: Aggregate
    fields: tuple[tuple[str, str | Text], ...]


@dataclass(frozen=True, slots=True)
class Items:
    """`nodes` or `edges` of a page: the JSON object of each row; `None` in a field stands for the cursor."""

    row: Row | None  # nodes
    edge: tuple[tuple[str, "Row | Text | None"], ...] = ()


@dataclass(frozen=True, slots=True)
class Neighbours:
    """`pageInfo`: response keys with the name of the field, or a text."""

    fields: tuple[tuple[str, str | Text], ...]


@dataclass(frozen=True, slots=True)
class Total:
    """`totalCount` or its precision."""

    precision: bool


@dataclass(frozen=True, slots=True)
class Connection:
    """The fields of a page by response key."""

    model: type[models.Model]
    fields: tuple[tuple[str, "Items | Neighbours | Total | Text"], ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list: of the root, or of the rows that point at this row."""

    use: Use
    connection: Connection


Part = Leaf | Text | Id | One | First | Many | Grouped | Page
