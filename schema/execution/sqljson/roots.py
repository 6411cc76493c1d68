"""The plain root fields of an operation: their outlines, their arguments in a request, and their plans by shape."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from itertools import count
from types import EllipsisType
from typing import Any

from graphql import FieldNode, FragmentDefinitionNode, GraphQLNonNull, GraphQLSchema, VariableNode, Visitor, visit

from backend.core.actor import Right, enough
from backend.core.least_recent import LeastRecent, bytes_of
from schema.declarations import ChildPage, ChildTop, RootNode, RootPage, RootRow
from schema.declared_field import page_query
from schema.execution.core import argument_values, coerced, python_arguments
from schema.execution.selection import Selection
from schema.execution.sqljson.outcome import NotPlain
from schema.execution.sqljson.outline import Bound, Page, Row, Use
from schema.execution.sqljson.outliner import Outliner
from schema.execution.sqljson.parameters import parameter_text
from schema.execution.sqljson.plans import PagePlan, Plan, RowPlan
from schema.relay.ids import decode_id, decode_id_of
from schema.relay.node import NodeKinds

VALUES_OF_A_ROW = 20_000  # with all below it; what may have more is made by the executor
# Of a process: numbers, and bytes of memory as estimated. The keys have a root field's number in its place, so nothing
# but the form of its document keeps that in memory.
_PLANS, _PLANS_BYTES = 512, 16_000_000
_BOUNDS, _BOUNDS_BYTES = 1_000, 4_000_000
_FEW_PARAMETERS = 16  # of a root field: those of a page with some conditions
_numbers = count()
_KEPT = frozenset({str, int, bool, type(None), EllipsisType})  # values of variables by which arguments are known again


def _plan_weight(key: Hashable, plan: Plan) -> int:
    return 4_000 + bytes_of(key) + sum(2 * len(query.text) + 150 * len(query.parameters) for query in plan.queries)


def _bound_weight(key: Hashable, bound: Bound) -> int:
    # The shape names each condition, which is several objects of Django's.
    return 2_000 + bytes_of(key) + 4 * bytes_of(bound.shape) + sum(300 + bytes_of(one) for one in bound.values.values())


_SHARED: LeastRecent[tuple[int, tuple[Hashable, ...]], Plan] = LeastRecent(
    _PLANS, weight=_plan_weight, capacity=_PLANS_BYTES
)
_BOUND: LeastRecent[tuple[int, int, tuple[Any, ...]], Bound] = LeastRecent(
    _BOUNDS, weight=_bound_weight, capacity=_BOUNDS_BYTES
)


@dataclass(frozen=True, slots=True)
class Ready:
    """A root field in one request: its plan, and the parameters of each of its statements."""

    plan: Plan
    parameters: tuple[list[str | None], ...]
    is_new: bool
    """Whether the plan was made for this request."""

    @property
    def costly(self) -> bool:
        """Whether it took long enough that others should have a turn."""
        return self.is_new or sum(map(len, self.parameters)) > _FEW_PARAMETERS


@dataclass(slots=True, eq=False)
class PlainField:
    """A root field that SQL alone can answer, for given rights and conditions."""

    target: Page | Row
    uses: tuple[Use, ...]
    required: bool
    number: int = field(default_factory=_numbers.__next__, init=False)
    _fixed: dict[int, Bound] = field(default_factory=dict)  # of arguments without variables
    _reads: dict[int, tuple[str, ...]] = field(default_factory=dict)  # variables that the arguments of others read

    def ready(self, variables: Any, root: Bound | None = None) -> Ready:
        """What is to be executed for these variables; `root` are the root field's own arguments, if they are known.

        Raises:
            AppError, GraphQLError: the arguments are not good; the executor says so to the client.
            NotPlain: one row could have more below it than may come in one cell, whose length nobody can limit.
        """
        bounds = tuple([self._bound(use, variables) for use in self.uses[root is not None :]])
        if root is not None:
            bounds = (root, *bounds)
        key = (self.number, tuple(bound.shape for bound in bounds))
        known = _SHARED.peek(key)
        plan = known or _SHARED.get(key, lambda: self._plan(bounds))
        if plan.values[1] > VALUES_OF_A_ROW:
            raise NotPlain("many values in a row")
        return Ready(
            plan,
            tuple(
                [
                    one.constant if not one.slot else parameter_text(bounds[one.bound].values[one.slot])
                    for one in query.parameters
                ]
                for query in plan.queries
            ),
            is_new=known is None,
        )

    def _plan(self, bounds: tuple[Bound, ...]) -> Plan:
        if isinstance(self.target, Row):
            return RowPlan.of(self.target, bounds, required=self.required)
        return PagePlan.of(self.target, bounds)

    def _bound(self, use: Use, variables: Any) -> Bound:
        """The arguments of a field, which depend on the variables that they read and on nothing else."""
        found = self._fixed.get(use.number)
        if found is not None:
            return found
        names = self._reads.get(use.number)
        if names is None:
            names = self._reads[use.number] = _variables_of(use.node)
        if not names:
            found = self._fixed[use.number] = _bind(use, variables)
            return found
        given = coerced(variables)
        values = tuple([given.get(name, ...) for name in names])
        if not _KEPT.issuperset(map(type, values)):
            return _bind(use, variables)
        return _BOUND.get((self.number, use.number, values), lambda: _bind(use, variables))


def _bind(use: Use, variables: Any) -> Bound:
    arguments = python_arguments(use.field, argument_values(use.field, use.node, variables))
    return _BINDERS[type(use.declaration)](use.declaration, arguments)


def _page(declaration: Any, arguments: dict[str, Any]) -> Bound:
    query = page_query(declaration.source, arguments)
    return Bound((query.shape, query.arguments.size), query.values(), query)


def _root_page(declaration: RootPage, arguments: dict[str, Any]) -> Bound:
    found = _page(declaration, arguments)
    if declaration.parent_tag:
        kind = NodeKinds.by_tag[declaration.parent_tag]
        key = decode_id_of(arguments["parent"], declaration.parent_tag, expected=kind.type_name)
        found.values["parent"] = key
    return found


def _child_top(declaration: ChildTop, arguments: dict[str, Any]) -> Bound:
    return _page(declaration, {"first": 1 if declaration.single else arguments["last"]})


def _root_row(declaration: RootRow, arguments: dict[str, Any]) -> Bound:
    return Bound("row", {"id": decode_id_of(arguments["id"], declaration.tag, expected=declaration.type_name)})


_BINDERS: dict[type, Callable[[Any, dict[str, Any]], Bound]] = {
    ChildPage: _page,
    ChildTop: _child_top,
    RootPage: _root_page,
    RootRow: _root_row,
}


class PlainNode:
    """`node(id:)`: a row of the type that its id names; one plain field for each type asked for."""

    def __init__(self, outline: "Callable[[str], PlainField]", use: Use) -> None:
        self._outline, self._use = outline, use
        self._by_tag: dict[str, PlainField | None] = {}

    def ready(self, variables: Any) -> Ready:
        """What is to be executed for these variables.

        Raises:
            NotPlain: the type is unknown, needs a right or Python.
            AppError, GraphQLError: the id is not good.
        """
        arguments = argument_values(self._use.field, self._use.node, variables)
        tag, key = decode_id(arguments["id"])
        if tag not in NodeKinds.by_tag:
            raise NotPlain("an unknown type")
        if tag not in self._by_tag:
            self._by_tag[tag] = _or_none(self._outline, tag)
        found = self._by_tag[tag]
        if found is None:
            raise NotPlain("a type that needs Python or a right")
        return found.ready(variables, Bound("node", {"id": key}))


def _or_none(outline: "Callable[[str], PlainField]", tag: str) -> "PlainField | None":
    try:
        return outline(tag)
    except NotPlain:
        return None


class _Variables(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_variable(self, node: VariableNode, *_: Any) -> None:
        self.names.add(node.name.value)


def _variables_of(node: FieldNode) -> tuple[str, ...]:
    """The variables that a field's arguments read."""
    visitor = _Variables()
    for argument in node.arguments or ():
        visit(argument, visitor)
    return tuple(sorted(visitor.names))


