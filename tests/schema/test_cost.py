"""What operations cost: by declarations, on the actual values of variables, the same by every way of execution."""

import json
from functools import partial
from typing import Any

import pytest
from graphql import execute_sync, get_introspection_query, parse
from hypothesis import given
from hypothesis import strategies as st

from backend.config.env import Environment
from schema.build import build_schema, core_schema
from schema.cost.directives import Cost, ListSize
from schema.execution.core import coerced
from schema.execution.documents import prepare
from tests.api import Api
from tests.unit.counted_work import counted

QUERIES = core_schema().query_type.fields  # type: ignore[union-attr]  # a schema has queries
PAGE = "query($n: Int) { payers(first: $n) { nodes { id name } } }"

FILTERED = "query($f: DriftEventFilter) { driftEvents(first: 0, filter: $f) { nodes { id } } }"


def _price(document: str, **variables: Any) -> int:
    prepared = prepare(document, None)
    assert prepared.errors == []
    return prepared.price(variables).requested


@pytest.mark.parametrize(
    ("document", "variables", "cost"),
    [
        ("{ __typename }", {}, 1),
        ("{ payers { nodes { id name } } }", {}, 1 + 25),
        ("{ payers { edges { node { id } } } }", {}, 1 + 25 * 2),
        ("{ payers(first: 3) { nodes { id } pageInfo { hasNextPage } totalCount } }", {}, 1 + 3 + 1 + 10),
        ("{ payers(first: 0) { nodes { id } } }", {}, 1),
        ("{ payers(last: 7) { nodes { id } } }", {}, 1 + 7),
        (PAGE, {"n": 40}, 1 + 40),
        (PAGE, {"n": None}, 1 + 25),
        (PAGE, {}, 1 + 25),
        (PAGE, {"n": "many"}, 1 + 25),
        (PAGE, {"n": -5}, 1),
        ("query($n: Int = 4) { payers(first: $n) { nodes { id } } }", {}, 1 + 4),
        ("query($n: Int = 4) { payers(first: $n) { nodes { id } } }", {"n": 9}, 1 + 9),
        ("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": ["a"] * 8}, 8 * 4),
        ('{ nodes(ids: ["a", "b"]) { id } }', {}, 2 * 4),
        ("query($a: ID!) { nodes(ids: [$a, $a]) { id } }", {"a": "a"}, 2 * 4),
        ('{ nodes(ids: "a") { id } }', {}, 1 * 4),
        ("{ nodes(ids: 7) { id } }", {}, 1 * 4),
        ("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": "a"}, 1 * 4),
        ('query($ids: [ID!] = "a") { nodes(ids: $ids) { id } }', {}, 1 * 4),
        (PAGE, {"n": 40.0}, 1 + 40),
        (PAGE, {"n": 40.5}, 1 + 25),
        (PAGE, {"n": True}, 1 + 25),
        (PAGE, {"n": [1, 2]}, 1 + 25),
        ("{ payers(first: 2147483647) { nodes { id } } }", {}, 1 + 2147483647),
        ("{ agents(first: 2) { nodes { trend(last: 3) { id } lastRun { id } openFindings { high } } } }", {}, 15),
        ("query($x: Boolean!) { payers { nodes { id } totalCount @include(if: $x) } }", {"x": True}, 1 + 25 + 10),
        ("query($x: Boolean!) { payers { nodes { id } totalCount @include(if: $x) } }", {"x": False}, 1 + 25),
        ("{ payers { nodes { id } } payers { nodes { name } } }", {}, 1 + 25),
        ("{ a: payers { nodes { id } } b: payers { nodes { id } } }", {}, 2 * 26),
        ("{ ...p } fragment p on Query { payers { ...n } } fragment n on PayerConnection { nodes { id } }", {}, 26),
        ('{ node(id: "x") { ... on DriftEvent { id } ... on Agent { runs { nodes { id } } } } }', {}, 1 + 1 + 25),
        ("{agents(first: 9) {nodes {runs(first: 8) {nodes {findings(first: 7) {nodes {id}}}}}}}", {}, 667),
        ("{ __schema { types { name } } }", {}, 2 * (1 + len(core_schema().type_map))),
        ("{ __schema { queryType { fields { name } } } }", {}, 2 * (1 + 1 + len(QUERIES))),
        ('{ __type(name: "Viewer") { fields { name type { name ofType { name ofType { name } } } } } }', {}, 22),
        ('{ __type(name: "Nothing") { fields { name } } }', {}, 1),
        ("query($n: String!) { __type(name: $n) { name } }", {"n": "Viewer"}, 2),
        (FILTERED, {}, 1),
        (FILTERED, {"f": None}, 1),
        (FILTERED, {"f": {}}, 1),
        (FILTERED, {"f": "no filter"}, 1),
        (FILTERED, {"f": {"harmful": {"eq": True}, "severity": {"gt": "LOW", "in": ["LOW", "HIGH"]}}}, 1 + 3),
        (FILTERED, {"f": {"or": [{"payer": {"code": {"eq": f"{n}"}}} for n in range(96)]}}, 1 + 96),
        (FILTERED, {"f": {"not": {"nothing": {"in": []}, "and": [{}, {"x": 1}]}}}, 1 + 3),
        (FILTERED, {"f": [{"x": 1}, {"y": [[{}]]}]}, 1 + 2),
        ("{ driftEvents(first: 0, filter: null) { nodes { id } } }", {}, 1),
        ("{ driftEvents(first: 0, filter: {}) { nodes { id } } }", {}, 1),
        ("{ driftEvents(first: 0, filter: {severity: {gt: LOW, in: [LOW, HIGH]}}) { nodes { id } } }", {}, 1 + 2),
        ("{ driftEvents(first: 0, filter: {and: [{}, {}], harmful: {}}) { nodes { id } } }", {}, 1 + 3),
        ("query($f: DriftEventFilter = {harmful: {eq: true}}) { driftEvents(first: 2, filter: $f) { nodes { id } } }",
         {}, 1 + 2 + 1),
        (("query($f: DriftEventFilter!, $s: [DriftSeverity!], $n: Int) { driftEvents(first: $n, filter:"
         " {or: [$f, {severity: {in: $s}}, {and: [{severity: {in: $s}}, $f]}]}) { nodes { id } } }"),
         {"f": {"harmful": {"eq": True}, "status": {"ne": "NEW"}}, "s": ["LOW"] * 9, "n": 0}, 1 + 2 + 1 + 1 + 2),
    ],
)  # fmt: skip
def test_a_price_follows_from_the_declarations_and_the_values_of_variables(
    document: str, variables: dict[str, Any], cost: int
) -> None:
    assert _price(document, **variables) == cost


