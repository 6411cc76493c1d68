"""Declarations: what a field is. Arguments, type and loader batch come from them; no resolver repeats what one says.

A declaration lies in the field's metadata under "declaration", for whoever compiles queries from it.
"""

import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from functools import wraps
from operator import attrgetter
from typing import Any, ClassVar

import strawberry
from django.db import models
from strawberry.annotation import StrawberryAnnotation
from strawberry.types.arguments import StrawberryArgument
from strawberry_django.fields.field import StrawberryDjangoField

from backend.core.actor import Right
from schema.context import Context, context_of
from schema.declarations import (
    Aggregate,
    Argument,
    ChildList,
    ChildPage,
    ChildTop,
    Column,
    Conversion,
    GlobalId,
    RootNode,
    RootPage,
    RootRow,
    ToOne,
)
from schema.described import described
from schema.filters.lookups import translate
from schema.loaders.request import First
from schema.phi import Phi, PhiKind
from schema.relay.ids import decode_id, decode_id_of, encode_id
from schema.relay.keyset import Order, PageArguments
from schema.relay.pages import ListSource, PageQuery, root_page


class DeclaredField(StrawberryDjangoField):
    """A field that is resolved by its declaration."""

    def __init__(
        self,
        declaration: Any,
        *,
        description: str,
        right: Right | None = None,
        arguments: tuple[Argument, ...] = (),
        **kwargs: Any,
    ) -> None:
        metadata = {"declaration": declaration, "right": right}
        super().__init__(description=description, metadata=metadata, **kwargs)
        self.declaration = declaration
        self.right = right
        self.read: Callable[[Any], Any] | None = None  # off the row alone
        if isinstance(declaration, (Column, GlobalId)):
            self.read = _column(declaration) if isinstance(declaration, Column) else _global_id(declaration)
        self._declared = [
            StrawberryArgument(
                python_name=argument.name,
                graphql_name=argument.graphql_name,
                type_annotation=StrawberryAnnotation(argument.annotation),
                description=argument.description,
                default=argument.default,
            )
            for argument in arguments
        ]

    def __copy__(self) -> "DeclaredField":
        copied = super().__copy__()
        copied.declaration, copied.right, copied.arguments = self.declaration, self.right, self.arguments
        return copied

    @property
    def arguments(self) -> list[StrawberryArgument]:
        """The declared ones; strawberry-django would add its own by the field's type."""
        return self._declared

    @arguments.setter
    def arguments(self, value: list[StrawberryArgument]) -> None:
        self._declared = value

    @property
    def is_basic_field(self) -> bool:
        """Whether the row alone answers, without context."""
        return self.read is not None

    def get_results(self, sources: Sequence[Any], context: Context, arguments: dict[str, Any]) -> Awaitable[list[Any]]:
        """The values of many rows at once, of a field that is not basic.

        Raises:
            Forbidden: the principal lacks the field's right.
            AppError: the arguments are not good.

        SQL: 1 for all rows, together with whatever else asks for the same relation in one turn of the event loop.
        """
        if self.right is not None:
            context.actor.require(self.right)
        return _RESOLVE[type(self.declaration)](self.declaration, sources, context, arguments)

    def get_result(self, source: Any, info: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:  # noqa: ARG002 - base
        """The value, or an awaitable of it."""
        if self.read is not None:
            return self.read(source)
        return First(self.get_results([source], context_of(info), kwargs))


def _column(declaration: Column) -> Callable[[Any], Any]:
    read, convert = attrgetter(declaration.attribute), declaration.convert
    if convert is None:
        return read

    def converted(source: Any) -> Any:
        value = read(source)
        return None if value is None else convert(value)

    return converted


def _global_id(declaration: GlobalId) -> Callable[[Any], Any]:
    return lambda source: encode_id(declaration.tag, source.pk)


def _keys(sources: Sequence[Any]) -> list[uuid.UUID]:
    return [source.pk for source in sources]


def _to_one(
    declaration: ToOne, sources: Sequence[Any], context: Context, _arguments: dict[str, Any]
) -> Awaitable[list[Any]]:
    keys = [getattr(source, declaration.attribute) for source in sources]
    return context.loaders.rows(declaration.model, keys)


def page_query(source: ListSource, arguments: dict[str, Any]) -> PageQuery:
    """The page that the arguments of a declared field ask for, by their Python names.

    Raises:
        BadUserInput, LimitExceeded: of the page arguments or the filter.
    """
    page = PageArguments.of(**{name: arguments.get(name) for name in ("first", "after", "last", "before")})
    return PageQuery(source, source.keyset(arguments.get("order_by")), page, translate(arguments.get("filter")))


def _child_page(
    declaration: ChildPage, sources: Sequence[Any], context: Context, arguments: dict[str, Any]
) -> Awaitable[list[Any]]:
    return context.loaders.pages(page_query(declaration.source, arguments), _keys(sources))


async def _child_top(
    declaration: ChildTop, sources: Sequence[Any], context: Context, arguments: dict[str, Any]
) -> list[Any]:
    size = 1 if declaration.single else arguments["last"]
    pages = await context.loaders.pages(page_query(declaration.source, {"first": size}), _keys(sources))
    return [next(iter(page.nodes), None) if declaration.single else page.nodes for page in pages]


def _child_list(
    declaration: ChildList, sources: Sequence[Any], context: Context, _arguments: dict[str, Any]
) -> Awaitable[list[Any]]:
    return context.loaders.many(declaration.name, declaration.rows, declaration.parent, _keys(sources))


async def _aggregate(
    declaration: Aggregate, sources: Sequence[Any], context: Context, _arguments: dict[str, Any]
) -> list[Any]:
    default = [declaration.default] * len(declaration.columns)
    found = await context.loaders.aggregates(declaration.name, declaration.text, _keys(sources))
    return [declaration.type(**dict(zip(declaration.columns, values or default, strict=True))) for values in found]


def _root_page(
    declaration: RootPage, _sources: Sequence[Any], context: Context, arguments: dict[str, Any]
) -> Awaitable[list[Any]]:
    query = page_query(declaration.source, arguments)
    if not declaration.parent_tag:
        return root_page(context.snapshot, query)
    kind = NodeKinds.by_tag[declaration.parent_tag]
    parent = decode_id_of(arguments["parent"], declaration.parent_tag, expected=kind.type_name)
    return context.loaders.pages(query, [parent])


def _root_row(
    declaration: RootRow, _sources: Sequence[Any], context: Context, arguments: dict[str, Any]
) -> Awaitable[list[Any]]:
    key = decode_id_of(arguments["id"], declaration.tag, expected=declaration.type_name)
    return context.loaders.rows(declaration.model, [key])


async def _root_node(
    _declaration: RootNode, _sources: Sequence[Any], context: Context, arguments: dict[str, Any]
) -> list[Any]:
    return [await load_node(context, *decode_id(arguments["id"]))]


# What takes all rows of a level; the root is a level of one.
_RESOLVE: dict[type, Callable[[Any, Sequence[Any], Context, dict[str, Any]], Awaitable[list[Any]]]] = {
    ToOne: _to_one,
    ChildPage: _child_page,
    ChildTop: _child_top,
    ChildList: _child_list,
    Aggregate: _aggregate,
    RootPage: _root_page,
    RootRow: _root_row,
    RootNode: _root_node,
}


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
    return DeclaredField(ChildList(name, rows, parent), description=description)


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
    description: str, source: ListSource, filter_type: type | None = None, right: Right | None = None
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
    description: str, source: ListSource, *, right: Right, filter_type: type | None = None, parent: str = ""
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


@dataclass(frozen=True, slots=True)
class NodeKind:
    """What `node(id:)` knows of a type."""

    model: type[models.Model]
    right: Right
    type_name: str


class NodeKinds:
    """The types that have global ids, by the two letters in them."""

    by_tag: ClassVar[dict[str, NodeKind]] = {}

    @classmethod
    def add(cls, tag: str, kind: NodeKind) -> None:
        """Registers a type; two types with one tag are a mistake in the code."""
        if cls.by_tag.setdefault(tag, kind) != kind:
            raise TypeError(f"the tag {tag} belongs to {cls.by_tag[tag].type_name}")


def opaque_id(tag: str, description: str) -> Any:
    """The id of an object that node(id:) does not find: it belongs to no organization's rows."""
    return DeclaredField(GlobalId(tag), description=description)


def global_id(tag: str, model: type[models.Model], type_name: str, *, right: Right) -> Any:
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


def root_node(description: str, *, right: Right) -> Any:
    """A root field that finds any row by its global id; null where the organization has none."""
    arguments = (Argument("id", strawberry.ID, "Opaque global id."),)
    return DeclaredField(RootNode(), description=description, right=right, arguments=arguments)


def resolver(description: str, *, right: Right | None) -> Callable[[Any], Any]:
    """A root field with a function of its own; `right` None: anybody who is signed in."""

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
            resolver=staticmethod(guarded), description=description, metadata={"right": right, "declaration": None}
        )

    return declare


async def load_node(context: Context, tag: str, key: uuid.UUID) -> Any:
    """The row behind a decoded global id; None where the organization has none or the type is unknown.

    Raises:
        Forbidden: the type needs a right that the principal lacks.
    """
    kind = NodeKinds.by_tag.get(tag)
    if kind is None:
        return None
    context.actor.require(kind.right)
    return await context.loaders.row(kind.model, key)


def orders(name: str, *members: Order) -> Any:
    """The closed enum of a list's orders."""
    found = Enum(name, {order.name: order for order in members})  # type: ignore[misc]  # the functional form
    return described(found, "How a list is sorted.", {order.name: order.description for order in members})