def plain_root(
    schema: GraphQLSchema,
    fragments: Mapping[str, FragmentDefinitionNode],
    variables: Mapping[str, Any],
    rights: frozenset[Right],
    selection: Selection,
) -> PlainField | PlainNode:
    """The plain form of a root field; valid for these rights, and while the variables of @skip and @include stay.

    Raises:
        NotPlain: it needs the executor.
    """
    query = schema.query_type
    if query is None or selection.name not in query.fields:
        raise NotPlain("introspection")
    outliner = Outliner(schema, fragments, variables, rights)
    use = outliner.use(query, selection)
    declaration, kind = use.declaration, use.field.type
    required = isinstance(kind, GraphQLNonNull)
    if isinstance(declaration, RootPage):
        page = Page(use, outliner.connection(kind, declaration.source.model, selection))
        return PlainField(page, tuple(outliner.uses), required)
    if isinstance(declaration, RootRow):
        row = outliner.row(kind, declaration.model, selection)
        return PlainField(row, tuple(outliner.uses), required)
    if not isinstance(declaration, RootNode):
        raise NotPlain("a root field that is no page or row")

    def of_type(tag: str) -> PlainField:
        node = NodeKinds.by_tag[tag]
        if not enough(rights, node.right):
            raise NotPlain("a right is missing")
        typed = Outliner(schema, fragments, variables, rights)
        typed.use(query, selection)
        row = typed.row(schema.get_type(node.type_name), node.model, selection)
        return PlainField(row, tuple(typed.uses), required=False)

    return PlainNode(of_type, use)
