"""The price of an operation on the actual values of its variables: a walk over what it selects."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.conf import settings
from graphql import (
    ArgumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLAbstractType,
    GraphQLField,
    GraphQLInt,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    GraphQLType,
    OperationDefinitionNode,
    SelectionSetNode,
    Undefined,
    ValueNode,
    VariableNode,
    Visitor,
    get_named_type,
    is_abstract_type,
    is_composite_type,
    is_list_type,
    is_non_null_type,
    type_from_ast,
    visit,
)
from graphql.utilities import coerce_input_value, value_from_ast_untyped

from schema.cost.conditions import FILTER, conditions_in, conditions_of, filter_variables
from schema.cost.directives import Cost, ListSize
from schema.cost.introspection import Introspection
from schema.declared_field import DeclaredField
from schema.execution.selection import Selection, collect
from schema.execution.selection import conditions_of as directives_of

_FEW = 10  # items of a list that says nothing of its size
_COUNTS = ("totalCount", "totalCountPrecision")  # of a page, which is counted once for both


@dataclass(frozen=True, slots=True)
class FieldPrice:
    """What the directives of a field say."""

    weight: int
    listed: bool
    assumed: int | None
    slicing: tuple[tuple[str, bool], ...]  # arguments that say how many items there are, and whether they are lists
    sized: tuple[str, ...]
    statements: int  # that answer it for all parents together, at most


@cache
def _price(field_: "_Known") -> FieldPrice:
    definition = field_.field.extensions.get("strawberry-definition")
    directives: Sequence[Any] = getattr(definition, "directives", ())
    cost = next((one for one in directives if isinstance(one, Cost)), None)
    size = next((one for one in directives if isinstance(one, ListSize)), None)
    composite = is_composite_type(get_named_type(field_.field.type))
    return FieldPrice(
        weight=int(cost.weight) if cost else int(composite),
        listed=_is_list(field_.field.type),
        assumed=size.assumed_size or None if size else None,
        slicing=tuple((name, _is_list(field_.field.args[name].type)) for name in size.slicing_arguments or ())
        if size
        else (),
        sized=tuple(size.sized_fields or ()) if size else (),
        statements=_statements(field_.name, definition),
    )


def _statements(name: str, definition: Any) -> int:
    if isinstance(definition, DeclaredField):
        return int(definition.read is None)
    declared: int = getattr(definition, "metadata", {}).get("statements", 0)
    return declared or int(name in _COUNTS)


@dataclass(frozen=True, slots=True)
class _Known:
    """A field as a key: it is the same for as long as its schema lives."""

    type_name: str
    name: str
    field: GraphQLField = field(compare=False)


@dataclass(frozen=True, slots=True)
class Line:
    """The price of one field of a document, with all that is below it."""

    path: tuple[str, ...]
    cost: int
    statements: int  # of the field alone, at most


@dataclass(frozen=True, slots=True)
class RootPrice:
    """What a root field costs: a part that is fixed, and one for each row of its list, taken to have `size`."""

    fixed: int
    each: int = 0
    size: int = 0

    @property
    def requested(self) -> int:
        """With as many rows as it may have."""
        return self.fixed + self.each * self.size

    def actual(self, rows: int) -> int:
        """With the rows that it has."""
        return self.fixed + self.each * min(rows, self.size)


@dataclass(frozen=True, slots=True)
class Price:
    """What an operation costs, by the response keys of its root fields."""

    roots: Mapping[str, RootPrice]
    requested: int

    def actual(self, rows: Mapping[str, int]) -> int:
        """What the answer costs; `rows` are those of each root field's list, a field that failed has none."""
        return max(1, sum(root.actual(rows.get(key, 0)) for key, root in self.roots.items()))


