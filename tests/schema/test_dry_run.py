"""Query.cost: what an operation would cost, told without executing it."""

import threading

import orjson
import pytest
from django.conf import settings
from graphql import DocumentNode, GraphQLError, GraphQLSchema

from backend.accounts.models import Organization
from backend.config.env import Environment
from schema import validity
from schema.execution.documents import prepare
from tests import acceptance
from tests.api import Api
from tests.threads import in_thread


def _price(document: str) -> int:
    prepared = prepare(document, None)
    assert prepared.errors == []
    return prepared.price(None).requested


async def test_the_dry_run_tells_the_price_of_every_field(api: Api) -> None:
    document = "query($n: Int) { payers(first: $n) { totalCount nodes { id } } }"
    asked = """query($d: String!, $v: String) { cost(document: $d, variables: $v) {
      requested limit statements fields { path cost statements } } }"""

    answer = await api(asked, d=document, v=orjson.dumps({"n": 7}).decode())

    assert answer.errors == []
    assert answer.statements == []
    assert answer.data["cost"] == {
        "requested": 18,
        "limit": settings.ENVIRONMENT.max_cost,
        "statements": 2,
        "fields": [
            {"path": "payers", "cost": 18, "statements": 1},
            {"path": "payers.nodes", "cost": 7, "statements": 0},
            {"path": "payers.nodes.id", "cost": 0, "statements": 0},
            {"path": "payers.totalCount", "cost": 10, "statements": 1},
        ],
    }


async def test_the_dry_run_prices_a_document_once_however_often_it_is_asked_for(
    api: Api, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    priced = []

    def problems(schema: GraphQLSchema, document: DocumentNode, *, at_most: int) -> list[GraphQLError]:
        priced.append(threading.current_thread().name)
        return validity.problems(schema, document, at_most=at_most)

    monkeypatch.setattr("schema.cost.dry_run.problems", problems)
    aliases = " ".join(f"a{number}: cost(document: $d) {{ requested }}" for number in range(9))

    data = await api.data(f"query($d: String!) {{ {aliases} }}", d=f"query {way} {{ payers {{ nodes {{ id }} }} }}")

    assert [one["requested"] for one in data.values()] == [26] * 9
    assert [name.partition("_")[0] for name in priced] == ["documents"]


def test_dry_runs_cost_what_they_take_so_that_an_operation_holds_few() -> None:
    aliases = " ".join(f'a{n}: cost(document: "{{__typename}}") {{ fields {{ path }} }}' for n in range(7))

    assert _price('{ cost(document: "{__typename}") { requested } }') == 500
    assert _price(f"{{ {aliases} }}") == 7 * 1_500 > Environment().max_cost


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"d": "{"}, "The document to be priced is not valid: Syntax Error"),
        ({"d": "{ nothing }"}, "Cannot query field 'nothing'"),
        ({"d": "{" + "a" * 60_000 + "}"}, "DRIFTGRAPH_MAX_QUERY_CHARACTERS"),
        ({"d": "{__typename}", "v": "[]"}, "must be a JSON object"),
        ({"d": "{__typename}", "v": "{"}, "must be a JSON object"),
        ({"d": "{__typename}", "v": '{"a":[' + "[]," * 30_000 + "[]]}"}, "DRIFTGRAPH_MAX_JSON_VALUES"),
    ],
)
async def test_the_dry_run_refuses_what_could_not_be_executed(api: Api, arguments: dict[str, str], says: str) -> None:
    answer = await api(
        "query($d: String!, $v: String) { cost(document: $d, variables: $v) { limit } }",
        **arguments,
    )

    assert answer.codes == ["BAD_USER_INPUT"]
    assert says in answer.errors[0]["message"]


async def test_the_dry_run_of_a_huge_operation_fits_into_an_int(api: Api) -> None:
    pages = "{ agents(first: 99999999) { nodes { runs(first: 99999999) { nodes { id } } } } }"

    data = await api.data("query($d: String!) { cost(document: $d) { requested } }", d=pages)

    assert data == {"cost": {"requested": 2**31 - 1}}


TOLD = "query($d: String!, $v: String) { cost(document: $d, variables: $v) { statements } }"
EVERY_ID = (
    "query($ids: [ID!]!) { nodes(ids: $ids) { id ... on DriftEvent { payer { id } } ... on Claim { payer { id } } } }"
)


@pytest.mark.parametrize(
    ("document", "statements"),
    [
        ("{ __typename }", 0),
        ("{ viewer { role } }", 1),
        ("{ viewer { organization { name } } }", 1),
        ("{ accessReview { actorCount emergencyAccess { reason } } }", 2),
        ("{ schemaUsage { uses } }", 1),
        ("{ payers { totalCount } }", 2),
        ("{ payers { totalCountPrecision nodes { id } } }", 2),
        ("{ payers { totalCount again: totalCount totalCountPrecision } }", 2),
        ('{ a: payers { totalCount } b: payers(filter: {code: {eq: "P1"}}) { totalCount } }', 4),
        ("{ agents { nodes { trend(last: 0) { id } } } }", 1),
        ("{ agents { nodes { trend { id } lastRun { id } openFindings { high } } } }", 4),
    ],
)
async def test_the_dry_run_tells_how_many_statements_read_the_answer(
    api: Api, organization: Organization, way: str, document: str, statements: int
) -> None:
    await in_thread(acceptance.fill, organization, 2)

    told = await api.data(TOLD, d=document)
    answer = await api(document)

    assert answer.errors == []
    assert told == {"cost": {"statements": statements}}
    taken = len(answer.statements)
    assert taken <= statements if way == "auto" else taken == statements


async def test_the_dry_run_counts_a_statement_for_each_type_that_ids_can_have(
    api: Api, organization: Organization
) -> None:
    ids = await in_thread(acceptance.fill, organization, 2)
    lists = [[ids["event"]], [ids["event"]] * 5, list(ids.values())]

    told = [await api.data(TOLD, d=EVERY_ID, v=orjson.dumps({"ids": one}).decode()) for one in lists]
    answers = [await api(EVERY_ID, ids=one) for one in lists]

    assert [len(answer.statements) for answer in answers] == [2, 2, 4]
    # The payer is asked for on two types, each of which may have one.
    assert [one["cost"]["statements"] for one in told] == [3, 7, 5]
