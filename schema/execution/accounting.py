"""Gives account of what an operation shows of protected types, fail closed, and of what it was refused.

The same for every way of execution.
"""

import hashlib
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    SelectionSetNode,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    get_named_type,
    is_abstract_type,
    visit,
)

from backend.audit.models import Outcome
from backend.audit.reads import AccountNotWritten, PurposeMissing, Shown, account, refused
from backend.core.errors import Forbidden, Unavailable
from schema.context import Context
from schema.execution.selection import Selection, collect
from schema.protection import Protection

log = logging.getLogger("driftgraph.audit")
_OF_A_PAGE = {"totalCount", "pageInfo"}  # what a page tells of its rows without showing one


@dataclass(slots=True)
class Selected:
    """Protected types that an operation selects, each with the labelled fields among what is selected of it."""

    fields: dict[str, set[str]] = field(default_factory=dict)
    counted: set[str] = field(default_factory=set)
    """Those among them of which is asked how many there are, or whether there is one."""

    def add(self, name: str) -> set[str]:
        """The labelled fields of a type, to be added to."""
        return self.fields.setdefault(name, set())


def selected(
    schema: GraphQLSchema,
    fragments: Mapping[str, FragmentDefinitionNode],
    conditions: Mapping[str, Any],
    root: GraphQLObjectType,
    selection_set: SelectionSetNode,
) -> Selected:
    """What an operation selects of protected types; `conditions` are the values of the variables in @skip and @include.

    Selected is enough: that there was nothing to show is worth an entry too. A page of such a type counts even where
    only its size is asked for. Of an object whose type is open, such as that of `node(id:)`, `id` says nothing new.
    """
    walk = _Walk(schema, fragments, conditions)
    walk.into(root, [selection_set])
    return walk.found


class _Walk:
    def __init__(
        self, schema: GraphQLSchema, fragments: Mapping[str, FragmentDefinitionNode], conditions: Mapping[str, Any]
    ) -> None:
        self._schema, self._fragments, self._conditions = schema, fragments, conditions
        self.found = Selected()

    def into(self, kind: GraphQLObjectType, sets: Iterable[SelectionSetNode]) -> None:
        self._each(kind, self._collected(kind, sets))

    def _collected(self, kind: GraphQLObjectType, sets: Iterable[SelectionSetNode]) -> list[Selection]:
        found = collect(self._schema, self._fragments, self._conditions, kind, sets).values()
        return [one for one in found if one.name in kind.fields]

    def _each(self, kind: GraphQLObjectType, selections: list[Selection]) -> None:
        protected = Protection.types.get(kind.name)
        row = _row(kind)
        if row.name in Protection.types and any(one.name in _OF_A_PAGE for one in selections):
            self.found.counted.add(row.name)
        for one in selections:
            if protected and one.name in protected.labelled:
                self.found.add(kind.name).add(f"{kind.name}.{one.name}")
            target = get_named_type(kind.fields[one.name].type)
            sets = [node.selection_set for node in one.nodes if node.selection_set]
            if isinstance(target, GraphQLObjectType):
                self._reach(target)
                self.into(target, sets)
            elif is_abstract_type(target):
                for possible in self._schema.get_possible_types(target):
                    inner = self._collected(possible, sets)
                    if any(selection.name != "id" for selection in inner):
                        self._reach(possible)
                        self._each(possible, inner)

    def _reach(self, kind: GraphQLObjectType) -> None:
        if (row := _row(kind)).name in Protection.types:
            self.found.add(row.name)


def _row(kind: GraphQLObjectType) -> GraphQLNamedType:
    """The type of the rows of a page; of another object its own."""
    return get_named_type(kind.fields["nodes"].type) if "nodes" in kind.fields else kind


async def give_account(
    context: Context,
    text: str,
    found: Selected,
    errors: Sequence[GraphQLError],
    refusals: Collection[str],
) -> None:
    """Returns when the entries are written, and the answer may leave.

    There is one for each claim-level type that was selected, even if there was nothing to show: that is an answer too.
    So it is of a summary. Of other types there is one where rows were shown or counted, or something went wrong. There
    is one more, with the coordinates, where something was refused; where that one alone cannot be written, the refusal
    stands without it.

    Raises:
        PurposeMissing: the organization wants to know what claim lines are read for.
        AccountNotWritten: the audit trail takes no entries.

    SQL: 1, in a transaction of its own.
    """
    shown = []
    for name, fields in sorted(found.fields.items()):
        protected = Protection.types[name]
        keys = frozenset() if protected.summary else frozenset(context.shown.get(protected.model, ()))
        outcome = _outcome(errors, something=bool(keys))
        told = keys or name in found.counted or protected.claim_level or protected.summary
        if not told and outcome is Outcome.OK:
            continue
        table = protected.model._meta.db_table
        shown.append(Shown(table, keys, tuple(sorted(fields)), protected.claim_level, outcome))
    entries = [*shown, refused(refusals)] if refusals else shown
    if not entries:
        return
    try:
        rows = await context.snapshot.append(account(context.actor, entries, hashlib.sha256(text.encode()).digest()))
    except (psycopg.Error, Unavailable) as error:
        log.error("request %s: it was not recorded: %s", context.request_id, type(error).__name__)  # noqa: TRY400 - a traceback repeats values of the statement
        if shown:
            raise AccountNotWritten from error
        return
    if shown and len(rows) < len(entries):  # the organization has gone since the snapshot of what would be shown
        raise AccountNotWritten
    if any(row[0] == b"t" for row in rows):
        raise PurposeMissing


def refusals_of(schema: GraphQLSchema, document: DocumentNode, errors: Sequence[GraphQLError]) -> frozenset[str]:
    """What was refused for want of a right: the fields and mutations, as Type.field."""
    denied = [error for error in errors if isinstance(error.original_error, Forbidden)]
    return _Coordinates(schema, document).of(denied) if denied else frozenset()


class _Coordinates(Visitor):
    """Finds the type of fields by their place in a document."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        super().__init__()
        self._types, self._document = TypeInfo(schema), document
        self._wanted: set[int] = set()
        self._found: set[str] = set()

    def of(self, errors: Iterable[GraphQLError]) -> frozenset[str]:
        """The coordinates of the fields that errors are about."""
        self._wanted = {id(node) for error in errors for node in error.nodes or ()}
        visit(self._document, TypeInfoVisitor(self._types, self))
        return frozenset(self._found)

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        parent = self._types.get_parent_type()
        if id(node) in self._wanted and parent is not None:
            self._found.add(f"{parent.name}.{node.name.value}")


def _outcome(errors: Sequence[GraphQLError], *, something: bool) -> Outcome:
    """How a read ended; where something was shown it was not denied, whatever else was."""
    if not something and any(isinstance(error.original_error, Forbidden) for error in errors):
        return Outcome.DENIED
    return Outcome.ERROR if errors else Outcome.OK
