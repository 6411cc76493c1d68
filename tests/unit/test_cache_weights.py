"""What a process keeps is bounded in bytes: of documents with all that is made of them, of plans, and of texts."""

import dataclasses
import gc
import itertools
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from django.conf import settings
from graphql import GraphQLObjectType, get_named_type, is_leaf_type, is_required_argument

from backend.core.actor import Right
from backend.core.least_recent import LeastRecent
from backend.db import snapshots, sql
from backend.db.sql import ParentKey, Slot, Statement
from backend.phi import scanner
from schema.build import core_schema
from schema.cost import dry_run
from schema.execution import documents
from schema.execution.compiled.plan import Abstract, Fields, ObjectPlan
from schema.execution.documents import Prepared, prepare
from schema.execution.engine import Form, _outlined
from schema.execution.sqljson import roots
from schema.execution.sqljson.plans import Plan
from schema.execution.sqljson.roots import PlainField, PlainNode
from schema.http import requests
from schema.http.documents import Documents
from schema.relay.node import NodeKinds

_RIGHTS = frozenset(Right)
_CONDITIONS = "abcde"


def _formed(prepared: Prepared, **values: bool) -> Form:
    key = (_RIGHTS, 0, tuple(values.values()))
    found = prepared.made(prepared.forms, key, lambda: _outlined(prepared, values, _RIGHTS))
    assert isinstance(found, Form)
    return found


def _conditional(number: int) -> str:
    declared = ", ".join(f"${name}: Boolean!" for name in _CONDITIONS)
    parts = " ".join(f"... @include(if: ${name}) {{ __typename }}" for name in _CONDITIONS)
    return f"query Q{number}({declared}) {{ driftEvents {{ nodes {{ id delta payer {{ id name }} }} {parts} }} }}"


def _every_form(prepared: Prepared) -> None:
    for values in itertools.product((True, False), repeat=len(_CONDITIONS)):
        _formed(prepared, **dict(zip(_CONDITIONS, values, strict=True)))


def _kept(monkeypatch: pytest.MonkeyPatch, capacity: int) -> LeastRecent[Any, Prepared]:
    limited = dataclasses.replace(settings.ENVIRONMENT, document_cache_bytes=capacity)
    monkeypatch.setattr(settings, "ENVIRONMENT", limited)
    kept = documents._keeping(512, 1)
    monkeypatch.setattr(documents, "_documents", lambda: kept)
    return kept


def test_a_document_weighs_what_was_made_of_it_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = _kept(monkeypatch, 64_000_000)
    prepared = prepare(_conditional(0), None)
    assert kept.weighed == prepared.own_weight

    _every_form(prepared)
    assert kept.weighed == prepared.own_weight + 32 * prepared.form_weight

    values = dict.fromkeys(_CONDITIONS, True)
    prepared.price(values)
    priced = kept.weighed
    prepared.protected(values)
    assert prepared.own_weight + 32 * prepared.form_weight < priced < kept.weighed == prepared.weight


def test_documents_of_many_forms_push_out_others_and_never_weigh_more_than_they_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    capacity = 2_000_000
    kept = _kept(monkeypatch, capacity)

    for number in range(20):
        prepared = prepare(_conditional(number), None)
        _every_form(prepared)
        assert kept.weighed <= capacity
        assert prepared.forms.weighed <= capacity // 8
        assert 1 <= len(prepared.forms) < 32

    assert 1 < len(kept) < 20
    assert kept.weighed == sum(one.weight for one in kept._values.values())
    assert prepare(_conditional(19), None) is prepared


