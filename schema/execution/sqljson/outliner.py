"""From a selection to its outline: decides whether SQL alone can answer it. Rights are checked here, once per plan."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import models
from graphql import (
    FragmentDefinitionNode,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    SelectionSetNode,
)

from backend.core.actor import Right, enough
from schema.declarations import (
    Aggregate,
    ChildList,
    ChildPage,
    ChildTop,
    Column,
    Computed,
    Conversion,
    GlobalId,
    Suppressed,
    ToOne,
)
from schema.declared_field import DeclaredField
from schema.execution.core import declared
from schema.execution.selection import Selection, collect
from schema.execution.sqljson.leaves import Leaf, check_source, within_32_bits, writer_of
from schema.execution.sqljson.outcome import NotPlain
from schema.execution.sqljson.outline import (
    Connection,
    First,
    Grouped,
    Id,
    Items,
    Many,
    Neighbours,
    One,
    Page,
    Part,
    Row,
    Text,
    Total,
    Use,
)
from schema.protection import Protection

_PAGE_INFO = frozenset({"hasNextPage", "hasPreviousPage", "startCursor", "endCursor"})


def declared_field(field: Any) -> DeclaredField:
    """The declaration behind a field of the schema.

    Raises:
        NotPlain: the field has a resolver of its own.
    """
    found = declared(field)
    if found is None:
        raise NotPlain("a field with a resolver")
    return found


def _concrete(model: type[models.Model], name: str) -> Any:
    return next(one for one in model._meta.concrete_fields if one.attname == name)


def _leaf(model: type[models.Model], declaration: Column | Computed | Suppressed, kind: Any, *, required: bool) -> Leaf:
    if isinstance(declaration, Column):
        expression, nullable = _column(model, declaration, kind)
    elif isinstance(declaration, Computed):
        expression, nullable = _computed(model, declaration, kind)
    else:
        expression, nullable = declaration.cells.sql(), False
    return Leaf(expression, writer_of(kind), nullable=nullable, required=required)


def _column(model: type[models.Model], declaration: Column, kind: Any) -> tuple[str, bool]:
    field = _concrete(model, declaration.attribute)
    expression, nullable = f'{{row}}."{field.column}"', bool(field.null)
    if isinstance(declaration.convert, Conversion):
        nullable |= declaration.convert.nullable
        expression = f"({declaration.convert.sql(expression)})"
    elif declaration.convert is not None:
        raise NotPlain("a value made in Python")
    else:
        check_source(kind, field)
    if declaration.cells is not None:
        nullable, expression = True, f"CASE WHEN NOT {declaration.cells.sql()} THEN {expression} END"
    return expression, nullable


def _computed(model: type[models.Model], declaration: Computed, kind: Any) -> tuple[str, bool]:
    fields = [_concrete(model, name) for name in declaration.columns]
    value = declaration.sql(*[f'{{row}}."{field.column}"' for field in fields])
    expression = f"({within_32_bits(value) if kind is GraphQLInt else value})"
    return expression, any(field.null for field in fields)


def _bare(kind: Any) -> tuple[Any, bool]:
    """A type without its outer non-null, and whether it had one."""
    return (kind.of_type, True) if isinstance(kind, GraphQLNonNull) else (kind, False)


def _item(kind: Any) -> GraphQLObjectType:
    """The object type of a list or of a field."""
    kind = _bare(kind)[0]
    found = _bare(kind.of_type)[0] if isinstance(kind, GraphQLList) else kind
    if not isinstance(found, GraphQLObjectType):
        raise NotPlain(f"an abstract type: {found}")
    return found


def _seen_by_executor(model: type[models.Model]) -> None:
    """Raises NotPlain where an account of the rows is to be given: below another row, their ids are inside a text."""
    if model in Protection.models:
        raise NotPlain("protected rows below others")


class Outliner:
    """Reads the selection of one root field; `uses` are its fields with arguments, in the order of the document."""

    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: Mapping[str, Any],
        rights: frozenset[Right],
    ) -> None:
        self._schema, self._fragments, self._variables, self._rights = schema, fragments, variables, rights
        self.uses: list[Use] = []

    def use(self, parent: GraphQLObjectType, selection: Selection) -> Use:
        """Registers a field with arguments."""
        field = parent.fields[selection.name]
        found = Use(len(self.uses), field, selection.nodes[0], self._declared(field).declaration)
        self.uses.append(found)
        return found

    def _declared(self, field: Any) -> DeclaredField:
        found = declared_field(field)
        if found.right is not None and not enough(self._rights, found.right):
            raise NotPlain("a right is missing")
        return found

    def _selections(self, kind: GraphQLObjectType, selection: Selection) -> Iterable[Selection]:
        sets: list[SelectionSetNode] = [node.selection_set for node in selection.nodes if node.selection_set]
        return collect(self._schema, self._fragments, self._variables, kind, sets).values()

    def row(self, kind: Any, model: type[models.Model], selection: Selection) -> Row:
        """The outline of one row of a model as an object type.

        Raises:
            NotPlain: part of it needs Python or a right.
        """
        parent = _item(kind)
        fields = [(one.key, self._part(parent, model, one)) for one in self._selections(parent, selection)]
        return Row(model, tuple(fields))

    def _part(self, parent: GraphQLObjectType, model: type[models.Model], selection: Selection) -> Part:
        if selection.name == "__typename":
            return Text(parent.name)
        field = parent.fields[selection.name]
        declaration = self._declared(field).declaration
        kind, required = _bare(field.type)
        if isinstance(declaration, (Column, Computed, Suppressed)):
            return _leaf(model, declaration, kind, required=required)
        if isinstance(declaration, GlobalId):
            return Id(declaration.tag)
        if isinstance(declaration, ToOne):
            _seen_by_executor(declaration.model)
            return One(declaration, required, self.row(kind, declaration.model, selection))
        return self._many(parent, declaration, kind, selection)

    def _many(self, parent: GraphQLObjectType, declaration: Any, kind: Any, selection: Selection) -> Part:
        """What is made of many rows: pages, short lists and grouped values."""
        if isinstance(declaration, (ChildPage, ChildTop)):
            _seen_by_executor(declaration.source.model)
        if isinstance(declaration, ChildPage):
            use = self.use(parent, selection)
            return Page(use, self.connection(kind, declaration.source.model, selection))
        if isinstance(declaration, ChildTop):
            use = self.use(parent, selection)
            return First(use, declaration.single, self.row(kind, declaration.source.model, selection))
        if isinstance(declaration, ChildList):
            _seen_by_executor(declaration.model)
            return Many(declaration, self.row(kind, declaration.model, selection))
        if isinstance(declaration, Aggregate):
            return self._grouped(declaration, kind, selection)
        raise NotPlain(f"a declaration of type {type(declaration).__name__}")

    def _grouped(self, declaration: Aggregate, kind: Any, selection: Selection) -> Grouped:
        parent = _item(kind)
        fields: list[tuple[str, str | Text]] = []
        for one in self._selections(parent, selection):
            if one.name not in declaration.columns and one.name != "__typename":
                raise NotPlain("a value that is no column of its statement")
            fields.append((one.key, Text(parent.name) if one.name == "__typename" else one.name))
        return Grouped(declaration, tuple(fields))

    def connection(self, kind: Any, model: type[models.Model], selection: Selection) -> Connection:
        """The outline of a page.

        Raises:
            NotPlain: part of it needs Python or a right.
        """
        parent = _item(kind)
        fields: list[tuple[str, Items | Neighbours | Total | Text]] = []
        for one in self._selections(parent, selection):
            found: Items | Neighbours | Total | Text
            if one.name == "__typename":
                found = Text(parent.name)
            elif one.name == "nodes":
                found = Items(self.row(parent.fields["nodes"].type, model, one))
            elif one.name == "edges":
                found = Items(None, self._edge(_item(parent.fields["edges"].type), model, one))
            elif one.name == "pageInfo":
                found = self._neighbours(_item(parent.fields["pageInfo"].type), one)
            else:
                found = Total(precision=one.name == "totalCountPrecision")
            fields.append((one.key, found))
        return Connection(model, tuple(fields))

    def _edge(
        self, kind: GraphQLObjectType, model: type[models.Model], selection: Selection
    ) -> tuple[tuple[str, Row | Text | None], ...]:
        fields: list[tuple[str, Row | Text | None]] = []
        for one in self._selections(kind, selection):
            if one.name == "node":
                fields.append((one.key, self.row(kind.fields["node"].type, model, one)))
            else:
                fields.append((one.key, Text(kind.name) if one.name == "__typename" else None))
        return tuple(fields)

    def _neighbours(self, kind: GraphQLObjectType, selection: Selection) -> Neighbours:
        fields: list[tuple[str, str | Text]] = []
        for one in self._selections(kind, selection):
            if one.name not in _PAGE_INFO and one.name != "__typename":
                raise NotPlain("an unknown field of pageInfo")
            fields.append((one.key, Text(kind.name) if one.name == "__typename" else one.name))
        return Neighbours(tuple(fields))
