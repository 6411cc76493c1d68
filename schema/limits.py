"""What a request may hold, checked before anything is validated: each limit is a setting that its error names."""

import re
from collections import Counter
from dataclasses import dataclass, field
from math import isinf
from typing import Any, NamedTuple

from django.conf import settings
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionNode,
    SelectionSetNode,
    StringValueNode,
    Visitor,
    parse,
    visit,
)
from graphql.language import FloatValueNode, IntValueNode

from backend.core.errors import BadUserInput, LimitExceeded
from schema.footprint import unlink

NUL = "\0"
# What may be NUL, or a number that no double holds; documents without such text need not be walked for it.
_SUSPECT = re.compile(r"\0|\\u|\d{200}|[eE]\+?\d{3}")


class NulInText(BadUserInput):
    """Text may not hold the NUL character: the database cannot keep it."""


class NumberTooLarge(BadUserInput):
    """A number is larger than 64 bits of floating point hold."""


class NoSuchOperation(BadUserInput):
    """The document has no operation of that name."""


class OperationNotNamed(BadUserInput):
    """The document has not exactly one operation: say in operationName which one is meant."""


class _Literals(Visitor):
    """Looks at every text and number of a document."""

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
        LimitExceeded: more than DRIFTGRAPH_MAX_QUERY_CHARACTERS.
        NulInText: a text that the database cannot keep.
        NumberTooLarge: a number that is none of JSON's either.
    """
    limits = settings.ENVIRONMENT
    _within("The number of characters", len(text), limits.max_query_characters, "DRIFTGRAPH_MAX_QUERY_CHARACTERS")
    document = parse(text, max_tokens=limits.max_query_tokens)
    unlink(document)
    if _SUSPECT.search(text):
        visit(document, _Literals())
    return document


def operation_of(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
    """The operation that is meant; the document is within its limits.

    The work is linear in the document: a fragment is measured once, however often it is spread.

    Raises:
        NoSuchOperation, OperationNotNamed: it is not clear what to execute.
        LimitExceeded: more than a setting allows: DRIFTGRAPH_MAX_QUERY_DEPTH, _FIELDS, _ALIASES, _ALIAS_CHARACTERS,
            _REPEATS, _DIRECTIVES, _FRAGMENTS, _OPERATIONS or _VARIABLES.
    """
    operation = _chosen(document, name)
    measures = _Measures(document)
    limits = settings.ENVIRONMENT
    size = measures.largest()
    for what, actual, setting in (
        ("The number of operations", len(measures.operations), "operations"),
        ("The number of fragments", len(measures.fragments), "fragments"),
        ("The number of variables", measures.variables, "variables"),
        ("The number of directives", measures.directives, "directives"),
        ("The number of aliases", measures.aliases, "aliases"),
        ("The number of characters of an alias", measures.longest_alias, "alias_characters"),
        ("The number of times that one field is repeated in a selection", measures.repeats, "repeats"),
        ("The number of fields, a fragment's counted wherever it is spread,", size.fields, "fields"),
        ("The depth of the query", size.depth, "depth"),
    ):
        _within(what, actual, getattr(limits, f"max_query_{setting}"), f"DRIFTGRAPH_MAX_QUERY_{setting.upper()}")
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
        shown = actual if actual < 10**9 else "more than 1,000,000,000"  # a bomb's number has hundreds of digits
        raise LimitExceeded(what=what, actual=shown, limit=limit, setting=setting)


class _Size(NamedTuple):
    """How many fields a selection asks for with all fragments spread out, and how deep it goes."""

    fields: int = 0
    depth: int = 0


@dataclass(slots=True)
class _Measures:
    """Each definition of a document is walked once; what a fragment is found to be holds wherever it is spread."""

    document: DocumentNode
    operations: list[OperationDefinitionNode] = field(init=False)
    fragments: dict[str, FragmentDefinitionNode] = field(init=False)
    variables: int = 0
    directives: int = 0
    aliases: int = 0
    longest_alias: int = 0  # it stands in the answer once for each row
    repeats: int = 0
    _known: dict[str, _Size] = field(default_factory=dict)
    _places: Counter[tuple[str, ...]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        definitions = self.document.definitions
        self.operations = [node for node in definitions if isinstance(node, OperationDefinitionNode)]
        self.fragments = {node.name.value: node for node in definitions if isinstance(node, FragmentDefinitionNode)}

    def largest(self) -> _Size:
        """The most fields and the greatest depth of any operation; the counters are filled then."""
        for name in self.fragments:
            self._fragment(name)
        sizes = []
        for operation in self.operations:
            declared = operation.variable_definitions or ()
            self.variables = max(self.variables, len(declared))
            self.directives += sum(len(node.directives or ()) for node in declared)
            sizes.append(self._definition(operation))
        return _Size(max(size.fields for size in sizes), max(size.depth for size in sizes))

    def _definition(self, node: OperationDefinitionNode | FragmentDefinitionNode) -> _Size:
        self.directives += len(node.directives or ())
        outer, self._places = self._places, Counter()
        size = self._selections(node.selection_set, ())
        self.repeats = max(self.repeats, max(self._places.values(), default=0))
        self._places = outer
        return size

    def _fragment(self, name: str) -> _Size:
        if name not in self._known:
            self._known[name] = _Size()  # a cycle ends here; validation says that it is one
            fragment = self.fragments.get(name)
            self._known[name] = self._definition(fragment) if fragment else _Size()
        return self._known[name]

    def _selections(self, selections: SelectionSetNode | None, path: tuple[str, ...]) -> _Size:
        fields = depth = 0
        for node in selections.selections if selections else ():
            inner = self._selection(node, path)
            fields += max(1, inner.fields)
            depth = max(depth, inner.depth)
        return _Size(fields, depth)

    def _selection(self, node: SelectionNode, path: tuple[str, ...]) -> _Size:
        self.directives += len(node.directives or ())
        if isinstance(node, FragmentSpreadNode):
            return self._fragment(node.name.value)
        if isinstance(node, InlineFragmentNode):
            return self._selections(node.selection_set, path)
        if not isinstance(node, FieldNode):
            raise TypeError(type(node).__name__)
        if node.alias is not None:
            self.aliases += 1
            self.longest_alias = max(self.longest_alias, len(node.alias.value))
        below = (*path, node.alias.value if node.alias else node.name.value)
        self._places[below] += 1  # validation compares every pair of those who ask for the same place of an answer
        inner = self._selections(node.selection_set, below)
        # Tools need introspection deeper than any page; graphql-core bounds it by a rule of its own.
        return _Size(1 + inner.fields, 1 if node.name.value.startswith("__") else 1 + inner.depth)


def refuse_costly_json(raw: bytes) -> None:
    """Nothing; looks at JSON text before it is read, which takes long where there are many small values.

    Raises:
        LimitExceeded: it has more values than DRIFTGRAPH_MAX_JSON_VALUES.
    """
    limit = settings.ENVIRONMENT.max_json_values
    found = _separators(raw)
    if found > limit:
        # Perhaps they stand in texts. Every other text is a value at least, the rest are names.
        plain = raw.replace(rb"\\", b"").replace(rb"\"", b"")
        found = plain.count(b'"') // 4
        if found <= limit:
            found = _separators(b"".join(plain.split(b'"')[::2]))
    _within("The number of values", found, limit, "DRIFTGRAPH_MAX_JSON_VALUES")


def _separators(raw: bytes) -> int:
    return raw.count(b",") + raw.count(b"[") + raw.count(b"{")


def look_through(variables: Any) -> int:
    """How many values the variables of a request have, in all of their lists and objects; looks at each.

    Raises:
        NulInText: a text among them holds the character.
        LimitExceeded: they are nested deeper than DRIFTGRAPH_MAX_JSON_DEPTH.
    """
    limit = settings.ENVIRONMENT.max_json_depth
    level, depth, number = [variables], 0, 0
    while level:
        depth += 1
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                if NUL in item:
                    raise NulInText
            elif isinstance(item, dict):
                number += len(item)
                below += item
                below += item.values()
            elif isinstance(item, list):
                number += len(item)
                below += item
        level = below
        _within("The depth of the variables", depth - 1, limit, "DRIFTGRAPH_MAX_JSON_DEPTH")
    return number


def refuse_many_values(number: int, kind: OperationType) -> None:
    """Nothing; looks at the number of values in the variables of an operation.

    Each is coerced while others wait: 20,000 of a filter take 0.2 s, where a mutation has as many for a reason.

    Raises:
        LimitExceeded: no mutation, and more of them than DRIFTGRAPH_MAX_VARIABLE_VALUES.
    """
    if kind is not OperationType.MUTATION:
        limit = settings.ENVIRONMENT.max_variable_values
        _within("The number of values in the variables of a query", number, limit, "DRIFTGRAPH_MAX_VARIABLE_VALUES")
