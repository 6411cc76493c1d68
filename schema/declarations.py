"""What a field can be: the declarations, as values. How one makes and resolves a field stands in schema.declare."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import strawberry
from django.db import models

from backend.db.sql import Columns
from schema.relay.pages import ListSource
from schema.small_cells import Cells


@dataclass(frozen=True, slots=True)
class Conversion:
    """What the API serves of what the database keeps, said twice: the two give the same JSON text.

    `sql` takes an SQL expression and gives one whose text is what the field's scalar serializes. `nullable` says that a
    value that is there can become none.
    """

    python: Callable[[Any], Any]
    sql: Callable[[str], str]
    nullable: bool = False

    def __call__(self, value: Any) -> Any:
        """The value, in Python."""
        return self.python(value)


@dataclass(frozen=True, slots=True)
class Column:
    """A value of the row itself; `convert` turns what the database keeps into what the API serves.

    With a plain function as `convert` the field needs Python; with a Conversion, SQL can make it too. With `cells` it
    is null where they are hidden.
    """

    attribute: str
    convert: Callable[[Any], Any] | None = None
    cells: Cells | None = None


@dataclass(frozen=True, slots=True)
class Computed:
    """A value of several columns, said twice as by a Conversion; null where one of them has none.

    `python` takes their values and `sql` their expressions, both in the order of `columns`.
    """

    columns: Columns
    python: Callable[..., Any]
    sql: Callable[..., str]


@dataclass(frozen=True, slots=True)
class Suppressed:
    """Whether figures of the row are null because its cells are hidden."""

    cells: Cells


@dataclass(frozen=True, slots=True)
class GlobalId:
    """The row's opaque id."""

    tag: str


@dataclass(frozen=True, slots=True)
class ToOne:
    """A row that this row points at."""

    attribute: str  # the column with the key, such as payer_id
    model: type[models.Model]


@dataclass(frozen=True, slots=True)
class ChildPage:
    """A page of rows that point at this row."""

    source: ListSource
    filter: type | None


@dataclass(frozen=True, slots=True)
class ChildTop:
    """The first rows of a child page as a plain list, or the very first one."""

    source: ListSource
    single: bool


@dataclass(frozen=True, slots=True)
class ChildList:
    """All rows that point at this row, of which there are never many."""

    name: str
    model: type[models.Model]
    rows: Callable[[], models.QuerySet[Any]]
    parent: str


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What a grouped statement says of this row: an object whose fields are named like the statement's columns.

    `text` takes a list of keys as `ANY(%s)` and gives a row (key, one value per column) for each key that it knows of;
    `default` is the value of every column for the others.
    """

    name: str
    text: str
    type: type
    columns: tuple[str, ...]
    default: int = 0


@dataclass(frozen=True, slots=True)
class RootPage:
    """A page of a list of the organization; of one parent's where the source is nested."""

    source: ListSource
    filter: type | None
    parent_tag: str = ""


@dataclass(frozen=True, slots=True)
class RootRow:
    """One row of the organization by its id."""

    model: type[models.Model]
    tag: str
    type_name: str


@dataclass(frozen=True, slots=True)
class RootNode:
    """Any row of the organization by its global id, which says of which type it is."""


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a field."""

    name: str
    annotation: Any
    description: str
    default: Any = strawberry.UNSET
    graphql_name: str | None = None


def columns_read(declaration: Any) -> Columns | None:
    """The columns of its row that a field reads, beside the id, which is always read; None: that is not known."""
    match declaration:
        case Column(attribute, _, cells):
            return (attribute, *(cells.columns if cells else ()))
        case Computed(columns):
            return columns
        case Suppressed(cells):
            return cells.columns
        case ToOne(attribute, _):
            return (attribute,)
        case GlobalId() | ChildPage() | ChildTop() | ChildList() | Aggregate():
            return ()
        case _:
            return None
