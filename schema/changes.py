"""What changed between two schemas, and what that means for clients; deprecations carry the day of their removal."""

import datetime
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    is_non_null_type,
)
from graphql.utilities.find_schema_changes import (
    BreakingChange,
    DangerousChange,
    find_schema_changes,
)

_COORDINATE = re.compile(r"(?<![@\w])[A-Z]\w*(?:\.\w+(?:\(\w+:\))?)?")
_DEFAULT_WENT = re.compile(r"(\w+)\.(\w+)(?:\((\w+):\))? defaultValue was removed\.$")
_REMOVAL = re.compile(r"\bRemoved on (\d{4}-\d{2}-\d{2})\.$")


@dataclass(frozen=True, slots=True)
class Deprecation:
    """Something that clients should no longer use."""

    coordinate: str  # such as Payer.name, Query.payers(first:) or Severity.LOW
    reason: str

    @property
    def removal(self) -> datetime.date | None:
        """The day on which it may go, as the last sentence of the reason says: "Removed on 2027-01-31."."""
        found = _REMOVAL.search(self.reason)
        try:
            return datetime.date.fromisoformat(found[1]) if found else None
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed, a line each."""

    breaking: Sequence[str]
    announced: Sequence[str]  # would break clients, but was deprecated, and its day has come
    dangerous: Sequence[str]
    safe: Sequence[str]


def changes(old: GraphQLSchema, new: GraphQLSchema, today: datetime.date) -> Changes:
    """What changed from the old schema to the new one."""
    ripe = [one.coordinate for one in deprecations(old) if one.removal is not None and one.removal <= today]
    found = find_schema_changes(old, new)
    breaking = [
        one.description for one in found if isinstance(one, BreakingChange) or _is_needed_now(one.description, new)
    ]
    announced = [line for line in breaking if any(_removes(line, coordinate) for coordinate in ripe)]
    dangerous = [
        one.description for one in found if isinstance(one, DangerousChange) and one.description not in breaking
    ]
    rest = [one.description for one in found if not isinstance(one, (BreakingChange, DangerousChange))]
    return Changes([line for line in breaking if line not in announced], announced, dangerous, rest)


def _is_needed_now(line: str, new: GraphQLSchema) -> bool:
    """Whether a default went without which clients must say a value: graphql-core takes that for merely dangerous."""
    found = _DEFAULT_WENT.search(line)
    if found is None:
        return False
    member = getattr(new.type_map.get(found[1]), "fields", {}).get(found[2])
    value = getattr(member, "args", {}).get(found[3]) if found[3] else member
    return is_non_null_type(getattr(value, "type", None))


def _removes(line: str, coordinate: str) -> bool:
    return line.rstrip(".").endswith(" was removed") and line.replace("'", "").split()[-3] == coordinate


def coordinate_of(line: str, old: GraphQLSchema) -> str | None:
    """What of the old schema a change is about, such as Payer or Query.payers(first:); None for a directive."""
    return next((found for found in _COORDINATE.findall(line) if found.partition(".")[0] in old.type_map), None)


def deprecations(schema: GraphQLSchema) -> Iterator[Deprecation]:
    """Everything of a schema that is deprecated."""
    for name, kind in schema.type_map.items():
        if isinstance(kind, GraphQLEnumType):
            members = dict(kind.values)
        elif isinstance(kind, (GraphQLObjectType, GraphQLInterfaceType, GraphQLInputObjectType)):
            members = dict(kind.fields)
        else:
            continue
        for member, definition in members.items():
            if definition.deprecation_reason is not None:
                yield Deprecation(f"{name}.{member}", definition.deprecation_reason)
            for argument, given in getattr(definition, "args", {}).items():
                if given.deprecation_reason is not None:
                    yield Deprecation(f"{name}.{member}({argument}:)", given.deprecation_reason)
