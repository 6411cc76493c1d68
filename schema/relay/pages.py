"""One page of a list: its statements (root and nested), its rows, and what it says about its neighbours."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Expression, Q

from backend.core.futures import heard
from backend.db.snapshots import Snapshot
from backend.db.sql import (
    STATEMENTS,
    Columns,
    ParentKey,
    Slot,
    Statement,
    beneath,
    compiled,
    lateral,
    narrowed,
    row_reader,
)
from schema.filters.lookups import Translated
from schema.relay.keyset import Keyset, PageArguments

Note = Callable[[type[models.Model], Iterable[uuid.UUID]], None]
"""Is told which rows of a model are shown."""


@dataclass(frozen=True, slots=True)
class ListSource:
    """A list that can be paged, filtered and counted: where its rows come from and how they can be sorted."""

    key: str  # tells its statements from others in the cache
    model: type[models.Model]
    rows: Callable[[], models.QuerySet[Any]]
    orders: type[Enum]
    default_order: Enum
    parent: str | None = None  # column that holds the parent's id; None for a root list

    def keyset(self, order: Enum | None) -> Keyset:
        """The keyset of an order, or of the default one."""
        return Keyset(self.model, (order or self.default_order).value)


@dataclass(frozen=True, slots=True)
class PageQuery:
    """A page of a list as asked for: the SQL depends on `shape`, the answer also on `values`."""

    source: ListSource
    keyset: Keyset
    arguments: PageArguments
    filter: Translated
    columns: Columns | None = None  # that are read of the rows; those of the order are among them

    @property
    def shape(self) -> tuple[Any, ...]:
        """What the text of the statement depends on."""
        page = self.arguments
        return (
            self.source.key,
            self.keyset.order.name,
            page.backward,
            page.after is not None,
            page.before is not None,
            self.filter.shape,
            self.columns,
        )

    def values(self) -> dict[str, Any]:
        """The values of the slots.

        Raises:
            InvalidCursor: a cursor of another list or order.
        """
        found = {**self.filter.values, "limit": self.arguments.size + 1}
        for name, cursor in (("after", self.arguments.after), ("before", self.arguments.before)):
            if cursor is not None:
                for number, value in enumerate(self.keyset.position(cursor)):
                    found[f"{name}{number}"] = value
        return found

    def statement(self) -> Statement:
        """The rows of the page and one more, with `parents` as a slot where the list is nested."""
        return STATEMENTS.get(("page", *self.shape), lambda: self._nested(_limited(self.rows(ParentKey()))))

    def count_statement(self) -> Statement:
        """How many rows the list has, counted up to the cap."""
        key = ("count", self.source.key, self.filter.shape)
        return STATEMENTS.get(key, lambda: self._nested(self.count(ParentKey())))

    def rows_beneath(self, key: str | None) -> Statement:
        """The same as `rows`, of the parent whose key is this SQL, or the slot `parent`; Django writes it only once."""
        if key is None:
            return STATEMENTS.get(("rows", *self.shape), lambda: self.rows(Slot("parent")))
        return beneath(STATEMENTS.get(("rows beneath", *self.shape), lambda: self.rows(ParentKey())), key)

    def count_beneath(self, key: str | None) -> Statement:
        """The same as `count`, of the parent whose key is this SQL, or the slot `parent`."""
        shape = (self.source.key, self.filter.shape)
        if key is None:
            return STATEMENTS.get(("count of one", *shape), lambda: self.count(Slot("parent")))
        return beneath(STATEMENTS.get(("count beneath", *shape), lambda: self.count(ParentKey())), key)

    def rows(self, parent: Expression) -> Statement:
        """The rows after (or before) the cursors, in the order asked for, without a limit."""
        page = self.arguments
        rows = self._filtered(parent).order_by(*self.keyset.sorted(backward=page.backward))
        if page.after is not None:
            rows = rows.filter(self.keyset.beyond("after", after=True))
        if page.before is not None:
            rows = rows.filter(self.keyset.beyond("before", after=False))
        return compiled(narrowed(rows, self.columns))

    def count(self, parent: Expression) -> Statement:
        """The number of rows under the filter, with the cap as the slot `limit`."""
        inner = _limited(compiled(self._filtered(parent).order_by().values("id")))
        return Statement(f"SELECT count(*) FROM ({inner.text}) AS bounded", inner.parameters)

    def _nested(self, statement: Statement) -> Statement:
        return lateral(statement) if self.source.parent else statement

    def _filtered(self, parent: Expression) -> models.QuerySet[Any]:
        rows = self.source.rows().filter(self.filter.condition)
        return rows.filter(Q(**{self.source.parent: parent})) if self.source.parent else rows


def _limited(statement: Statement) -> Statement:
    return Statement(f"{statement.text} LIMIT %s", (*statement.parameters, Slot("limit")))


class Edge:
    """A row and where it stands."""

    __slots__ = ("_cursor", "_keyset", "node")

    def __init__(self, node: models.Model, keyset: Keyset) -> None:
        self.node = node
        self._keyset = keyset
        self._cursor: str | None = None

    @property
    def cursor(self) -> str:
        """Opaque; belongs to the list's order. Made once, however many ask."""
        if self._cursor is None:
            self._cursor = self._keyset.cursor(self.node)
        return self._cursor


