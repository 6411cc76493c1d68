"""Executes an operation by the cheapest ways that give graphql-core's answer: SQL-made JSON, compiled, graphql-core.

A query can take two ways: its plain root fields are made by SQL, the others by the compiled executor, in one snapshot.
"""

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from graphql import ExecutionResult, GraphQLError
from graphql.execution.values import VariableValues

from backend.core.actor import Right
from backend.core.errors import AnswerTooLarge, AppError, Unavailable
from backend.db.pipeline import Parts, Room, TextQuery
from backend.db.premises import AnswerOutdated
from backend.db.replicas import NotOnReplica
from schema.context import Context
from schema.execution.accounting import give_account, refusals_of
from schema.execution.compiled.plan import Document, ObjectPlan
from schema.execution.compiled.run import execute as execute_compiled
from schema.execution.core import (
    Coercion,
    RefusedVariables,
    coerced,
    event_result,
    executor,
    reference,
    source_events,
)
from schema.execution.documents import Prepared
from schema.execution.sqljson.outcome import NotPlain
from schema.execution.sqljson.roots import PlainField, PlainNode, Ready, plain_root
from schema.execution.sqljson.texts import MISFIT_BYTE, json_text
from schema.execution.weighed import json_within
from schema.small_cells import HIDDEN_BELOW, hidden_below

UNEXECUTED = "none"
"""The way of what was refused before it was executed."""
_VALUES_AT_ONCE = 4_000  # of an answer: so many at most come from PostgreSQL before their length is looked at
_AT_ONCE = 4  # root fields that are made ready, or become text, before others have a turn; a costly one is as many


@dataclass(frozen=True, slots=True)
class Answer:
    """The JSON text of `data`, None where the request could not be begun; and what went wrong.

    An answer that is larger than it may be has the data null, and an error that says so.
    """

    data: bytes | None
    errors: Sequence[GraphQLError] = ()
    rows: Mapping[str, int] | None = field(default_factory=dict)
    """Of the lists of the root fields, by response key; None where they were so many that the answer was given up."""
    extensions: Mapping[str, Any] = field(default_factory=dict)
    way: str = UNEXECUTED
    """How it was made: `sql`, `compiled`, `mixed` of these two, or `reference`."""


@dataclass(slots=True, eq=False)
class Form:
    """An operation for given rights and conditions: its root fields in order, and the plain ones among them."""

    plan: ObjectPlan
    plain: dict[str, PlainField | PlainNode]
    names: dict[str, bytes] = field(init=False)
    """The beginning of each root field in the answer, by its response key."""

    def __post_init__(self) -> None:
        self.names = {key: json_text(key).encode() + b":" for key in self.keys}

    @property
    def keys(self) -> Collection[str]:
        """The root fields' response keys."""
        return self.plan.selections.keys()


async def execute(prepared: Prepared, raw_variables: Mapping[str, Any] | None, context: Context) -> Answer:
    """The answer to an operation, of which account has been given where it shows what is protected.

    Raises:
        DeadlineExceeded, Unavailable: the database did not answer in time, or not at all.
        AnswerOutdated: what the snapshot takes for granted is no longer so; nothing of the answer may be used.
        NotOnReplica: nor then, where the snapshot is a replica's, and that could not go on.
        PurposeMissing, AccountNotWritten: the answer may not leave.
    """
    if prepared.errors or prepared.coercion is None:
        return Answer(None, prepared.errors)
    HIDDEN_BELOW.set(hidden_below(context.principal))
    try:
        answer = await _executed(prepared, prepared.coercion, raw_variables, context)
    except AnswerTooLarge as error:
        answer = _too_large(error, (), "sql")
    except asyncio.CancelledError:
        _unless_told_to_stop()
        raise
    return await _accounted(prepared, prepared.coercion, raw_variables, context, answer)


