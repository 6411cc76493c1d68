"""Reads from a real replica: what it may answer, what a consistency token adds, and what stays with the primary."""

import base64
import dataclasses
import datetime
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import psycopg
import pytest
from django.conf import settings
from psycopg import sql

from backend.accounts.models import ApiToken, Organization
from backend.audit.models import AuditEntry
from backend.core.tenancy import acting_for
from backend.db import replicas
from backend.db.reads import Reads, connection_url
from backend.db.replicas import ReplicaSnapshot
from backend.db.snapshots import Snapshot
from backend.db.writes import WriteThreads
from schema.http.health import health
from tests import factories as make
from tests import server
from tests.asgi import asking, bearer
from tests.backend.workers import until
from tests.environment import EXTERNAL
from tests.serving import serving
from tests.standby import Standby, is_read, standby
from tests.threads import in_thread

PAYERS = {"query": "query Payers { payers(first: 100) { nodes { code } } }"}
CLAIMS = {"query": "query Claims { claims { nodes { billed } } }"}
MAP = """
mutation Map($code: String!) {
  payerMap(input: {rawName: $code, payerCode: $code}) { payer { code } userErrors { code } }
}
"""
RUNS = {"query": "{ agentRuns { nodes { agent { name } } } }"}
HEADER, GRAPHQL = "driftgraph-consistency-token", "application/graphql-response+json"
PATIENT, IMPATIENT = 20.0, 0.05  # seconds for which a read waits for the replica


@pytest.fixture(scope="module")
def replica(database: str) -> Iterator[Standby]:
    if EXTERNAL:
        pytest.skip("a replica is made of the embedded server alone")
    name = sql.Identifier(database)
    with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as admin:
        # The tests' server commits before anything is written, so that a replica would be late by some 0.2 s.
        admin.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = on").format(name))
        with standby(f"standby-{database}") as found:
            yield found
        admin.execute(sql.SQL("ALTER DATABASE {} RESET synchronous_commit").format(name))


@pytest.fixture(scope="module")
def writing(replica: Standby) -> Iterator[WriteThreads]:
    """Threads whose sessions commit as the database is set to."""
    threads = WriteThreads(2)
    yield threads
    threads.close()


def _set(monkeypatch: pytest.MonkeyPatch, **values: Any) -> None:
    monkeypatch.setattr(settings, "ENVIRONMENT", dataclasses.replace(settings.ENVIRONMENT, **values))


@pytest.fixture
async def both(replica: Standby, database: str, way: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reads]:
    """Reads of primary and replica, which may be as far behind as it likes."""
    _set(monkeypatch, replica_lag_seconds=600.0, replica_wait_seconds=IMPATIENT)
    # A machine that is busy for a second must not make it unfit; those who want it looked at do so themselves.
    monkeypatch.setattr(replicas, "_LOOK_SECONDS", 3_600.0)
    pool = Reads(connection_url(), size=4, replica_url=replica.url("app", database))
    await pool.open()
    await is_read(pool)
    yield pool
    await pool.close()


