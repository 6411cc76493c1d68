"""Executes an operation by the cheapest way that gives graphql-core's answer: SQL-made JSON, or graphql-core itself.

One operation can take both ways: its plain root fields the first, the others the second, in one snapshot.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from django.conf import settings
from graphql import DocumentNode, ExecutionResult, GraphQLError, OperationType, SelectionSetNode

from backend.core.actor import Right
from backend.core.errors import AppError
from backend.core.least_recent import LeastRecent
from backend.db.reads import AnswerOutdated, TextQuery
from schema.context import Context
from schema.execution.core import RefusedVariables, coerce_variables, coerced, reference
from schema.execution.documents import Prepared
from schema.execution.selection import Selection, collect
from schema.execution.sqljson.outcome import NotPlain
from schema.execution.sqljson.roots import PlainField, PlainNode, Ready, plain_root
from schema.execution.sqljson.texts import MISFIT_BYTE, json_text

_RESTS = 8  # of one form: which root fields SQL could not make


@dataclass(frozen=True, slots=True)
class Answer:
    """The JSON text of `data`, None where the request could not be begun; and what went wrong."""

    data: bytes | None
    errors: Sequence[GraphQLError] = ()


@dataclass(slots=True, eq=False)
class Form:
    """An operation for given rights and conditions: its root fields in order, and the plain ones among them."""

    selections: dict[str, Selection]
    plain: dict[str, PlainField | PlainNode]
    rests: LeastRecent[frozenset[str], DocumentNode] = field(default_factory=lambda: LeastRecent(_RESTS))


async def execute(prepared: Prepared, raw_variables: Mapping[str, Any] | None, context: Context) -> Answer:
    """The answer to an operation.

    Raises:
        DeadlineExceeded, Unavailable: the database did not answer in time, or not at all.
        AnswerOutdated: the snapshot's premise does not hold; nothing of the answer may be used.
    """
    if prepared.errors:
        return Answer(None, prepared.errors)
    way = settings.ENVIRONMENT.execution
    if prepared.kind is not OperationType.QUERY or way == "reference":
        result = await reference(prepared.document, prepared.name, raw_variables, context)
        _refuse_outdated(result)
        return _answer(result)
    try:
        variables = coerce_variables(prepared.schema, prepared.operation, raw_variables)
    except RefusedVariables as refused:
        return Answer(None, refused.errors)
    form = _form(prepared, coerced(variables), context)
    texts = await _texts(form, variables, context) if way == "auto" else {}
    if len(texts) == len(form.selections):
        return Answer(_object(form, texts))
    result = await reference(_rest(prepared, form, texts), prepared.name, raw_variables, context)
    _refuse_outdated(result)
    if result.data is None or not texts:
        return _answer(result)
    others = {key: orjson.dumps(value) for key, value in result.data.items()}
    return Answer(_object(form, {**texts, **others}), result.errors or ())


def _rest(prepared: Prepared, form: Form, texts: Mapping[str, bytes]) -> DocumentNode:
    """The document with only the root fields that have no text yet, at their places in the source."""
    if not texts:
        return prepared.document
    keys = frozenset(form.selections.keys() - texts.keys())

    def reduced() -> DocumentNode:
        nodes = tuple(node for key, one in form.selections.items() if key in keys for node in one.nodes)
        operation = replace(prepared.operation, selection_set=SelectionSetNode(selections=nodes))
        return DocumentNode(definitions=(operation, *prepared.fragments.values()))

    return form.rests.get(keys, reduced)


def _refuse_outdated(result: ExecutionResult) -> None:
    """Raises AnswerOutdated where a resolver met it: no part of the answer may be used."""
    for error in result.errors or ():
        if isinstance(error.original_error, AnswerOutdated):
            raise error.original_error


def _form(prepared: Prepared, values: Mapping[str, Any], context: Context) -> Form:
    rights = context.principal.rights if context.principal else None
    key = (rights, tuple(values.get(name) for name in prepared.conditions))
    found = prepared.forms.get(key, lambda: _outlined(prepared, values, rights))
    if not isinstance(found, Form):
        raise TypeError(type(found).__name__)
    return found


def _outlined(prepared: Prepared, values: Mapping[str, Any], rights: frozenset[Right] | None) -> Form:
    query = prepared.schema.query_type
    if query is None:
        raise TypeError("a schema without queries")
    selections = collect(prepared.schema, prepared.fragments, values, query, [prepared.operation.selection_set])
    plain: dict[str, PlainField | PlainNode] = {}
    if rights is None:
        return Form(selections, plain)
    for key, selection in selections.items():
        try:
            plain[key] = plain_root(prepared.schema, prepared.fragments, values, rights, selection)
        except NotPlain:
            continue
    return Form(selections, plain)


async def _texts(form: Form, variables: Any, context: Context) -> dict[str, bytes]:
    """The JSON text of the root fields that SQL can make; none of them where one has an error to report."""
    ready: dict[str, Ready] = {}
    for key, field_ in form.plain.items():
        try:
            ready[key] = field_.ready(variables)
        except (NotPlain, AppError, GraphQLError):
            continue  # the executor makes the error
    queries = [
        TextQuery(query.text, parameters)
        for one in ready.values()
        for query, parameters in zip(one.plan.queries, one.parameters, strict=True)
    ]
    results = await context.snapshot.texts(queries, last=len(ready) == len(form.selections)) if queries else []
    found: dict[str, bytes] = {}
    for key, one in ready.items():
        count = len(one.plan.queries)
        found[key], results = one.plan.render(results[:count]), results[count:]
    if any(MISFIT_BYTE in text for text in found.values()):
        # The executor begins anew, in a snapshot of its own where this one is over.
        return {}
    return found


def _object(form: Form, texts: Mapping[str, bytes]) -> bytes:
    fields = (json_text(key).encode() + b":" + texts[key] for key in form.selections if key in texts)
    return b"{" + b",".join(fields) + b"}"


def _answer(result: ExecutionResult) -> Answer:
    errors = result.errors or []
    if result.data is None and errors and not any(error.path for error in errors):
        return Answer(None, errors)
    return Answer(orjson.dumps(result.data), errors)