@pytest.mark.parametrize("number", [100, 101])
async def test_the_conditions_of_a_price_are_those_that_are_limited(api: Api, number: int) -> None:
    parts = [{}, {"harmful": {}}, {"payer": {"code": {"in": ["a", "b"]}}}, *[{"harmful": {"eq": True}}] * (number - 4)]
    filtered: dict[str, Any] = {"f": {"or": parts, "harmful": {"ne": True}}}

    answer = await api(FILTERED, **filtered)

    assert _price(FILTERED, **filtered) == 1 + number
    assert answer.codes == (["BAD_USER_INPUT"] if number > 100 else [])


def test_prices_are_known_again_by_the_number_of_conditions() -> None:
    prepared = prepare(FILTERED, None)

    prices = [prepared.price({"f": {name: {"eq": value}}}) for name in ("harmful", "payer") for value in range(9)]

    assert all(price is prices[0] for price in prices)


async def test_the_dry_run_tells_the_price_of_conditions(api: Api) -> None:
    filtered = {"f": {"harmful": {"eq": True}, "severity": {"gt": "LOW"}}}

    told = await api.data(
        "query($d: String!, $v: String) { cost(document: $d, variables: $v) { requested fields { path cost } } }",
        d=FILTERED,
        v=json.dumps(filtered),
    )

    assert told["cost"]["requested"] == _price(FILTERED, **filtered) == 3
    assert {"path": "driftEvents", "cost": 3} in told["cost"]["fields"]