def _unless_told_to_stop() -> None:
    """Raises RuntimeError where a cancellation is not ours.

    Who waits for something that was cancelled has no answer, and must hear of it: it was not told to stop itself.
    """
    task = asyncio.current_task()
    if task is not None and not task.cancelling():
        raise RuntimeError("what the operation waited for was cancelled") from None


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A subscription whose field has given its stream of events."""

    prepared: Prepared
    coercion: Coercion
    raw_variables: Mapping[str, Any] | None
    variables: VariableValues
    events: AsyncGenerator[Any, None]

    async def answer(self, event: Any, context: Context) -> Answer:
        """The answer to one event, of which account has been given; each has a context of its own.

        Raises: as execute.
        """
        HIDDEN_BELOW.set(hidden_below(context.principal))
        run = executor(self.prepared.schema, self.prepared.operation, self.prepared.fragments, self.variables, context)
        try:
            result = await event_result(run, event)
        except asyncio.CancelledError:
            _unless_told_to_stop()
            raise
        _refuse_unusable(result)
        return await _accounted(self.prepared, self.coercion, self.raw_variables, context, _answer(result, "reference"))


async def subscribe(prepared: Prepared, raw_variables: Mapping[str, Any] | None, context: Context) -> Subscribed:
    """The subscription, begun; `context` lives as long as its events.

    Raises:
        RefusedVariables: with each variable that does not fit.
        GraphQLError: the arguments do not.
    """
    if prepared.coercion is None:
        raise RefusedVariables(prepared.errors)
    variables = prepared.coercion.values(raw_variables)
    run = executor(prepared.schema, prepared.operation, prepared.fragments, variables, context)
    return Subscribed(prepared, prepared.coercion, raw_variables, variables, await source_events(run))


async def _accounted(
    prepared: Prepared,
    coercion: Coercion,
    raw_variables: Mapping[str, Any] | None,
    context: Context,
    answer: Answer,
) -> Answer:
    limit = settings.ENVIRONMENT.max_answer_bytes
    # By what is around the values, which was not counted.
    if answer.data is not None and answer.rows is not None and len(answer.data) > limit:
        answer = _too_large(AnswerTooLarge(limit=limit), answer.errors, answer.way)
    if context.principal is None or answer.data is None:
        return answer
    if answer.data == b"null":
        context.shown.clear()  # an error took all of it, also what had been made by then
    refusals = refusals_of(prepared.schema, prepared.document, answer.errors) if answer.errors else ()
    values: Mapping[str, Any] = {}
    if prepared.conditions.variables:
        values = coerced(coercion.values(raw_variables))
    protected = prepared.protected(values)
    if protected.fields or refusals:
        await give_account(context, prepared.text, protected, answer.errors, refusals)
    return answer


async def _executed(
    prepared: Prepared, coercion: Coercion, raw_variables: Mapping[str, Any] | None, context: Context
) -> Answer:
    way = settings.ENVIRONMENT.execution
    if way == "reference" or prepared.is_for_reference(raw_variables):
        return await _by_reference(prepared, raw_variables, context)
    try:
        variables = coercion.values(raw_variables)
    except RefusedVariables as refused:
        return Answer(None, refused.errors)
    values = coerced(variables)
    form = _form(prepared, values, context)
    rows: dict[str, int] = {}
    room = Room(settings.ENVIRONMENT.max_answer_bytes)
    texts = await _texts(form, variables, context, rows, room) if way == "auto" else {}
    if len(texts) == len(form.keys):
        return Answer(_object(form, texts), (), rows, way="sql")
    others = [key for key in form.keys if key not in texts]
    context.columns = form.plan.columns
    run = executor(prepared.schema, prepared.operation, prepared.fragments, variables, context)
    result = await execute_compiled(form.plan, others, run)
    _refuse_unusable(result)
    if result.data is None or not texts:
        return _answer(result, "compiled")
    return _mixed(form, texts, rows, result.data, result.errors or ())


def _mixed(
    form: Form,
    texts: Mapping[str, bytes],
    rows: Mapping[str, int],
    data: Mapping[str, Any],
    errors: Sequence[GraphQLError],
) -> Answer:
    """What SQL has made, and what the executor has."""
    room = Room(settings.ENVIRONMENT.max_answer_bytes)
    try:
        room.take(sum(map(len, texts.values())))
        made = {key: json_within(value, room) for key, value in data.items()}
    except AnswerTooLarge as error:
        return _too_large(error, errors, "mixed")
    return Answer(_object(form, {**texts, **made}), errors, {**rows, **_rows(data)}, way="mixed")


async def _by_reference(prepared: Prepared, raw_variables: Mapping[str, Any] | None, context: Context) -> Answer:
    if context.idempotency_key is not None:
        context.first_key = prepared.first_key(raw_variables)
    result = await reference(prepared.document, prepared.name, raw_variables, context)
    _refuse_unusable(result)
    return _answer(result, "reference")


def _refuse_unusable(result: ExecutionResult) -> None:
    """Raises AnswerOutdated, NotOnReplica or Unavailable where a resolver met it: no part of the answer may be used.

    Without the database the rest would be of another instant, if there is one.
    """
    for error in result.errors or ():
        if isinstance(error.original_error, (AnswerOutdated, NotOnReplica, Unavailable)):
            raise error.original_error


def _form(prepared: Prepared, values: Mapping[str, Any], context: Context) -> Form:
    rights = context.principal.rights if context.principal else None
    key = (rights, HIDDEN_BELOW.get(), tuple(values.get(name) for name in prepared.conditions.variables))
    found = prepared.made(prepared.forms, key, lambda: _outlined(prepared, values, rights))
    if not isinstance(found, Form):
        raise TypeError(type(found).__name__)
    return found


def _outlined(prepared: Prepared, values: Mapping[str, Any], rights: frozenset[Right] | None) -> Form:
    query = prepared.schema.query_type
    if query is None:
        raise TypeError("a schema without queries")
    conditions = {name: values[name] for name in prepared.conditions.variables if name in values}
    document = Document(prepared.schema, prepared.fragments, conditions)
    plan = ObjectPlan(document, query, [prepared.operation.selection_set])
    plain: dict[str, PlainField | PlainNode] = {}
    if rights is None:
        return Form(plan, plain)
    for key, selection in plan.selections.items():
        try:
            plain[key] = plain_root(prepared.schema, prepared.fragments, conditions, rights, selection)
        except NotPlain:
            continue
    return Form(plan, plain)


async def _texts(
    form: Form, variables: VariableValues, context: Context, rows: dict[str, int], room: Room
) -> dict[str, bytes]:
    """The JSON text of the root fields that SQL can make, and that have no error to report; puts down their rows.

    Raises:
        AnswerTooLarge: there is no room for them.
    """
    ready: dict[str, Ready] = {}
    work = 0
    for key, field_ in form.plain.items():
        if work >= _AT_ONCE:
            await asyncio.sleep(0)
            work = 0
        try:
            ready[key] = field_.ready(variables)
            work += _AT_ONCE if ready[key].costly else 1
        except (NotPlain, AppError, GraphQLError):
            work += _AT_ONCE  # all conditions but one may have been translated; the executor makes the error
    queries = _queries(list(ready.values()), room)
    last = len(ready) == len(form.keys)
    results = await context.snapshot.texts(queries, last=last) if queries else []
    found: dict[str, bytes] = {}
    for number, (key, one) in enumerate(ready.items(), 1):
        await _let_others(number)
        count = len(one.plan.queries)
        context.note(one.plan.model, one.plan.shown(results[:count]))
        found[key] = one.plan.render(results[:count])
        rows[key] = one.plan.rows(results)
        results = results[count:]
    room.taken = 0
    room.take(sum(map(len, found.values())))
    fitting = {key: text for key, text in found.items() if MISFIT_BYTE not in text}
    # The executor makes the others in the same snapshot; where that is over it begins anew, and makes them all.
    return {} if last and len(fitting) < len(found) else fitting


def _queries(ready: Sequence[Ready], room: Room) -> list[TextQuery]:
    """The statements; where they can bring much, the rows of each come few at a time."""
    is_large = sum([one.plan.values[0] * one.plan.values[1] for one in ready]) > _VALUES_AT_ONCE
    found = []
    for one in ready:
        for query, parameters in zip(one.plan.queries, one.parameters, strict=True):
            parts = Parts(max(1, _VALUES_AT_ONCE // (one.plan.values[1] or 1)), room) if is_large else None
            found.append(TextQuery(query.text, parameters, parts=parts))
    return found


async def _let_others(number: int) -> None:
    """Nothing; after each few root fields others go on, for there can be many, with a statement to write for each."""
    if number % _AT_ONCE == 0:
        await asyncio.sleep(0)


def _object(form: Form, texts: Mapping[str, bytes]) -> bytes:
    return b"{" + b",".join([name + texts[key] for key, name in form.names.items() if key in texts]) + b"}"


def _answer(result: ExecutionResult, way: str) -> Answer:
    errors = result.errors or []
    if result.data is None and errors and not any(error.path for error in errors):
        return Answer(None, errors)
    try:
        text = json_within(result.data, Room(settings.ENVIRONMENT.max_answer_bytes))
    except AnswerTooLarge as error:
        return _too_large(error, errors, way)
    return Answer(text, errors, _rows(result.data or {}), way=way)


def _too_large(error: AnswerTooLarge, others: Sequence[GraphQLError], way: str) -> Answer:
    """No data; what went wrong beside it is told, and recorded, all the same."""
    return Answer(b"null", [GraphQLError(error.message, original_error=error), *others], None, way=way)


def _rows(data: Mapping[str, Any]) -> dict[str, int]:
    """The items of the lists that root fields are or have."""
    return {key: _items(value) for key, value in data.items()}


def _items(value: Any) -> int:
    if isinstance(value, list):
        return len(value)
    lists = [len(one) for one in value.values() if isinstance(one, list)] if isinstance(value, dict) else []
    return max(lists, default=0)