def test_a_document_that_was_pushed_out_is_freed_with_its_forms_though_its_plans_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = _kept(monkeypatch, 64_000_000)
    text = "query Freed($first: Int) { driftEvents(first: $first) { nodes { id } } }"
    prepared = prepare(text, None)
    field = _formed(prepared).plain["driftEvents"]
    assert isinstance(field, PlainField)
    assert prepared.coercion is not None
    variables = prepared.coercion.values({"first": 3})
    plans, bounds = len(roots._SHARED), len(roots._BOUND)
    assert field.ready(variables).plan is field.ready(variables).plan
    assert (len(roots._SHARED) - plans, len(roots._BOUND) - bounds) in {(1, 1), (0, 0)}  # all may be full

    gc.collect()
    gc.disable()
    try:
        seen = [weakref.ref(one) for one in (field.uses[0].node, prepared.document)]
        kept.forget((text, None))
        del prepared, field
        assert [one() for one in seen] == [None, None]
    finally:
        gc.enable()


def _leaves(kind: Any, depth: int) -> str:
    found = []
    for name, one in kind.fields.items():
        below = get_named_type(one.type)
        if any(map(is_required_argument, one.args.values())):
            continue
        if is_leaf_type(below):
            found.append(name)
        elif isinstance(below, GraphQLObjectType) and depth and (inner := _leaves(below, depth - 1)):
            found.append(f"{name} {{ {inner} }}")
    return " ".join(found)


def _shapes() -> dict[str, str]:
    aliases = " ".join(f"a{number}: id" for number in range(50))
    pages = " ".join(f"a{number}: driftEvents(first: 1) {{ nodes {{ id }} }}" for number in range(50))
    condition = ", ".join('{not: {payer: {code: {ne: "x"}}}}' for _ in range(95))
    return {
        "one field": "{ __typename }",
        "wide": f"{{ claims {{ nodes {{ {_leaves(core_schema().get_type('Claim'), 2)} }} }} }}",
        "one of every type": f'{{ node(id: "x") {{ {aliases} }} }}',
        "some of every type": f'{{ nodes(ids: ["x"]) {{ {aliases} }} }}',
        "many pages": f"{{ {pages} }}",
        "a long filter": f"{{ driftEvents(filter: {{and: [{condition}]}}) {{ nodes {{ id }} }} }}",
        "a long text": f'{{ driftEvents(filter: {{payer: {{code: {{eq: "{"x" * 40_000}"}}}}}}) {{ nodes {{ id }} }} }}',
        "a fragment in many places": "{ "
        + " ".join(f"a{number}: driftEvents {{ nodes {{ payer {{ ...P }} }} }}" for number in range(50))
        + " } fragment P on Payer { id name code }",
    }


def _grow(form: Form, prepared: Prepared) -> None:
    """Makes all that a form can become; its plans of SQL are not kept with it."""
    assert prepared.coercion is not None
    variables = prepared.coercion.values({})
    waiting: list[ObjectPlan] = [form.plan]
    while waiting:
        plan = waiting.pop()
        assert plan.template.keys() == plan.selections.keys()
        for field in plan.fields.values():
            shape: Any = field.shape
            while hasattr(shape, "item"):
                shape = shape.item
            if isinstance(shape, Abstract):
                waiting += [shape.plan(kind) for kind in core_schema().get_possible_types(shape.kind)]
            elif isinstance(shape, Fields):
                waiting.append(shape.plan)
    for one in form.plain.values():
        fields: list[PlainField | None] = [one] if isinstance(one, PlainField) else []
        if isinstance(one, PlainNode):
            one._by_tag.update({tag: roots._or_none(one._outline, tag) for tag in NodeKinds.by_tag})
            fields = list(one._by_tag.values())
        for field_ in fields:
            if field_ is not None:
                for use in field_.uses:
                    field_._fixed[use.number] = (
                        roots._bind(use, variables)
                        if use.number or isinstance(one, PlainField)
                        else roots.Bound("node", {})
                    )


def _taken(make: Callable[[], object]) -> int:
    """Bytes that the second of two makings takes; the first makes what is made once."""
    make()
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        found = make()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        del found
        return after - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", _shapes())
def test_a_form_is_weighed_as_what_it_can_become(name: str) -> None:
    prepared = prepare(_shapes()[name], None)
    assert prepared.errors == []

    def grown() -> Form:
        form = _outlined(prepared, {}, _RIGHTS)
        _grow(form, prepared)
        return form

    taken = _taken(grown)

    assert taken <= prepared.form_weight