@pytest.fixture
async def http(both: Reads, writing: WriteThreads) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(both, writing) as client:
        client.headers["accept"] = GRAPHQL
        yield client


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where operations borrow a connection, in order; `premise` is the primary where no rows are read from it."""
    found: list[str] = []
    original = Snapshot._connect

    async def noted(self: Snapshot) -> Any:
        if self._organization_id:  # not the looks at the replica, nor at a token
            where = "primary" if type(self) is Snapshot else "replica"
            found.append(where if self.statements else "premise")
        return await original(self)

    monkeypatch.setattr(Snapshot, "_connect", noted)
    return found


@pytest.fixture
async def token(http: httpx.AsyncClient, replica: Standby, organization: Organization) -> dict[str, str]:
    """The header of a token that the process knows, and the replica too."""
    header = await in_thread(bearer, organization)
    await http.post("/graphql", json=PAYERS, headers=header)
    await in_thread(replica.catch_up)
    return header


async def _map(http: httpx.AsyncClient, token: dict[str, str], code: str) -> dict[str, str]:
    """Makes a payer; the header for reads after it."""
    answer = await http.post("/graphql", json={"query": MAP, "variables": {"code": code}}, headers=token)
    assert answer.json()["data"]["payerMap"] == {"payer": {"code": code}, "userErrors": []}
    return {HEADER: answer.json()["extensions"]["consistencyToken"]}


async def _codes(http: httpx.AsyncClient, headers: dict[str, str]) -> list[str]:
    answer = await http.post("/graphql", json=PAYERS, headers=headers)
    return sorted(node["code"] for node in answer.json()["data"]["payers"]["nodes"])


async def test_a_query_with_the_token_of_a_mutation_sees_what_it_wrote(
    http: httpx.AsyncClient, replica: Standby, token: dict[str, str], asked: list[str]
) -> None:
    held = replica.held()
    await in_thread(held.__enter__)
    try:
        after = await _map(http, token, "acme")
        asked.clear()
        without, seen_by_replica = await _codes(http, token), list(asked)
        asked.clear()
        with_token, seen_by_primary = await _codes(http, token | after), list(asked)
    finally:
        await in_thread(held.__exit__, None, None, None)
    asked.clear()
    resumed = await _codes(http, token | after)

    assert (without, with_token, resumed) == ([], ["acme"], ["acme"])
    # One round trip for the rows, one for what the answer takes for granted of the API token.
    assert seen_by_replica == ["replica", "premise"]
    assert seen_by_primary == ["replica", "primary"]
    assert asked == ["replica", "premise"]


async def test_after_every_mutation_the_token_makes_the_difference(
    http: httpx.AsyncClient,
    replica: Standby,
    token: dict[str, str],
    asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rounds, stale, fresh = 20, 0, 0
    _set(monkeypatch, replica_wait_seconds=PATIENT)
    for number in range(rounds):
        after = await _map(http, token, f"followed {number}")
        asked.clear()
        fresh += f"followed {number}" in await _codes(http, token | after)
        assert asked == ["replica", "premise"]
    _set(monkeypatch, replica_wait_seconds=IMPATIENT)
    held = replica.held()
    await in_thread(held.__enter__)
    try:
        for number in range(rounds):
            after = await _map(http, token, f"held {number}")
            stale += f"held {number}" not in await _codes(http, token)
            fresh += f"held {number}" in await _codes(http, token | after)
    finally:
        await in_thread(held.__exit__, None, None, None)

    assert (fresh, stale) == (2 * rounds, rounds)


def _revoke(organization: Organization, **values: Any) -> None:
    with acting_for(organization.id):
        ApiToken.objects.filter(organization=organization).update(**values)


async def test_a_revoked_token_gets_no_answer_however_far_behind_the_replica_is(
    http: httpx.AsyncClient, replica: Standby, organization: Organization, token: dict[str, str], asked: list[str]
) -> None:
    held = replica.held()
    await in_thread(held.__enter__)
    try:
        assert await _codes(http, token) == []
        await in_thread(lambda: _revoke(organization, revoked_at=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)))
        asked.clear()
        answer = await http.post("/graphql", json=PAYERS, headers=token)
    finally:
        await in_thread(held.__exit__, None, None, None)

    assert (answer.status_code, "data" in answer.json()) == (401, False)
    assert asked[:2] == ["replica", "premise"]


def _entries(organization: Organization, action: str) -> list[list[str]]:
    with acting_for(organization.id):
        return list(AuditEntry.objects.filter(action=action).order_by("id").values_list("fields", flat=True))


async def test_a_scope_that_was_taken_away_is_gone_at_once_and_its_refusal_recorded(
    http: httpx.AsyncClient, replica: Standby, organization: Organization, token: dict[str, str]
) -> None:
    held = replica.held()
    await in_thread(held.__enter__)
    try:
        await in_thread(lambda: _revoke(organization, scopes=["mappings"]))
        answer = await http.post("/graphql", json=PAYERS, headers=token)
        again = await http.post("/graphql", json=PAYERS, headers=token)
    finally:
        await in_thread(held.__exit__, None, None, None)

    assert [one.json()["errors"][0]["extensions"]["code"] for one in (answer, again)] == ["FORBIDDEN"] * 2
    assert await in_thread(_entries, organization, "refuse") == [["Query.payers"]] * 2


def _claim(organization: Organization) -> None:
    with acting_for(organization.id):
        payer = make.payer(organization)
        code = make.procedure(organization, make.group(organization))
        make.claim(payer, code, make.batch(organization), 1)


def _agent_run(organization: Organization) -> None:
    with acting_for(organization.id):
        make.agent_run(make.agent(organization))


async def test_claims_are_read_where_their_account_is_written(
    http: httpx.AsyncClient, replica: Standby, organization: Organization, token: dict[str, str], asked: list[str]
) -> None:
    held = replica.held()
    await in_thread(held.__enter__)
    try:
        await in_thread(_claim, organization)
        asked.clear()
        answer = await http.post("/graphql", json=CLAIMS, headers=token)
        skipped = {
            "query": "query Some($all: Boolean!) { claims @include(if: $all) { totalCount } payers { totalCount } }"
        }
        without = await http.post("/graphql", json={**skipped, "variables": {"all": False}}, headers=token)
        with_claims = await http.post("/graphql", json={**skipped, "variables": {"all": True}}, headers=token)
    finally:
        await in_thread(held.__exit__, None, None, None)

    assert len(answer.json()["data"]["claims"]["nodes"]) == 1
    assert set(asked[:2]) == {"primary"}
    assert without.json()["data"] == {"payers": {"totalCount": 0}}
    assert with_claims.json()["data"] == {"claims": {"totalCount": 1}, "payers": {"totalCount": 1}}
    assert await in_thread(_entries, organization, "read") == [["Claim.billed"], []]


async def test_without_the_replica_the_primary_answers(
    http: httpx.AsyncClient, both: Reads, replica: Standby, token: dict[str, str], asked: list[str]
) -> None:
    after = await _map(http, token, "acme")
    await in_thread(replica.kill)
    try:
        found = [await _codes(http, token | one) for one in (after, {}, {}, after)]
        assert both.replica is not None
        await both.replica.look()
        ready, reason = await health("/readyz", both), both.replica.unfit
        asked.clear()
        found.append(await _codes(http, token))
        unasked = list(asked)
    finally:
        await in_thread(replica.start)
    await is_read(both)
    asked.clear()
    found.append(await _codes(http, token))

    assert found == [["acme"]] * 6
    assert (ready.status, orjson.loads(ready.body)["replica"]) == (200, {"read": False, "reason": reason})
    assert reason == "it does not answer"
    assert unasked == ["primary"]
    assert asked == ["replica", "premise"]
    assert orjson.loads((await health("/readyz", both)).body)["replica"] == {"read": True, "reason": None}


async def test_an_operation_that_the_replica_leaves_half_done_is_begun_anew_on_the_primary(
    http: httpx.AsyncClient,
    replica: Standby,
    organization: Organization,
    token: dict[str, str],
    asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _set(
        monkeypatch,
        execution="compiled" if settings.ENVIRONMENT.execution == "auto" else settings.ENVIRONMENT.execution,
    )
    await in_thread(_agent_run, organization)
    await in_thread(replica.catch_up)
    original = ReplicaSnapshot.rows

    async def cut_after_the_first(self: ReplicaSnapshot, *statement: Any) -> Any:
        if self.statements:
            await original(self, "SELECT pg_terminate_backend(pg_backend_pid())")
        return await original(self, *statement)

    monkeypatch.setattr(ReplicaSnapshot, "rows", cut_after_the_first)
    asked.clear()
    answer = await http.post("/graphql", json=RUNS, headers=token)

    assert answer.json()["data"] == {"agentRuns": {"nodes": [{"agent": {"name": "ruff"}}]}}
    assert asked == ["replica", "primary"]


@pytest.mark.parametrize(
    "text",
    [
        "16/B374D848",
        "nonsense",
        "Q1QAAAAAAAAAAA",
        "Q1QAAAAAAAAAAA==AAAA",
        base64.b64encode(b"RP" + bytes(8)).decode(),
        " é",
    ],
)
async def test_a_token_that_is_none_is_refused(http: httpx.AsyncClient, token: dict[str, str], text: str) -> None:
    sent = token | {HEADER: text.encode("latin-1")}
    answer = await http.post("/graphql", json=PAYERS, headers=sent)
    plain = await http.post("/graphql", json=PAYERS, headers=sent | {"accept": "application/json"})

    assert (answer.status_code, plain.status_code) == (400, 200)
    for one in (answer, plain):
        [error] = one.json()["errors"]
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
        assert HEADER in error["message"]
        assert text not in error["message"]


async def test_every_mutation_answers_a_token_and_no_query_does(
    http: httpx.AsyncClient, token: dict[str, str], asked: list[str]
) -> None:
    two = 'mutation { a: payerMap(input: {rawName: "a", payerCode: "a"}) { payer { code } }'
    two += ' b: payerMap(input: {rawName: "b", payerCode: "b"}) { payer { code } } }'
    refused = {"query": MAP, "variables": {"code": ""}}

    asked.clear()
    answers = [await http.post("/graphql", json=body, headers=token) for body in ({"query": two}, refused)]
    reads = list(asked)
    query = await http.post("/graphql", json=PAYERS, headers=token)

    assert answers[1].json()["data"]["payerMap"]["userErrors"] != []
    for answer in answers:
        assert answer.headers[HEADER] == answer.json()["extensions"]["consistencyToken"]
    assert reads == ["primary"] * 2  # one for each document, beside what services do in their threads
    assert HEADER not in query.headers
    assert "consistencyToken" not in query.json()["extensions"]
    assert await _codes(http, token | {HEADER: answers[0].headers[HEADER]}) == ["a", "b"]


async def test_an_etag_of_the_replica_does_not_hold_with_a_token(
    http: httpx.AsyncClient, replica: Standby, token: dict[str, str]
) -> None:
    async def get(**headers: str) -> httpx.Response:
        return await http.get(
            "/graphql", params=PAYERS, headers=token | {k.replace("_", "-"): v for k, v in headers.items()}
        )

    held = replica.held()
    await in_thread(held.__enter__)
    try:
        old = (await get()).headers["etag"]
        after = await _map(http, token, "acme")
        stale = await get(if_none_match=old)
        new = await get(if_none_match=old, **{HEADER: after[HEADER]})
        same = await get(if_none_match=new.headers["etag"], **{HEADER: after[HEADER]})
    finally:
        await in_thread(held.__exit__, None, None, None)

    assert [one.status_code for one in (stale, new, same)] == [304, 200, 304]
    assert new.json()["data"]["payers"]["nodes"] == [{"code": "acme"}]


@pytest.mark.parametrize(
    ("is_there", "shown"),
    [(True, {"read": True, "reason": None}), (False, {"read": False, "reason": "it does not answer"})],
)
def test_a_server_is_ready_with_its_replica_and_without(
    replica: Standby, database: str, tmp_path: Path, *, is_there: bool, shown: dict[str, Any]
) -> None:
    url = replica.url("app", database) if is_there else "postgresql://app@127.0.0.1:1/nowhere"
    with serving(database, tmp_path, DRIFTGRAPH_READ_DATABASE_URL=url) as served:
        # The first look can find it a moment behind.
        assert until(lambda: httpx.get(f"{served.url}/readyz").json()["replica"] == shown)
        assert httpx.get(f"{served.url}/readyz").status_code == 200
