"""What an operation selects, ready to be executed many times: how each field is read, and what it must become."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db.models import Model
from graphql import (
    FragmentDefinitionNode,
    GraphQLAbstractType,
    GraphQLField,
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    SelectionSetNode,
    is_abstract_type,
    is_leaf_type,
)
from graphql.execution.values import VariableValues

from backend.db.sql import Columns
from schema.execution.compiled.columns import columns_below
from schema.execution.compiled.leaves import Column, One, column, completer
from schema.execution.core import argument_values, declared, python_arguments, reader, surely
from schema.execution.selection import Selection, collect


@dataclass(frozen=True, slots=True)
class Document:
    """Where selections are collected from; `conditions` are the values of the variables in @skip and @include."""

    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    conditions: Mapping[str, Any]


class Shape:
    """What the value at one position of the answer must become.

    `depth` is the length of the position's path, `anchor` that of its longest beginning that may be null: there an
    error leaves a null.
    """

    def __init__(self, field: "FieldPlan", depth: int, anchor: int, *, required: bool) -> None:
        self.field, self.depth, self.anchor, self.required = field, depth, anchor, required


class Leaf(Shape):
    """A scalar or an enum."""

    def __init__(self, kind: GraphQLLeafType, field: "FieldPlan", depth: int, anchor: int, *, required: bool) -> None:
        super().__init__(field, depth, anchor, required=required)
        self.one: One = completer(kind, field.missing if required else None)
        self.column: Column = column(kind, self.one)


class Items(Shape):
    """A list."""

    def __init__(
        self, kind: "GraphQLList[Any]", field: "FieldPlan", depth: int, anchor: int, *, required: bool
    ) -> None:
        super().__init__(field, depth, anchor, required=required)
        self.item = field.shape_of(kind.of_type, depth + 1, anchor)


class Fields(Shape):
    """An object of a known type."""

    def __init__(self, kind: GraphQLObjectType, field: "FieldPlan", depth: int, anchor: int, *, required: bool) -> None:
        super().__init__(field, depth, anchor, required=required)
        self.plan = field.plan_of(kind, self)


class Abstract(Shape):
    """An object of a type that the value itself decides."""

    def __init__(
        self, kind: GraphQLAbstractType, field: "FieldPlan", depth: int, anchor: int, *, required: bool
    ) -> None:
        super().__init__(field, depth, anchor, required=required)
        self.kind = kind
        self._plans: dict[GraphQLObjectType, ObjectPlan] = {}

    def plan(self, kind: GraphQLObjectType) -> "ObjectPlan":
        """The plan for one of the possible types."""
        if kind not in self._plans:
            self._plans[kind] = self.field.plan_of(kind, self)
        return self._plans[kind]


class FieldPlan:
    """One response key of an object."""

    def __init__(
        self, document: Document, parent: "ObjectPlan", selection: Selection, definition: GraphQLField
    ) -> None:
        self.key, self.name, self.nodes = selection.key, selection.name, list(selection.nodes)
        self.definition, self.parent = definition, parent.kind
        self._document = document
        self.missing = f"Cannot return null for non-nullable field {parent.kind}.{selection.name}."
        self.read = reader(definition)
        self.declared = declared(definition)
        self._takes_arguments = bool(definition.args or self.nodes[0].arguments)
        self.shape = self.shape_of(definition.type, parent.depth + 1, parent.anchor)
        self.same: str | None = None
        """The key of an earlier field that gives the same value, and is read off the object as a leaf."""

    @property
    def is_plain(self) -> bool:
        """Whether it is a leaf that is read off the object, the same for every key."""
        return self.read is not None and isinstance(self.shape, Leaf) and not self._takes_arguments

    def shape_of(self, kind: Any, depth: int, anchor: int) -> Shape:
        """The shape of a type at a position of this field's value, inside one whose anchor is known."""
        required = isinstance(kind, GraphQLNonNull)
        bare = kind.of_type if required else kind
        anchor = anchor if required else depth
        make: Callable[..., Shape] = Fields
        if is_leaf_type(bare):
            make = Leaf
        elif isinstance(bare, GraphQLList):
            make = Items
        elif is_abstract_type(bare):
            make = Abstract
        return make(bare, self, depth, anchor, required=required)

    def plan_of(self, kind: GraphQLObjectType, shape: Shape) -> "ObjectPlan":
        """The plan of the objects that this field leads to."""
        sets = [node.selection_set for node in self.nodes if node.selection_set]
        return ObjectPlan(self._document, kind, sets, shape.depth, shape.anchor)

    def arguments(self, variables: VariableValues) -> dict[str, Any]:
        """The arguments as a resolver of graphql-core takes them.

        Raises:
            GraphQLError: an argument is missing or does not fit.
        """
        return argument_values(self.definition, self.nodes[0], variables) if self._takes_arguments else {}

    def python_arguments(self, variables: VariableValues) -> dict[str, Any]:
        """The arguments as a declared field takes them.

        Raises:
            GraphQLError: an argument is missing or does not fit.
        """
        return python_arguments(self.definition, self.arguments(variables)) if self._takes_arguments else {}


class ObjectPlan:
    """The fields of an object type at one position; looked at when there first is such an object."""

    def __init__(
        self,
        document: Document,
        kind: GraphQLObjectType,
        sets: Iterable[SelectionSetNode],
        depth: int = 0,
        anchor: int = 0,
    ) -> None:
        self._document, self.kind, self._sets = document, kind, sets
        self.depth, self.anchor = depth, anchor
        self.surely = surely(kind)

    @cached_property
    def selections(self) -> dict[str, Selection]:
        """What is selected, by response key."""
        document = self._document
        return collect(document.schema, document.fragments, document.conditions, self.kind, self._sets)

    @cached_property
    def fields(self) -> dict[str, FieldPlan]:
        """The fields by response key; `__typename` is none, since its value is known."""
        found: dict[str, FieldPlan] = {}
        plain: dict[str, str] = {}
        for key, one in self.selections.items():
            definition = self._document.schema.get_field(self.kind, one.name)
            if definition is not None and one.name != "__typename":
                field = found[key] = FieldPlan(self._document, self, one, definition)
                if field.is_plain:
                    first = plain.setdefault(one.name, key)
                    field.same = first if first != key else None
        return found

    @cached_property
    def columns(self) -> Mapping[type[Model], Columns]:
        """What is read of the rows below, by model; of models that are not there: all columns."""
        document = self._document
        return columns_below(document.schema, document.fragments, document.conditions, self.kind, self._sets)

    @cached_property
    def template(self) -> dict[str, Any]:
        """An object of the answer as it is begun: every key at its place."""
        typename = self.kind.name
        return {key: typename if one.name == "__typename" else None for key, one in self.selections.items()}
