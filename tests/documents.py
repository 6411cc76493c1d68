"""Documents made from the schema: each root field once for every place in its arguments that names a row."""

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    Undefined,
    get_named_type,
    is_leaf_type,
)

from schema.build import core_schema
from schema.relay.ids import decode_id
from schema.relay.node import NodeKinds
from schema.subscriptions import cursor_of
from tests import factories as make

_DEPTH = 3  # of objects below a root field
_ROWS = 2  # of lists below a root field: more than there are
_SAMPLES = {
    "rawName": "acme",
    "payerCode": "acme",
    "agent": "ruff",
    "fingerprint": make.digest("one").hex(),
    "status": "ACKNOWLEDGED",
}


@dataclass(frozen=True, slots=True)
class Document:
    """An operation of one root field, and the place in its arguments where it names a row of somebody."""

    operation: str  # query, mutation or subscription
    name: str
    place: str
    text: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    tag: str = ""  # the type of the id in the place

    @property
    def where(self) -> str:
        """The root field and the place."""
        return f"{self.name}({self.place})"

    def __str__(self) -> str:
        return f"{self.name}({json.dumps(self.arguments)})"


def roots(operation: str) -> dict[str, GraphQLField]:
    """The root fields of query, mutation or subscription."""
    kind = getattr(core_schema(), f"{operation}_type")
    assert kind is not None
    return dict(kind.fields)


def document(
    operation: str,
    name: str,
    place: str = "",
    arguments: Mapping[str, Any] | None = None,
    *,
    tag: str = "",
    below: str = "",
) -> Document:
    """The root field with everything below it, or with the fields of one type `below`; for a change little."""
    kind, given = roots(operation)[name], arguments or {}
    chosen = core_schema().get_type(below) if below else kind.type
    selection = _selection(chosen, 1 if below or operation == "mutation" else _DEPTH)
    if below:
        selection = f"{{ __typename id ... on {below} {selection} }}"
    declared = ", ".join(f"${one}: {kind.args[one].type}" for one in given)
    values = ", ".join(f"{one}: ${one}" for one in given)
    head = f"{operation}({declared})" if declared else operation
    text = f"{head} {{ {name}{f'({values})' if values else ''} {selection} }}"
    return Document(operation, name, place, text, given, tag)


def _selection(kind: Any, depth: int) -> str:
    """The leaves of a type and of the objects below it."""
    named = get_named_type(kind)
    if is_leaf_type(named):
        return ""
    parts = ["__typename"]
    for name, one in getattr(named, "fields", {}).items():
        below = get_named_type(one.type)
        if any(map(_required, one.args.values())) or name == "edges":
            continue
        if is_leaf_type(below):
            parts.append(name)
        elif depth > 0 and isinstance(below, GraphQLObjectType):
            rows = f"(first: {_ROWS})" if "first" in one.args else ""
            parts.append(f"{name}{rows} {_selection(below, depth - 1)}")
    return "{ " + " ".join(parts) + " }"


def _required(one: Any) -> bool:
    return isinstance(one.type, GraphQLNonNull) and one.default_value is Undefined


def reads(ids: Mapping[str, str]) -> Iterator[Document]:
    """Every query without a row's name, and with each id, by its tag, in every place that takes one."""
    for name, kind in roots("query").items():
        samples = {"document": "{ __typename }"} if "document" in kind.args else {}
        if not any(_required(one) for key, one in kind.args.items() if key not in samples):
            yield document("query", name, "", samples)
        named = get_named_type(kind.type)
        for tag, value in ids.items():
            for argument in {"id", "ids", "detectionRunId"} & kind.args.keys():
                given = {argument: [value] if argument == "ids" else value}
                if not isinstance(named, GraphQLInterfaceType):
                    yield document("query", name, argument, given, tag=tag)
                elif tag in NodeKinds.by_tag:
                    below = NodeKinds.by_tag[tag].type_name
                    yield document("query", name, f"{argument} of {below}", given, tag=tag, below=below)
            for template in _id_filters(kind.args["filter"].type) if "filter" in kind.args else ():
                parent = {"detectionRunId": ids["DR"]} if "detectionRunId" in kind.args else {}
                place = "filter." + json.dumps(template)
                yield document("query", name, place, {**parent, "filter": _with(template, value)}, tag=tag)


def _id_filters(kind: Any, depth: int = 2) -> Iterator[Any]:
    """Filters that name one id, with None in its place."""
    named = get_named_type(kind)
    if not isinstance(named, GraphQLInputObjectType) or depth < 0:
        if getattr(named, "name", "") == "ID":
            yield None
        return
    for name, one in named.fields.items():
        if name in ("and", "or", "not", "ne", "notIn"):
            continue
        for inner in _id_filters(one.type, depth - 1):
            yield {name: [inner] if isinstance(_nullable(one.type), GraphQLList) else inner}


def _nullable(kind: Any) -> Any:
    return kind.of_type if isinstance(kind, GraphQLNonNull) else kind


def _with(template: Any, value: str) -> Any:
    """A filter with an id in the place of None."""
    if isinstance(template, dict):
        return {name: _with(inner, value) for name, inner in template.items()}
    if isinstance(template, list):
        return [_with(inner, value) for inner in template]
    return value


def follows(ids: Mapping[str, str]) -> Iterator[Document]:
    """Every subscription with each id, from where it stands and from the beginning."""
    for name in roots("subscription"):
        for tag, value in ids.items():
            yield document("subscription", name, "id", {"id": value}, tag=tag)
            beginning = cursor_of(decode_id(value)[1], 0, uuid.UUID(int=0))
            yield document("subscription", name, "id, after", {"id": value, "after": beginning}, tag=tag)


def writes(ids: Mapping[str, str]) -> Iterator[Document]:
    """Every mutation with what is required, and each id wherever one is taken."""
    for name, kind in roots("mutation").items():
        taken = get_named_type(kind.args["input"].type)
        assert isinstance(taken, GraphQLInputObjectType)
        base, takes_id = _input(taken)
        if not takes_id:
            yield document("mutation", name, "", {"input": base})
        for one in takes_id:
            for tag, value in ids.items():
                yield document("mutation", name, f"input.{one}", {"input": {**base, one: value}}, tag=tag)


def _input(kind: GraphQLInputObjectType) -> tuple[dict[str, Any], list[str]]:
    """What an input needs but ids, and its fields that take one."""
    base: dict[str, Any] = {}
    takes_id = []
    for name, one in kind.fields.items():
        named = get_named_type(one.type)
        if named.name == "ID":
            takes_id.append(name)
        elif name in _SAMPLES:
            base[name] = _SAMPLES[name]
        elif _required(one):
            base[name] = None if named.name == "Upload" else next(reversed(_enum(named).values))
    return base, takes_id


def _enum(kind: Any) -> GraphQLEnumType:
    assert isinstance(kind, GraphQLEnumType), f"a sample is needed for {kind}"
    return kind


def simplest(operation: str, name: str, ids: Mapping[str, str]) -> Document:
    """One operation of a root field that is valid, with ids of who asks."""
    if operation == "mutation":
        return next(one for one in writes(ids) if one.name == name)
    named = {"id": ids["PY"], "ids": [ids["PY"]], "detectionRunId": ids["DR"], "document": "{ __typename }"}
    taken = roots(operation)[name].args
    return document(operation, name, "", {one: value for one, value in named.items() if one in taken})