@dataclass(frozen=True, slots=True)
class Count:
    """A number of rows, and whether it is all of them."""

    value: int
    exact: bool


class Page:
    """A page of rows in the order asked for; the source object of a connection."""

    def __init__(
        self, query: PageQuery, rows: list[models.Model], count: Callable[[], Awaitable[Count]], note: Note
    ) -> None:
        size, backward = query.arguments.size, query.arguments.backward
        more = len(rows) > size
        kept = rows[:size]
        self._nodes = kept[::-1] if backward else kept
        self._note, self._model = note, query.source.model
        self._keyset = query.keyset
        self._count = count
        self._counted: asyncio.Future[Count] | None = None
        # At the far end nobody asked: a cursor was given, so at least the row it names lies there.
        self.has_next_page = query.arguments.before is not None if backward else more
        self.has_previous_page = more if backward else query.arguments.after is not None

    @cached_property
    def nodes(self) -> list[models.Model]:
        """The rows."""
        self._note(self._model, (node.pk for node in self._nodes))
        return self._nodes

    @cached_property
    def edges(self) -> list[Edge]:
        """The rows with their cursors."""
        return [Edge(node, self._keyset) for node in self.nodes]

    @property
    def page_info(self) -> "Page":
        """The page itself knows its neighbours."""
        return self

    @property
    def start_cursor(self) -> str | None:
        """The first row's."""
        return self.edges[0].cursor if self.edges else None

    @property
    def end_cursor(self) -> str | None:
        """The last row's."""
        return self.edges[-1].cursor if self.edges else None

    async def total(self) -> Count:
        """How many rows the whole list has; counted when first asked for, up to DRIFTGRAPH_COUNT_CAP.

        SQL: 1 for all parents together.
        """
        if self._counted is None:
            # Kept before it is awaited: the total and its precision are asked for at the same time.
            self._counted = asyncio.ensure_future(self._count())
            self._counted.add_done_callback(heard)
        # Whoever is cancelled, as graphql-core does beside an error, stops alone.
        return await asyncio.shield(self._counted)


def bounded(value: int) -> Count:
    """A count that stopped at one over the cap."""
    cap = settings.ENVIRONMENT.count_cap
    return Count(min(value, cap), exact=value <= cap)


async def root_page(snapshot: Snapshot, query: PageQuery, note: Note) -> list[Page]:
    """A page of a root list, which has one parent: the root.

    SQL: 1, and 1 more if the total is asked for.
    """

    async def count() -> Count:
        values = {**query.filter.values, "limit": settings.ENVIRONMENT.count_cap + 1}
        statement = query.count_statement()
        rows = await snapshot.rows(statement.text, statement.bind(values))
        return bounded(rows[0][0])

    values = query.values()
    found: list[models.Model] = []
    if query.arguments.size:
        statement = query.statement()
        read = row_reader(query.source.model, query.columns)
        found = [read(row) for row in await snapshot.rows(statement.text, statement.bind(values))]
    return [Page(query, found, count, note)]
