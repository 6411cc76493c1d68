"""Declarations: what a field is. Arguments, type and loader batch come from them; no resolver repeats what one says.

A declaration lies in the field's metadata under "declaration", for whoever compiles queries from it.
"""

from collections.abc import Callable
from contextlib import aclosing
from decimal import Decimal
from enum import Enum
from functools import wraps
from typing import Any

import strawberry
from django.db import models

from backend.core.actor import Needed, Right
from backend.db.sql import Columns
from schema.context import context_of
from schema.declarations import (
    Aggregate,
    Argument,
    ChildList,
    ChildPage,
    ChildTop,
    Column,
    Computed,
    Conversion,
    GlobalId,
    RootNode,
    RootPage,
    RootRow,
    Suppressed,
    ToOne,
)
from schema.declared_field import DeclaredField
from schema.described import described
from schema.phi import Phi, PhiKind
from schema.relay.keyset import Order
from schema.relay.node import NodeKind, NodeKinds
from schema.relay.pages import ListSource
from schema.small_cells import Cells


def column(
    description: str,
    attribute: str,
    convert: Callable[[Any], Any] | None = None,
    *,
    name: str | None = None,
    phi: PhiKind | None = None,
) -> Any:
    """A plain value of the row; `phi` labels what must not leave without an account of it."""
    directives = (Phi(kind=phi),) if phi else ()
    return DeclaredField(Column(attribute, convert), description=description, graphql_name=name, directives=directives)


def computed(description: str, columns: Columns, python: Callable[..., Any], sql: Callable[..., str]) -> Any:
    """A value of several columns of the row, as Python and as SQL make it; null where one of them has none."""
    return DeclaredField(Computed(columns, python, sql), description=description)


def figure(description: str, attribute: str, cells: Cells) -> Any:
    """A plain value that follows from the counts of the row: null where they are hidden from who asks."""
    text = f"{description} Null where suppressed."
    return DeclaredField(Column(attribute, cells=cells), description=text)


def suppressed(cells: Cells) -> Any:
    """Whether the figures of the row are hidden from who asks."""
    return DeclaredField(
        Suppressed(cells),
        description="Whether the figures are null for who asks, the role VIEWER or everyone, as the organization has"
        " it: one of the counts, or the rest of one, is from 1 to 10 (DRIFTGRAPH_SMALL_CELL_MINIMUM, or more where the"
        " organization has a larger number).",
    )


dollars = Conversion(lambda cents: Decimal(cents).scaleb(-2), lambda cents: f"{cents} * 0.01")
"""Cents as dollars with two places."""
hexadecimal = Conversion(lambda value: bytes(value).hex(), lambda value: f"encode({value}, 'hex')")
"""Bytes as lower-case hexadecimal digits."""


def money(description: str, attribute: str, *, phi: PhiKind | None = None) -> Any:
    """An amount: bigint cents in the database, Decimal dollars in the API."""
    return column(description, attribute, dollars, phi=phi)


def to_one(description: str, attribute: str, model: type[models.Model]) -> Any:
    """A related row; one statement for all rows of a level."""
    return DeclaredField(ToOne(attribute, model), description=description)


def child_list(description: str, name: str, rows: Callable[[], models.QuerySet[Any]], parent: str) -> Any:
    """A short list of related rows; one statement for all parents."""
    return DeclaredField(ChildList(name, rows().model, rows, parent), description=description)


def aggregate(description: str, name: str, text: str, type_: type, columns: tuple[str, ...]) -> Any:
    """An object of grouped values; one statement for all parents (see schema.declarations.Aggregate)."""
    return DeclaredField(Aggregate(name, text, type_, columns), description=description)


def _page_arguments(source: ListSource, filter_type: type | None) -> tuple[Argument, ...]:
    found = [
        Argument(
            "order_by",
            source.orders | None,
            f"The order of the rows; {source.default_order.name} if not given. Ties are broken by id.",
        ),
        Argument("first", int | None, "Rows from the start, 0 to 100. With neither first nor last: the first 25."),
        Argument("after", str | None, "Only rows that come after this cursor, taken from the same order."),
        Argument("last", int | None, "Rows from the end, 0 to 100, still given in order. Not together with first."),
        Argument("before", str | None, "Only rows that come before this cursor, taken from the same order."),
    ]
    if filter_type is not None:
        found.insert(0, Argument("filter", filter_type | None, "Only rows that meet every condition given."))
    return tuple(found)


