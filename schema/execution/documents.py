"""Documents, parsed, limited and validated once per text; and what is known of each of their operations."""

import asyncio
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from django.conf import settings
from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
)

from backend.core.least_recent import LeastRecent
from schema.build import core_schema
from schema.cost.pricing import Price, Pricing, Sizing, sizing_of
from schema.execution.accounting import Selected, selected
from schema.execution.core import Coercion
from schema.execution.selection import Conditions, collect, conditions_of, is_for_reference
from schema.execution.turns import Party, Turns
from schema.execution.weights import document_weight, form_weight, price_weight, selected_weight
from schema.footprint import lighten
from schema.limits import operation_of, parsed
from schema.usage.coordinates import Usage, usage_of
from schema.validity import problems

OPERATIONS = Path(__file__).parents[1] / "operations"
"""The documents that come with the product, one operation in a file."""
_DOCUMENTS = 512
_OF_STRANGERS = 16  # documents that nobody who is signed in has sent: a flood of them pushes out no others
# Parts of DRIFTGRAPH_DOCUMENT_CACHE_BYTES: of strangers' documents; of the forms of one, which then forgets some.
_STRANGERS_PART, _FORMS_PART = 16, 8
_PRICED = 5  # characters of a document that is not known yet, for 1 of a budget
_ERRORS = 10  # of validation; each may look for names that are alike among all of the schema
_FORMS = 32  # of one operation: rights times values of the variables in @skip and @include
Key = TypeVar("Key", bound=Hashable)
Made = TypeVar("Made")


def _nothing() -> None:
    pass


@dataclass(slots=True, eq=False)
class Prepared:
    """One operation of a document, ready to be executed any number of times."""

    schema: GraphQLSchema
    text: str
    document: DocumentNode
    operation: OperationDefinitionNode
    fragments: dict[str, FragmentDefinitionNode]
    errors: list[GraphQLError]  # of validation
    conditions: Conditions
    coercion: Coercion | None  # where there are no errors
    sizing: Sizing = field(default_factory=Sizing)
    usage: Usage = field(default_factory=Usage)
    own_weight: int = 0  # bytes of memory, estimated, without what is made of it
    form_weight: int = 0
    grow: Callable[[], None] = _nothing  # is called when something was made of it that is kept
    forms: LeastRecent[Hashable, object] = field(init=False)
    prices: LeastRecent[tuple[Any, ...], Price] = field(init=False)
    selections: LeastRecent[tuple[Any, ...], Selected] = field(init=False)

    def __post_init__(self) -> None:
        each, capacity = self.form_weight, settings.ENVIRONMENT.document_cache_bytes // _FORMS_PART
        self.forms = LeastRecent(_FORMS, weight=lambda _key, _form: each, capacity=capacity)
        self.prices = LeastRecent(_FORMS, weight=price_weight, capacity=capacity)
        self.selections = LeastRecent(_FORMS, weight=selected_weight, capacity=capacity)

    @property
    def weight(self) -> int:
        """Bytes of memory, estimated, with all that was made of it."""
        return self.own_weight + self.forms.weighed + self.prices.weighed + self.selections.weighed

    def made(self, kept: LeastRecent[Key, Made], key: Key, make: Callable[[], Made]) -> Made:
        """What is made of the operation, where it is kept among `forms`, `prices` or `selections`."""
        found = kept.peek(key)
        if found is None:
            found = kept.get(key, make)
            self.grow()
        return found

    @property
    def kind(self) -> OperationType:
        """Query, mutation or subscription."""
        return self.operation.operation

    def is_for_reference(self, raw_variables: Mapping[str, Any] | None) -> bool:
        """Whether graphql-core itself executes it, which takes longer."""
        return is_for_reference(self.kind, self.conditions, raw_variables)

    def protected(self, values: Mapping[str, Any]) -> Selected:
        """What of protected types is selected, by the values of the variables in @skip and @include."""
        names = self.conditions.variables
        conditions = {name: values[name] for name in names if name in values}
        root = self.schema.get_root_type(self.kind)
        if root is None:
            raise TypeError("the schema lacks the operation's type")
        return self.made(
            self.selections,
            tuple(values.get(name) for name in names),
            lambda: selected(self.schema, self.fragments, conditions, root, self.operation.selection_set),
        )

    def shows_protected(self, raw_variables: Mapping[str, Any] | None) -> bool:
        """Whether something of a protected type is selected, by variables that need not be good."""
        return bool(self.protected(self.sizing.values(raw_variables)).fields)

    def first_key(self, raw_variables: Mapping[str, Any] | None) -> str | None:
        """The response key of the first root field that is executed, by variables that need not be good."""
        root = self.schema.get_root_type(self.kind)
        if root is None:
            return None
        values = self.sizing.values(raw_variables)
        found = collect(self.schema, self.fragments, values, root, [self.operation.selection_set])
        return next((one.key for one in found.values() if one.name != "__typename"), None)

    @property
    def name(self) -> str | None:
        """The operation's name."""
        return self.operation.name.value if self.operation.name else None

    def price(self, raw_variables: Mapping[str, Any] | None) -> Price:
        """What the operation costs with these variables, which need not be good."""
        values = self.sizing.values(raw_variables)
        return self.made(self.prices, tuple(values.values()), lambda: self._priced(values))

    def _priced(self, values: Mapping[str, Any]) -> Price:
        return Pricing(self.schema, self.operation, self.fragments, values).price()


