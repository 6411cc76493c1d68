"""The field that its declaration resolves: for one row, and for all rows of a level at once."""

import uuid
from collections.abc import Awaitable, Callable, Sequence
from operator import attrgetter
from typing import Any

from strawberry.annotation import StrawberryAnnotation
from strawberry.types.arguments import StrawberryArgument
from strawberry_django.fields.field import StrawberryDjangoField

from backend.core.actor import Needed
from backend.db.sql import Columns
from schema.context import Context, context_of
from schema.cost.directives import prices
from schema.declarations import (
    Aggregate,
    Argument,
    ChildList,
    ChildPage,
    ChildTop,
    Column,
    Computed,
    GlobalId,
    RootNode,
    RootPage,
    RootRow,
    Suppressed,
    ToOne,
)
from schema.filters.lookups import translate
from schema.loaders.request import First
from schema.relay.ids import decode_id, decode_id_of, id_encoder
from schema.relay.keyset import PageArguments
from schema.relay.node import NodeKinds
from schema.relay.pages import ListSource, PageQuery, root_page


class DeclaredField(StrawberryDjangoField):
    """A field that is resolved by its declaration."""

    def __init__(
        self,
        declaration: Any,
        *,
        description: str,
        right: Needed | None = None,
        arguments: tuple[Argument, ...] = (),
        **kwargs: Any,
    ) -> None:
        metadata = {"declaration": declaration, "right": right}
        directives = (*kwargs.pop("directives", ()), *prices(declaration))
        super().__init__(description=description, metadata=metadata, directives=directives, **kwargs)
        self.declaration = declaration
        self.right = right
        self.read: Callable[[Any], Any] | None = None  # off the row alone
        if type(declaration) in _READ:
            self.read = _READ[type(declaration)](declaration)
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
    read, convert, cells = attrgetter(declaration.attribute), declaration.convert, declaration.cells
    if cells is not None:
        return lambda source: None if cells.are_hidden(source) else read(source)
    if convert is None:
        return read

    def converted(source: Any) -> Any:
        value = read(source)
        return None if value is None else convert(value)

    return converted


def _computed(declaration: Computed) -> Callable[[Any], Any]:
    read, python = attrgetter(*declaration.columns), declaration.python

    def computed(source: Any) -> Any:
        values = read(source)
        return None if None in values else python(*values)

    return computed


def _global_id(declaration: GlobalId) -> Callable[[Any], Any]:
    encode = id_encoder(declaration.tag)
    return lambda source: encode(source.id)


def _suppressed(declaration: Suppressed) -> Callable[[Any], Any]:
    return declaration.cells.are_hidden


_READ: dict[type, Callable[[Any], Callable[[Any], Any]]] = {
    Column: _column,
    Computed: _computed,
    GlobalId: _global_id,
    Suppressed: _suppressed,
}


def _keys(sources: Sequence[Any]) -> list[uuid.UUID]:
    return [source.id for source in sources]


def _to_one(
    declaration: ToOne, sources: Sequence[Any], context: Context, _arguments: dict[str, Any]
) -> Awaitable[list[Any]]:
    keys = [getattr(source, declaration.attribute) for source in sources]
    return context.loaders.rows(declaration.model, keys, context.columns.get(declaration.model))


def page_query(source: ListSource, arguments: dict[str, Any], columns: Columns | None = None) -> PageQuery:
    """The page that the arguments of a declared field ask for, by their Python names, and by its columns.

    Raises:
        BadUserInput, LimitExceeded: of the page arguments or the filter.
    """
    page = PageArguments.of(**{name: arguments.get(name) for name in ("first", "after", "last", "before")})
    keyset = source.keyset(arguments.get("order_by"))
    if columns is not None:
        columns = tuple(dict.fromkeys((*columns, *keyset.columns)))  # cursors are made of them
    return PageQuery(source, keyset, page, translate(arguments.get("filter")), columns)


def _page(source: ListSource, context: Context, arguments: dict[str, Any]) -> PageQuery:
    return page_query(source, arguments, context.columns.get(source.model))


def _child_page(
    declaration: ChildPage, sources: Sequence[Any], context: Context, arguments: dict[str, Any]
) -> Awaitable[list[Any]]:
    return context.loaders.pages(_page(declaration.source, context, arguments), _keys(sources))


async def _child_top(
    declaration: ChildTop, sources: Sequence[Any], context: Context, arguments: dict[str, Any]
) -> list[Any]:
    size = 1 if declaration.single else arguments["last"]
    pages = await context.loaders.pages(_page(declaration.source, context, {"first": size}), _keys(sources))
    return [next(iter(page.nodes), None) if declaration.single else page.nodes for page in pages]


def _child_list(
    declaration: ChildList, sources: Sequence[Any], context: Context, _arguments: dict[str, Any]
) -> Awaitable[list[Any]]:
    columns = context.columns.get(declaration.model)
    return context.loaders.many(declaration.name, declaration.rows, declaration.parent, _keys(sources), columns)


async def _aggregate(
    declaration: Aggregate, sources: Sequence[Any], context: Context, _arguments: dict[str, Any]
) -> list[Any]:
    default = [declaration.default] * len(declaration.columns)
    found = await context.loaders.aggregates(declaration.name, declaration.text, _keys(sources))
    return [declaration.type(**dict(zip(declaration.columns, values or default, strict=True))) for values in found]


def _root_page(
    declaration: RootPage, _sources: Sequence[Any], context: Context, arguments: dict[str, Any]
) -> Awaitable[list[Any]]:
    query = _page(declaration.source, context, arguments)
    if not declaration.parent_tag:
        return root_page(context.snapshot, query, context.note)
    kind = NodeKinds.by_tag[declaration.parent_tag]
    parent = decode_id_of(arguments["parent"], declaration.parent_tag, expected=kind.type_name)
    return context.loaders.pages(query, [parent])


def _root_row(
    declaration: RootRow, _sources: Sequence[Any], context: Context, arguments: dict[str, Any]
) -> Awaitable[list[Any]]:
    key = decode_id_of(arguments["id"], declaration.tag, expected=declaration.type_name)
    return context.loaders.rows(declaration.model, [key], context.columns.get(declaration.model))


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


async def load_node(context: Context, tag: str, key: uuid.UUID) -> Any:
    """The row behind a decoded global id, for the answer: it has the columns that this is made of, perhaps no others.

    None where the organization has none or the type is unknown.

    Raises:
        Forbidden: the type needs a right that the principal lacks.
    """
    kind = NodeKinds.by_tag.get(tag)
    if kind is None:
        return None
    context.actor.require(kind.right)
    return await context.loaders.row(kind.model, key, context.columns.get(kind.model))