@pytest.mark.parametrize("name", _shapes())
def test_documents_take_no_more_than_they_weigh(name: str) -> None:
    text = _shapes()[name]

    taken = _taken(lambda: [documents._prepare(f"{text} # {number}", None) for number in range(10)])

    # Python's cache of attributes keeps the names of methods that a walk has looked for, some 4,000 in all.
    assert taken <= 10 * documents._prepare(f"{text} # 0", None).own_weight + 300_000


_CONDITIONS_OF = {
    "values": [{"payer": {"code": {"ne": "x"}}}] * 95,
    "none": [{"payer": {"code": {"isNull": True}}}] * 95,
    "lists": [{"payer": {"code": {"in": ["x" * 30] * 100}}}] * 20,
}


@pytest.mark.parametrize("name", _CONDITIONS_OF)
def test_plans_statements_and_arguments_take_no_more_than_they_weigh(name: str) -> None:
    text = "query($filter: DriftEventFilter) { driftEvents(filter: $filter) { totalCount nodes { id } } }"
    prepared = prepare(text, None)
    assert prepared.coercion is not None
    field = _outlined(prepared, {}, _RIGHTS).plain["driftEvents"]
    assert isinstance(field, PlainField)
    coercion, use = prepared.coercion, field.uses[0]

    def bound() -> roots.Bound:
        conditions = orjson.loads(orjson.dumps(_CONDITIONS_OF[name]))  # texts of its own
        return roots._bind(use, coercion.values({"filter": {"or": conditions}}))

    made = bound()

    def plan() -> tuple[Any, Plan]:
        return (0, (bound().shape,)), field._plan((made,))

    def statement() -> tuple[Any, Statement]:
        query = bound().page
        return ("page", *query.shape), query.rows(ParentKey())

    assert _taken(bound) <= roots._bound_weight((), made)
    assert _taken(plan) <= roots._plan_weight(*plan())
    assert _taken(statement) <= sql._weight(*statement())


def test_plans_statements_and_bounds_weigh_by_their_texts_and_values() -> None:
    short, long = (Statement("x" * length, (Slot("a"),)) for length in (10, 1_000_010))
    assert sql._weight((), long) - sql._weight((), short) >= 1_000_000

    few, many = (roots.Bound((), {str(n): "x" * 100 for n in range(number)}) for number in (1, 101))
    assert roots._bound_weight((1, 0, ("y",)), many) - roots._bound_weight((1, 0, ("y",)), few) >= 10_000
    assert roots._bound_weight((1, 0, ("y" * 10_000,)), few) >= 10_000


def test_no_long_text_is_kept_for_each_of_many_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    length = 100_000
    for number in range(100):
        text = f"SELECT %s, {number}, '{'x' * length}'"
        assert snapshots._numbered(text) == text.replace("%s", "$1").encode()
        sql.STATEMENTS.get(("test", number), lambda text=text: Statement(text, ()))  # type: ignore[misc]  # of a lambda

    assert snapshots._NUMBERED.weighed <= 2_000_000
    assert 1 < len(snapshots._NUMBERED) <= 10
    assert sql.STATEMENTS.weighed <= 8_000_000
    assert 1 < len(sql.STATEMENTS) <= 40

    kept = Documents()
    for number in range(200):
        kept.remember("x" * length, str(number), is_known=True)
        kept.remember("x" * length, str(number), is_known=False)
    assert 1 < len(kept._sent) <= 80
    assert 1 < len(kept._sent_by_strangers) <= 10

    results = dry_run._results()
    for number in range(16):
        results.get(("x" * 1_000_000, str(number), None), lambda: (1, 1, []))
    assert 1 < len(results) <= 4

    before = scanner._remembered.cache_info().currsize
    assert scanner.scan("x" * length) == ()
    assert scanner._remembered.cache_info().currsize == before
    before = requests._remembered.cache_info().currsize
    assert requests.response_type(f"application/json, {' ' * length}") == requests.JSON
    assert requests._remembered.cache_info().currsize == before