@dataclass(slots=True)
class Pricing:
    """Prices an operation; the values are those that Sizing finds in its variables."""

    schema: GraphQLSchema
    operation: OperationDefinitionNode
    fragments: Mapping[str, FragmentDefinitionNode]
    variables: Mapping[str, Any]
    _lines: dict[tuple[str, ...], Line] | None = None  # where every field is to be told
    _rows: int | None = None  # of the root list, where it is not to be what it is asked for
    _introspection: Introspection = field(init=False)
    _filters: frozenset[str] = field(init=False)  # variables

    def __post_init__(self) -> None:
        self._filters = filter_variables(self.schema, self.operation)
        self._begin()

    def _begin(self) -> None:
        limit = settings.ENVIRONMENT.max_cost
        self._introspection = Introspection(self.schema, self.fragments, self.variables, limit)

    def price(self) -> Price:
        """The price of the operation."""
        roots = {}
        for key, selection in self._collected(self._root(), (self.operation.selection_set,)).items():
            roots[key] = self._root_price(selection)
        return Price(roots, max(1, sum(root.requested for root in roots.values())))

    def itemised(self) -> list[Line]:
        """Every field with its price, sorted by path."""
        self._begin()
        self._lines = {}
        self._object(self._root(), (self.operation.selection_set,), (), 0, ())
        return sorted(self._lines.values(), key=lambda line: line.path)

    def _told(self, path: tuple[str, ...], cost: int, statements: int = 0) -> int:
        if self._lines is not None:
            # Under an interface a place is met once for each type: the dearest counts, and each has statements.
            known = self._lines.get(path, Line(path, 0, 0))
            self._lines[path] = Line(path, max(cost, known.cost), known.statements + statements)
        return cost

    def _root(self) -> GraphQLObjectType:
        found = self.schema.get_root_type(self.operation.operation)
        if found is None:
            raise TypeError("the schema has no such operations")
        return found

    def _root_price(self, selection: Selection) -> RootPrice:
        root = self._root()
        whole = self._field(root, selection, (), 0, ())
        price = self._known(root, selection.name)
        if price is None or not (price.slicing or price.assumed):
            return RootPrice(whole)
        self._rows = 0
        fixed = self._field(root, selection, (), 0, ())
        self._rows = None
        size = self._size(price, selection)
        return RootPrice(fixed, (whole - fixed) // size if size else 0, size)

    def _collected(self, kind: GraphQLObjectType, sets: Sequence[SelectionSetNode]) -> dict[str, Selection]:
        return collect(self.schema, self.fragments, self.variables, kind, sets)

    def _known(self, kind: GraphQLObjectType, name: str) -> FieldPrice | None:
        found = kind.fields.get(name)
        return _price(_Known(kind.name, name, found)) if found is not None else None

    def _object(
        self,
        kind: GraphQLObjectType,
        sets: Sequence[SelectionSetNode],
        sized: tuple[str, ...],
        size: int,
        path: tuple[str, ...],
    ) -> int:
        found = self._collected(kind, sets)
        counts = [key for key, selection in found.items() if selection.name in _COUNTS]
        return sum(
            self._field(kind, selection, sized, size, (*path, key), counted=key in counts[1:])
            for key, selection in found.items()
        )

    def _field(
        self,
        kind: GraphQLObjectType,
        selection: Selection,
        sized: tuple[str, ...],
        size: int,
        path: tuple[str, ...],
        *,
        counted: bool = False,  # for a field beside it
    ) -> int:
        price = self._known(kind, selection.name)
        if price is None:
            return self._told(path, self._introspection.cost(selection))
        rows = self._rows if self._rows is not None and not sized and kind is self._root() else None
        count = self._size(price, selection) if rows is None else rows
        cost, times = price.weight, 1
        if price.listed:
            times = size if selection.name in sized else count
        sets = [node.selection_set for node in selection.nodes if node.selection_set is not None]
        if sets:
            cost += self._composite(kind.fields[selection.name].type, sets, (price.sized, count), path)
        statements = min(price.statements, count) if price.listed else price.statements
        return self._told(path, cost * times + self._conditions(selection), 0 if counted else statements)

    def _conditions(self, selection: Selection) -> int:
        for argument in selection.nodes[0].arguments or ():
            if argument.name.value == FILTER:
                return conditions_of(argument.value, self.variables, self._filters)
        return 0

    def _composite(
        self,
        output: GraphQLOutputType,
        sets: Sequence[SelectionSetNode],
        sizing: tuple[tuple[str, ...], int],
        path: tuple[str, ...],
    ) -> int:
        named = get_named_type(output)
        if isinstance(named, GraphQLObjectType):
            return self._object(named, sets, *sizing, path)
        if not is_abstract_type(named):
            return 0
        return max((self._object(kind, sets, *sizing, path) for kind in self._types(named)), default=0)

    def _types(self, abstract: GraphQLAbstractType) -> Iterator[GraphQLObjectType]:
        yield from self.schema.get_possible_types(abstract)

    def _size(self, price: FieldPrice, selection: Selection) -> int:
        given = {node.name.value: node.value for node in selection.nodes[0].arguments or ()}
        for name, is_list in price.slicing:
            found = self._amount(given[name], is_list=is_list) if name in given else None
            if found is not None:
                return max(0, found)
        return _FEW if price.assumed is None else price.assumed

    def _amount(self, node: ValueNode, *, is_list: bool) -> int | None:
        if isinstance(node, VariableNode):
            return self.variables.get(node.name.value)
        return amount(value_from_ast_untyped(node), is_list=is_list)


def _is_list(kind: GraphQLType | None) -> bool:
    return is_list_type(kind.of_type if is_non_null_type(kind) else kind)


def amount(value: Any, *, is_list: bool) -> int | None:
    """The number that an Int says, or the length of a list, once GraphQL has coerced the value.

    None of null, and of a value that does not fit.
    """
    if value is None:
        return None
    if is_list:
        return len(value) if isinstance(value, list) else 1
    # An Int may be sent as 100.0; true is a number to Python alone.
    if type(value) is int:
        return value
    found = coerce_input_value(value, GraphQLInt)
    return None if found is Undefined else found


@dataclass(frozen=True, slots=True)
class Sizing:
    """What of an operation's variables its price depends on: amounts, conditions of filters, and truth."""

    amounts: Mapping[str, bool] = field(default_factory=dict)  # whether it is a list; else it is an Int
    conditions: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)  # not coerced
    filters: tuple[str, ...] = ()

    def values(self, raw: Mapping[str, Any] | None) -> dict[str, Any]:
        """Amounts, numbers of conditions and truth by name, the same ones in the same order each time.

        Raw values need not be good.
        """
        given = {**self.defaults, **raw} if raw and self.defaults else raw or self.defaults
        found: dict[str, Any] = {
            name: amount(given.get(name), is_list=is_list) for name, is_list in self.amounts.items()
        }
        for name in self.filters:
            found[name] = conditions_in(given.get(name))
        for name in self.conditions:
            found[name] = given.get(name) is True
        return found