def child_page(
    description: str, source: ListSource, filter_type: type | None = None, right: Needed | None = None
) -> Any:
    """A page of related rows; one statement for all parents."""
    arguments = _page_arguments(source, filter_type)
    return DeclaredField(ChildPage(source, filter_type), description=description, right=right, arguments=arguments)


def child_first(description: str, source: ListSource) -> Any:
    """The first row of a child page in its default order; null where there is none. One statement for all parents."""
    return DeclaredField(ChildTop(source, single=True), description=description)


def child_top(description: str, source: ListSource, *, size: int) -> Any:
    """The first rows of a child page in its default order, as a plain list. One statement for all parents."""
    arguments = (Argument("last", int, f"How many, 0 to 100; {size} if not given.", size),)
    return DeclaredField(ChildTop(source, single=False), description=description, arguments=arguments)


def root_list(
    description: str, source: ListSource, *, right: Needed, filter_type: type | None = None, parent: str = ""
) -> Any:
    """A root field that pages a list of the organization, or of one parent with the tag `parent`."""
    arguments = _page_arguments(source, filter_type)
    if parent:
        kind = NodeKinds.by_tag[parent]
        name = kind.type_name[0].lower() + kind.type_name[1:] + "Id"
        required = Argument("parent", strawberry.ID, f"Opaque id of the {kind.type_name}.", graphql_name=name)
        arguments = (required, *arguments)
    return DeclaredField(
        RootPage(source, filter_type, parent), description=description, right=right, arguments=arguments
    )


def opaque_id(tag: str, description: str) -> Any:
    """The id of an object that node(id:) does not find: it belongs to no organization's rows."""
    return DeclaredField(GlobalId(tag), description=description)


def global_id(tag: str, model: type[models.Model], type_name: str, *, right: Needed) -> Any:
    """The field `id` of a type that is a Node."""
    NodeKinds.add(tag, NodeKind(model, right, type_name))
    return opaque_id(tag, f"Opaque id of this {type_name}, for node(id:) and filters.")


def root_row(description: str, tag: str) -> Any:
    """A root field that finds one row by its global id; null where the organization has none."""
    kind = NodeKinds.by_tag[tag]
    return DeclaredField(
        RootRow(kind.model, tag, kind.type_name),
        description=description,
        right=kind.right,
        arguments=(Argument("id", strawberry.ID, f"Opaque id of the {kind.type_name}."),),
    )


def root_node(description: str) -> Any:
    """A root field that finds any row by its global id, with the right of its type; null where there is none."""
    arguments = (Argument("id", strawberry.ID, "Opaque global id."),)
    return DeclaredField(RootNode(), description=description, arguments=arguments)


def resolver(
    description: str, *, right: Right | None, directives: tuple[Any, ...] = (), statements: int = 0
) -> Callable[[Any], Any]:
    """A root field with a function of its own; `right` None: anybody who is signed in.

    `statements` are those of SQL that it reads with at most; of a list, at most one for each item.
    """

    def declare(function: Any) -> Any:
        plain = getattr(function, "__func__", function)

        @wraps(plain)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            info = kwargs.get("info") or next(arg for arg in args if isinstance(arg, strawberry.Info))
            actor = context_of(info).actor
            if right is not None:
                actor.require(right)
            return await plain(*args, **kwargs)

        return strawberry.field(
            resolver=staticmethod(guarded),
            description=description,
            metadata={"right": right, "declaration": None, "statements": statements},
            directives=directives,
        )

    return declare


def subscription(description: str, *, right: Right) -> Callable[[Any], Any]:
    """A root field whose events a generator yields, for those who have the right when it begins."""

    def declare(function: Any) -> Any:
        plain = getattr(function, "__func__", function)

        @wraps(plain)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            info = kwargs.get("info") or next(arg for arg in args if isinstance(arg, strawberry.Info))
            context_of(info).actor.require(right)
            async with aclosing(plain(*args, **kwargs)) as events:
                async for event in events:
                    yield event

        return strawberry.subscription(
            resolver=staticmethod(guarded), description=description, metadata={"right": right, "declaration": None}
        )

    return declare


def orders(name: str, *members: Order) -> Any:
    """The closed enum of a list's orders."""
    found = Enum(name, {order.name: order for order in members})  # type: ignore[misc]  # the functional form
    return described(found, "How a list is sorted.", {order.name: order.description for order in members})