_EVERY_PLACE = """
query($n: Int!, $m: Int = 7, $ids: [ID!]!, $more: [ID!] = "a", $x: Boolean!, $y: Boolean = true) {
  agentRuns(first: $n) { totalCount @skip(if: $x) nodes { findings(last: $m) { nodes @include(if: $y) { id } } } }
  nodes(ids: $ids) { id } more: nodes(ids: $more) { id } agents(last: $m) { nodes { trend(last: $n) { id } } }
}"""
_numbers = st.integers(-3, 200) | st.integers(-(2**31), 2**31 - 1)
_ints = _numbers | _numbers.map(float)
_id_lists = st.lists(st.text(max_size=3) | _ints, max_size=5) | st.text(max_size=3) | _ints
_variables = st.fixed_dictionaries(
    {"n": _ints, "ids": _id_lists, "x": st.booleans()},
    optional={"m": _ints | st.none(), "more": _id_lists | st.none(), "y": st.booleans() | st.none()},
)


@given(_variables)
def test_a_price_is_that_of_the_coerced_values(variables: dict[str, Any]) -> None:
    prepared = prepare(_EVERY_PLACE, None)
    assert prepared.coercion is not None
    values = coerced(prepared.coercion.values(variables))

    found = prepared.price(variables)

    assert found == prepared.price(values)
    assert found.roots["nodes"].size == len(values["ids"])
    assert found.roots["agentRuns"].size == max(0, values["n"])


def test_introspection_of_tools_is_within_the_limit_and_its_price_is_that_of_its_objects() -> None:
    text = get_introspection_query(
        specified_by_url=True,
        directive_is_repeatable=True,
        schema_description=True,
        input_value_deprecation=True,
    )

    price = _price(text)

    assert price == 2 * _objects(execute_sync(core_schema(), parse(text)).data)
    assert price < Environment().max_cost


def _objects(data: Any) -> int:
    """The objects of an answer below its root."""
    if isinstance(data, list):
        return sum(isinstance(one, dict) + _objects(one) for one in data)
    if isinstance(data, dict):
        return sum(isinstance(one, dict) + _objects(one) for one in data.values())
    return 0


def test_the_price_of_introspection_is_found_with_bounded_work_and_passes_the_limit_where_the_answer_is_large() -> None:
    fields = "fields(includeDeprecated: true) { args { name type { name } } name }"
    prepared = [
        prepare("{" + " ".join(f"a{n}: __schema {{ types {{ {fields} }} }}" for n in range(50)) + "}", None),
        prepare("{" + " ".join(f"a{n}: __schema {{ types {{ n{n}: name {fields} }} }}" for n in range(20)) + "}", None),
    ]

    for one in prepared:
        price, _ = counted(partial(one.price, None), at_most=400_000)
        assert one.errors == []
        assert Environment().max_cost < price.requested <= Environment().max_cost + 2


def test_a_price_is_worked_out_once_for_the_same_values() -> None:
    prepared = prepare(PAGE, None)

    first, other = prepared.price({"n": 3}), prepared.price({"n": 4})

    assert prepared.price({"n": 3, "unknown": 7}) is first
    assert other.requested == first.requested + 1


def test_every_list_of_objects_says_how_long_it_is_and_every_mutation_what_it_costs() -> None:
    silent = []
    for definition in build_schema().schema_converter.type_map.values():
        for field in getattr(definition.definition, "fields", ()):
            directives = getattr(field, "directives", ())
            paged = getattr(field, "declaration", None) is not None and "first" in {
                a.python_name for a in field.arguments
            }
            if paged and not any(isinstance(one, ListSize) for one in directives):
                silent.append(f"{definition.definition.name}.{field.name}")
    mutation = core_schema().mutation_type
    assert mutation is not None
    for name, field in mutation.fields.items():
        if not any(isinstance(one, Cost) for one in field.extensions["strawberry-definition"].directives):
            silent.append(f"Mutation.{name}")

    assert silent == []
