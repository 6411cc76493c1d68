"""Budgets over HTTP: what an operation takes of them, what it gives back, and who waits."""

import dataclasses
import datetime
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.utils import timezone

from backend.accounts.models import Organization
from backend.core.tenancy import acting_for
from backend.db.reads import Reads
from backend.db.writes import WriteThreads
from schema.cost.budgets import accounts_of
from tests import factories as make
from tests.asgi import asking, bearer
from tests.threads import in_thread

PAGE = "query($n: Int) { payers(first: $n) { nodes { id name } } }"


@pytest.fixture
async def http(reads: Reads, writes: WriteThreads, way: str) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(reads, writes) as client:
        yield client


@pytest.fixture
async def token(organization: Organization) -> dict[str, str]:
    return await in_thread(bearer, organization)


def _payers(organization: Organization, count: int) -> None:
    with acting_for(organization.id):
        for number in range(count):
            make.payer(organization, f"p{number}")


def _set(monkeypatch: pytest.MonkeyPatch, **values: Any) -> None:
    monkeypatch.setattr(settings, "ENVIRONMENT", dataclasses.replace(settings.ENVIRONMENT, **values))


async def test_an_operation_over_the_limit_is_refused_with_the_setting(
    http: httpx.AsyncClient, token: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(monkeypatch, max_cost=26)

    allowed = await http.post("/graphql", json={"query": PAGE, "variables": {"n": 25}}, headers=token)
    refused = await http.post("/graphql", json={"query": PAGE, "variables": {"n": 26}}, headers=token)

    assert allowed.json()["data"] == {"payers": {"nodes": []}}
    [error] = refused.json()["errors"]
    assert error["extensions"]["code"] == "COST_EXCEEDED"
    assert error["message"].startswith("The operation costs 27, more than 26 (DRIFTGRAPH_MAX_COST)")


async def test_what_graphql_core_executes_may_cost_less(
    http: httpx.AsyncClient, token: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(monkeypatch, max_reference_cost=40)
    pages = "payers(first: $n) { nodes { id name @include(if: $if) } }"
    query = f"query($n: Int, $if: Boolean = true) {{ {pages} }}"
    mutation = """mutation($n: Int) { agentRunHeartbeat(input: {id: "x"}) {
        agentRun { agent { runs(first: $n) { nodes { id } } } } } }"""

    async def asked(text: str, **variables: Any) -> list[str]:
        response = await http.post("/graphql", json={"query": text, "variables": variables}, headers=token)
        return [error["extensions"]["code"] for error in response.json().get("errors", [])]

    assert await asked(query, n=60) == []
    assert await asked(query, n=60, **{"if": None}) == ["COST_EXCEEDED"]
    assert await asked(mutation, n=60) == ["COST_EXCEEDED"]
    assert await asked(mutation, n=1) != ["COST_EXCEEDED"]


async def test_a_whole_number_with_a_point_costs_what_the_number_does(
    http: httpx.AsyncClient, organization: Organization, token: dict[str, str]
) -> None:
    await in_thread(_payers, organization, 30)
    runs = "query($n: Int!) { agentRuns(first: $n) { nodes { id findings(first: $n) { nodes { id } } } } }"

    refused = await http.post("/graphql", json={"query": runs, "variables": {"n": 100.0}}, headers=token)
    served = await http.post("/graphql", json={"query": PAGE, "variables": {"n": 40.0}}, headers=token)
    asked = {"d": runs, "v": '{"n": 1e2}'}
    dry = "query($d: String!, $v: String) { cost(document: $d, variables: $v) { requested } }"
    told = await http.post("/graphql", json={"query": dry, "variables": asked}, headers=token)

    assert refused.json()["errors"][0]["message"].startswith("The operation costs 10201, more than 10000 ")
    cost = served.json()["extensions"]["cost"]
    assert (cost["requested"], cost["actual"]) == (1 + 40, 1 + 30)
    assert told.json()["data"] == {"cost": {"requested": 10_201}}


@pytest.mark.parametrize(
    ("document", "requested", "actual"),
    [
        ("{ payers { nodes { id } } }", 26, 1 + 3),
        ("{ payers { edges { node { id } } totalCount } }", 61, 1 + 10 + 3 * 2),
        ("{ payers(first: 2) { nodes { id } } }", 3, 3),
        ("{ payers { nodes { id } } viewer { role } }", 27, 1 + 3 + 1),
        ('{ node(id: "malformed") { id } }', 1, 1),
    ],
)
async def test_an_answer_says_what_it_cost_and_what_is_left(
    http: httpx.AsyncClient,
    organization: Organization,
    token: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    document: str,
    requested: int,
    actual: int,
) -> None:
    _set(monkeypatch, cost_per_minute=1_000)
    await in_thread(_payers, organization, 3)

    answer = await http.post("/graphql", json={"query": document}, headers=token)

    cost = answer.json()["extensions"]["cost"]
    reset = datetime.datetime.fromisoformat(cost.pop("resetAt"))
    assert cost == {"requested": requested, "actual": actual, "remaining": 1_000 - actual}
    assert datetime.timedelta(0) <= reset - timezone.now() <= datetime.timedelta(minutes=1)


async def test_a_principal_who_has_spent_the_budget_waits_and_others_do_not(
    http: httpx.AsyncClient, organization: Organization, token: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schema.cost.budgets.time.time", lambda: 1_000_000_005.0)
    _set(monkeypatch, cost_per_minute=52)
    other = await in_thread(bearer, organization, "other")
    page = {"query": PAGE, "variables": {"n": 25}}

    # An empty list costs 1, the rest of 26 is given back: the third needs 26 of 50.
    first, second = [await http.post("/graphql", json=page, headers=token) for _ in range(2)]
    left = [one.json()["extensions"]["cost"]["remaining"] for one in (first, second)]
    _set(monkeypatch, cost_per_minute=27)
    refused = await http.post("/graphql", json=page, headers=token)
    served = await http.post("/graphql", json=page, headers=other)

    assert left == [51, 50]
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "15")
    [error] = refused.json()["errors"]
    assert error["extensions"] | {"requestId": ""} == {"code": "RATE_LIMITED", "requestId": "", "retryable": True}
    assert "your token or session is spent (27 a minute, DRIFTGRAPH_COST_PER_MINUTE)" in error["message"]
    assert served.json()["extensions"]["cost"]["remaining"] == 26


async def test_the_budget_of_an_organization_is_that_of_all_its_principals(
    http: httpx.AsyncClient,
    organization: Organization,
    other_organization: Organization,
    token: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("schema.cost.budgets.time.time", lambda: 1_000_000_005.0)
    _set(monkeypatch, organization_cost_per_minute=26)
    other, foreign = [await in_thread(bearer, one, "other") for one in (organization, other_organization)]
    page = {"query": PAGE, "variables": {"n": 25}}

    answers = [await http.post("/graphql", json=page, headers=one) for one in (token, other, foreign)]

    assert [answer.status_code for answer in answers] == [200, 429, 200]
    assert "DRIFTGRAPH_ORGANIZATION_COST_PER_MINUTE" in answers[1].json()["errors"][0]["message"]


async def test_a_refused_operation_takes_nothing_from_the_budget(
    http: httpx.AsyncClient, organization: Organization, token: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schema.cost.budgets.time.time", lambda: 1_000_000_005.0)
    _set(monkeypatch, cost_per_minute=60)
    await in_thread(_payers, organization, 40)

    spent = await http.post("/graphql", json={"query": PAGE, "variables": {"n": 30}}, headers=token)
    refused = [
        await http.post("/graphql", json={"query": PAGE, "variables": {"n": n}}, headers=token)
        for n in (30, 50, 60, 9_999_999)
    ]
    served = await http.post("/graphql", json={"query": PAGE, "variables": {"n": 28}}, headers=token)

    assert spent.json()["extensions"]["cost"]["remaining"] == 60 - 31
    assert [answer.status_code for answer in refused] == [429, 429, 200, 200]
    assert served.json()["extensions"]["cost"]["remaining"] == 0


@pytest.mark.parametrize("setting", ["cost_per_minute", "organization_cost_per_minute"])
async def test_an_operation_that_no_budget_can_pay_is_not_to_be_tried_again(
    http: httpx.AsyncClient, token: dict[str, str], monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    _set(monkeypatch, **{setting: 2_000})
    runs = "query($n: Int!) { agentRuns(first: 100) { nodes { findings(first: $n) { nodes { id } } } } }"

    refused = await http.post("/graphql", json={"query": runs, "variables": {"n": 18}}, headers=token)
    served = await http.post("/graphql", json={"query": runs, "variables": {"n": 17}}, headers=token)
    told = await http.post("/graphql", json={"query": '{ cost(document: "{__typename}") { limit } }'}, headers=token)

    [error] = refused.json()["errors"]
    assert (error["extensions"]["code"], error["extensions"]["retryable"]) == ("COST_EXCEEDED", False)
    assert error["message"].startswith(f"The operation costs 2001, more than 2000 (DRIFTGRAPH_{setting.upper()})")
    assert served.json()["data"] == {"agentRuns": {"nodes": []}}
    assert told.json()["data"] == {"cost": {"limit": 2_000}}


async def test_documents_that_are_not_valid_are_paid_for_by_whoever_sends_them(
    http: httpx.AsyncClient, token: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schema.cost.budgets.time.time", lambda: 1_000_000_005.0)
    _set(monkeypatch, cost_per_minute=1_000)
    unknown = {"query": "{" + "payerz " * 500 + "}"}  # 3,502 characters

    async def sent(headers: dict[str, str]) -> list[int]:
        return [(await http.post("/graphql", json=unknown, headers=headers)).status_code for _ in range(3)]

    assert await sent({}) == [200, 429, 429]
    assert await sent(token) == [200, 429, 429]
    known = await http.post("/graphql", json={"query": "{ __typename }"}, headers=token)
    assert known.json()["extensions"]["cost"]["remaining"] == 1_000 - 700 - 1


def test_who_is_not_signed_in_has_the_budget_of_a_network() -> None:
    addresses = ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1", "192.0.2.1", "192.0.2.2")

    first, same, *others = [accounts_of(None, address)[0].key for address in addresses]

    assert first == same
    assert len({first, *others}) == 4


async def test_a_new_document_that_is_valid_costs_who_is_signed_in_nothing_and_others_its_length_once(
    http: httpx.AsyncClient, token: dict[str, str], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr("schema.cost.budgets.time.time", lambda: 1_000_000_005.0)
    _set(monkeypatch, cost_per_minute=1_000)

    async def sent(comment: str, headers: dict[str, str]) -> httpx.Response:
        text = "{ __typename }#" + way + comment * 3_000  # the cache of documents outlives a test
        return await http.post("/graphql", json={"query": text}, headers=headers)

    mine = [await sent(letter, token) for letter in "ab"]
    others = [await sent(letter, {}) for letter in "accd"]

    assert [one.json()["extensions"]["cost"]["remaining"] for one in mine] == [999, 998]
    # The first is known by then; the second costs 604, and 1 for each time that it is executed.
    assert [one.status_code for one in others] == [200, 200, 200, 429]