_Kept: TypeAlias = LeastRecent[tuple[str, str | None], Prepared]


def _keeping(size: int, part: int) -> _Kept:
    capacity = settings.ENVIRONMENT.document_cache_bytes // part
    return LeastRecent(size, weight=lambda _key, prepared: prepared.weight, capacity=capacity)


@cache
def _documents() -> _Kept:
    return _keeping(_DOCUMENTS, 1)


@cache
def _of_strangers() -> _Kept:
    return _keeping(_OF_STRANGERS, _STRANGERS_PART)


def known(text: str, operation_name: str | None) -> Prepared | None:
    """The operation that is meant, if its text was prepared before and is valid."""
    key = (text, operation_name)
    return _documents().peek(key) or _of_strangers().peek(key)


def price_of(text: str) -> int:
    """What it costs to look at a text that is not known yet, by its length."""
    return max(1, min(len(text), settings.ENVIRONMENT.max_query_characters) // _PRICED)


def prepare(text: str, operation_name: str | None) -> Prepared:
    """The operation that is meant.

    Raises:
        GraphQLError: not a document.
        LimitExceeded and others of schema.limits: more than a document may hold.
    """
    return known(text, operation_name) or _kept(_prepare(text, operation_name), operation_name, _documents())


async def prepared(
    text: str, operation_name: str | None, turns: Turns, party: Party, *, is_trusted: bool = False
) -> Prepared:
    """The same, without holding up others: a text that is not known yet is looked at in a thread, in turn.

    What who is not signed in sends, and is not trusted, is kept apart.

    Raises: as prepare.
    """
    if (found := known(text, operation_name)) is not None:
        return found
    where = _documents() if party.is_known or is_trusted else _of_strangers()
    loop = asyncio.get_running_loop()

    def work() -> Prepared:
        made = _prepare(text, operation_name)
        # Whoever waits for it may be gone by then; the next try finds it.
        loop.call_soon_threadsafe(_kept, made, operation_name, where)
        return made

    # Another may have sent the same meanwhile.
    return await turns.run(party, work, unless=lambda: known(text, operation_name))


def _kept(found: Prepared, operation_name: str | None, where: _Kept) -> Prepared:
    """The same; what is not valid is not kept, for then it would push out what is."""
    if found.errors:
        return found
    key = (found.text, operation_name)
    found.grow = partial(where.weigh, key)
    return where.get(key, lambda: found)


def _prepare(text: str, operation_name: str | None) -> Prepared:
    schema, document = core_schema(), parsed(text)
    operation = operation_of(document, operation_name)
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    errors = problems(schema, document, at_most=_ERRORS)
    if errors:
        return Prepared(schema, text, document, operation, fragments, errors, Conditions(), None)
    nodes = lighten(document)
    return Prepared(
        schema,
        text,
        document,
        operation,
        fragments,
        errors,
        conditions_of(operation, fragments),
        Coercion(schema, operation),
        sizing_of(schema, operation, fragments),
        usage_of(schema, operation, fragments),
        document_weight(text, nodes),
        form_weight(schema, operation, fragments),
    )


def warm() -> int:
    """How many of the product's own documents are ready now, so that nobody waits for the first use of one."""
    texts = [path.read_text() for path in sorted(OPERATIONS.glob("*.graphql"))]
    for text in texts:
        prepare(text, None)
    return len(texts)
