"""What a document may hold, checked before validation: operation, tokens, depth, aliases, repetitions; not its cost."""

from collections import Counter
from math import isinf
from typing import Any

from django.conf import settings
from graphql import DocumentNode, FieldNode, OperationDefinitionNode, Visitor, parse, visit
from graphql.language import (
    ExecutableDefinitionNode,
    FloatValueNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    IntValueNode,
    SelectionSetNode,
    StringValueNode,
)

from backend.core.errors import BadUserInput, LimitExceeded

NUL = "\0"


class NulInText(BadUserInput):
    """Text may not hold the NUL character: the database cannot keep it."""


class NumberTooLarge(BadUserInput):
    """A number is larger than 64 bits of floating point hold."""


class NoSuchOperation(BadUserInput):
    """The document has no operation of that name."""


class OperationNotNamed(BadUserInput):
    """The document has not exactly one operation: say in operationName which one is meant."""


class _Literals(Visitor):
    """Counts aliases and looks at every text and number of a document."""

    def __init__(self) -> None:
        super().__init__()
        self.aliases = 0

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        self.aliases += node.alias is not None

    def enter_string_value(self, node: StringValueNode, *_: Any) -> None:
        if NUL in node.value:
            raise NulInText

    def enter_int_value(self, node: IntValueNode, *_: Any) -> None:
        # As in JSON. A text of more digits than Python makes a number of would be a bug of ours to graphql-core.
        if isinf(float(node.value)):
            raise NumberTooLarge

    def enter_float_value(self, node: FloatValueNode, *_: Any) -> None:
        if isinf(float(node.value)):
            raise NumberTooLarge


def parsed(text: str) -> DocumentNode:
    """The document.

    Raises:
        GraphQLError: not a document, or more than DRIFTGRAPH_MAX_QUERY_TOKENS.
    """
    return parse(text, max_tokens=settings.ENVIRONMENT.max_query_tokens)


def operation_of(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
    """The operation that is meant; the document is within its limits.

    The work is linear in the document: a fragment is measured once, however often it is spread.

    Raises:
        NoSuchOperation, OperationNotNamed: it is not clear what to execute.
        LimitExceeded: deeper than DRIFTGRAPH_MAX_QUERY_DEPTH, more aliases than DRIFTGRAPH_MAX_QUERY_ALIASES, or
            more repetitions of a field than DRIFTGRAPH_MAX_QUERY_REPEATS.
        NulInText: a text that the database cannot keep.
        NumberTooLarge: a number that is none of JSON's either.
    """
    limits = settings.ENVIRONMENT
    operation = _chosen(document, name)
    literals = _Literals()
    visit(document, literals)
    _within("The number of aliases", literals.aliases, limits.max_query_aliases, "DRIFTGRAPH_MAX_QUERY_ALIASES")
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    for definition in (operation, *fragments.values()):
        _within(
            "The number of times that one field is repeated in a selection",
            max(_repeats(definition).values(), default=0),
            limits.max_query_repeats,
            "DRIFTGRAPH_MAX_QUERY_REPEATS",
        )
    depth = _Depths(fragments).of(operation.selection_set)
    _within("The depth of the query", depth, limits.max_query_depth, "DRIFTGRAPH_MAX_QUERY_DEPTH")
    return operation


def _chosen(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    if name is not None:
        operations = [node for node in operations if node.name and node.name.value == name]
        if not operations:
            raise NoSuchOperation
    if len(operations) != 1:
        raise OperationNotNamed
    return operations[0]


def _within(what: str, actual: int, limit: int, setting: str) -> None:
    if actual > limit:
        raise LimitExceeded(what=what, actual=actual, limit=limit, setting=setting)


def _repeats(definition: ExecutableDefinitionNode) -> Counter[tuple[str, ...]]:
    """How often each place of an answer is asked for; validation compares every pair of those who ask."""
    found: Counter[tuple[str, ...]] = Counter()
    waiting: list[tuple[tuple[str, ...], SelectionSetNode]] = [((), definition.selection_set)]
    while waiting:
        path, selections = waiting.pop()
        for node in selections.selections:
            below = path
            if isinstance(node, FieldNode):
                below = (*path, node.alias.value if node.alias else node.name.value)
                found[below] += 1
            inner = getattr(node, "selection_set", None)
            if inner is not None:
                waiting.append((below, inner))
    return found


class _Depths:
    """How deep selections go; introspection is left out, since tools need it deeper than any page."""

    def __init__(self, fragments: dict[str, FragmentDefinitionNode]) -> None:
        self._fragments = fragments
        self._known: dict[str, int] = {}

    def of(self, selections: SelectionSetNode | None) -> int:
        deepest = 0
        for node in selections.selections if selections else ():
            if isinstance(node, FieldNode):
                below = 0 if node.name.value.startswith("__") else self.of(node.selection_set)
                deepest = max(deepest, 1 + below)
            elif isinstance(node, FragmentSpreadNode):
                deepest = max(deepest, self._fragment(node.name.value))
            else:
                deepest = max(deepest, self.of(getattr(node, "selection_set", None)))
        return deepest

    def _fragment(self, name: str) -> int:
        if name not in self._known:
            self._known[name] = 0  # a cycle ends here; validation says that it is one
            fragment = self._fragments.get(name)
            self._known[name] = self.of(fragment.selection_set) if fragment else 0
        return self._known[name]


def refuse_nul(value: Any) -> None:
    """Raises NulInText where a text among the variables holds the character."""
    if isinstance(value, str):
        if NUL in value:
            raise NulInText
    elif isinstance(value, dict):
        for name, item in value.items():
            refuse_nul(name)
            refuse_nul(item)
    elif isinstance(value, list):
        for item in value:
            refuse_nul(item)