class _Arguments(Visitor):
    """Finds the variables that are a whole argument, which alone can say a size; and those in filters."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.in_filters: set[str] = set()
        self._is_filter = False

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        values = (argument.value for argument in node.arguments or ())
        self.names.update(value.name.value for value in values if isinstance(value, VariableNode))

    def enter_argument(self, node: ArgumentNode, *_: Any) -> None:
        self._is_filter = node.name.value == FILTER

    def enter_variable(self, node: VariableNode, *_: Any) -> None:
        if self._is_filter:
            self.in_filters.add(node.name.value)

    def leave_argument(self, *_: Any) -> None:
        self._is_filter = False


def sizing_of(
    schema: GraphQLSchema, operation: OperationDefinitionNode, fragments: Mapping[str, FragmentDefinitionNode]
) -> Sizing:
    """What the price of a valid operation depends on: Int and list variables, filters, and @skip and @include."""
    visitor = _Arguments()
    for node in (operation, *fragments.values()):
        visit(node, visitor)
    filters = visitor.in_filters & filter_variables(schema, operation)
    amounts = {}
    for definition in operation.variable_definitions or ():
        name, kind = definition.variable.name.value, type_from_ast(schema, definition.type)
        if name in visitor.names - filters and (_is_list(kind) or get_named_type(kind) is GraphQLInt):
            amounts[name] = _is_list(kind)
    conditions = directives_of(operation, fragments).variables
    return Sizing(amounts, conditions, defaults(operation), tuple(sorted(filters)))


def defaults(operation: OperationDefinitionNode) -> dict[str, Any]:
    """The default values of an operation's variables, by name."""
    return {
        node.variable.name.value: value_from_ast_untyped(node.default_value)
        for node in operation.variable_definitions or ()
        if node.default_value is not None
    }
