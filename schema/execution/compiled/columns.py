"""Which columns an operation reads of each model's rows, so that its statements read no others."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, cast

from django.db.models import Model
from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLCompositeType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    SelectionNode,
    SelectionSetNode,
    get_named_type,
    is_abstract_type,
)
from graphql.language import NamedTypeNode

from backend.db.sql import Columns
from schema.execution.core import columns_of, paged_model, row_model
from schema.execution.selection import is_included

_Row = tuple[type[Model], GraphQLObjectType]


def columns_below(
    schema: GraphQLSchema,
    fragments: Mapping[str, FragmentDefinitionNode],
    variables: Mapping[str, Any],
    kind: GraphQLObjectType,
    selection_sets: Iterable[SelectionSetNode],
) -> dict[type[Model], Columns]:
    """By model the columns that are read of its rows, wherever they stand: so all positions share a statement.

    A model with a field of which it is not known what it reads is left out: that needs all columns. `variables` are the
    coerced values; only those in @skip and @include are read.
    """
    walk = _Walk(schema, fragments, variables)
    for selection_set in selection_sets:
        walk.enter(kind, selection_set)
    return walk.columns()


class _Walk:
    """Goes once over the document: each fragment is entered as its own type, whoever spreads it."""

    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: Mapping[str, Any],
    ) -> None:
        self._schema, self._fragments, self._variables = schema, fragments, variables
        self._read: defaultdict[type[Model], set[str]] = defaultdict(lambda: {"id"})
        self._unknown: set[type[Model]] = set()
        self._entered: set[str] = set()  # fragments
        self._seen: set[tuple[GraphQLNamedType, str]] = set()  # fields
        self._rows: dict[GraphQLNamedType, list[_Row]] = {}

    def columns(self) -> dict[type[Model], Columns]:
        found = {}
        for model, read in self._read.items():
            names = [field.attname for field in model._meta.concrete_fields]
            if model not in self._unknown and read.issubset(names):
                found[model] = tuple(name for name in names if name in read)
        return found

    def enter(self, kind: GraphQLNamedType, selection_set: SelectionSetNode) -> None:
        for model, _ in self._rows_of(kind):
            self._read[model]  # its id at least
        for node in selection_set.selections:
            if is_included(node, self._variables):
                self._add(kind, node)

    def _add(self, kind: GraphQLNamedType, node: SelectionNode) -> None:
        if isinstance(node, FieldNode):
            self._field(kind, node)
        elif isinstance(node, InlineFragmentNode):
            self.enter(self._narrowed(kind, node.type_condition), node.selection_set)
        elif isinstance(node, FragmentSpreadNode) and node.name.value not in self._entered:
            self._entered.add(node.name.value)
            fragment = self._fragments[node.name.value]
            self.enter(self._narrowed(kind, fragment.type_condition), fragment.selection_set)

    def _field(self, kind: GraphQLNamedType, node: FieldNode) -> None:
        name = node.name.value
        field = self._schema.get_field(cast("GraphQLCompositeType", kind), name)
        if field is None or name == "__typename":
            return
        if (kind, name) not in self._seen:
            self._seen.add((kind, name))
            if (model := paged_model(field)) is not None:
                self._read[model]  # its id at least
            for model, row in self._rows_of(kind):
                columns = columns_of(row.fields[name])
                if columns is None:
                    self._unknown.add(model)
                else:
                    self._read[model].update(columns)
        if node.selection_set:
            self.enter(get_named_type(field.type), node.selection_set)

    def _narrowed(self, kind: GraphQLNamedType, condition: NamedTypeNode | None) -> GraphQLNamedType:
        return self._schema.type_map[condition.name.value] if condition else kind

    def _rows_of(self, kind: GraphQLNamedType) -> "list[_Row]":
        """The types whose rows can stand at a position, with their models."""
        if kind not in self._rows:
            kinds = self._schema.get_possible_types(kind) if is_abstract_type(kind) else [kind]
            self._rows[kind] = [
                (model, one) for one in kinds if isinstance(one, GraphQLObjectType) and (model := row_model(one))
            ]
        return self._rows[kind]
