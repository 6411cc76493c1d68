"""A token that a process has seen before is looked at again by the operation's own statement, never trusted."""

import datetime
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from django.db import connections

from backend.accounts.models import ApiToken, Organization
from backend.accounts.services import secret_hash
from backend.core.tenancy import acting_for
from backend.db.reads import Reads
from backend.db.snapshots import Snapshot
from backend.db.writes import WriteThreads
from tests import factories as make
from tests.asgi import asking
from tests.threads import in_thread

PAYERS = {"query": "{ payers { nodes { code } } }"}
START = {
    "query": 'mutation { payerMap(input: {mappings: [{alias: "Acme", code: "acme"}]}) { userErrors { message } } }'
}


@pytest.fixture
async def http(reads: Reads, writes: WriteThreads, way: str) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(reads, writes) as client:
        yield client


def _create(organization: Organization) -> dict[str, str]:
    secret = "dg_" + organization.id.hex.ljust(43, "y")
    with acting_for(organization.id):
        make.payer(organization, "acme")
        ApiToken.objects.create(
            organization=organization,
            name="premise",
            hash=secret_hash(secret),
            role="ADMIN",
            scopes=["read", "mappings"],
            expires_at=datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC),
        )
    return {"authorization": f"Bearer {secret}"}


def _change(organization: Organization, **values: Any) -> None:
    with acting_for(organization.id):
        ApiToken.objects.filter(organization=organization).update(**values)


@pytest.mark.parametrize(
    ("body", "values"),
    [
        (PAYERS, {"revoked_at": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)}),
        (PAYERS, {"expires_at": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)}),
        (START, {"revoked_at": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)}),
        ({"query": "{ __typename }"}, {"revoked_at": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)}),
    ],
)
async def test_a_token_that_ended_since_gets_no_answer(
    http: httpx.AsyncClient, organization: Organization, body: dict[str, str], values: dict[str, Any]
) -> None:
    token = await in_thread(_create, organization)
    assert (await http.post("/graphql", json=PAYERS, headers=token)).json()["data"]["payers"]["nodes"]
    await in_thread(lambda: _change(organization, **values))

    answer = await http.post("/graphql", json=body, headers=token)

    assert answer.status_code == 401
    assert "data" not in answer.json()


async def test_a_scope_that_was_taken_away_is_gone_at_once(http: httpx.AsyncClient, organization: Organization) -> None:
    token = await in_thread(_create, organization)
    assert "errors" not in (await http.post("/graphql", json=PAYERS, headers=token)).json()
    await in_thread(lambda: _change(organization, scopes=["mappings"]))

    answer = (await http.post("/graphql", json=PAYERS, headers=token)).json()

    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert answer["data"] is None


async def test_a_token_seen_before_costs_no_round_trip_of_its_own(
    http: httpx.AsyncClient, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await in_thread(_create, organization)
    await http.post("/graphql", json=PAYERS, headers=token)
    opened: list[str] = []
    original = Snapshot._connect

    async def counted(self: Snapshot, *arguments: Any, **options: Any) -> Any:
        opened.append("round trip")
        return await original(self, *arguments, **options)

    monkeypatch.setattr(Snapshot, "_connect", counted)
    answer = await http.post("/graphql", json=PAYERS, headers=token)

    assert answer.json()["data"]["payers"]["nodes"] == [{"code": "acme"}]
    assert len(opened) == 1


def _cut_connections() -> int:
    with connections["default"].cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'driftgraph-reads' AND datname = current_database() AND usename = 'app'"
        )
        return int(cursor.fetchone()[0])


async def test_connections_that_were_cut_are_replaced_unnoticed(
    http: httpx.AsyncClient, organization: Organization
) -> None:
    token = await in_thread(_create, organization)
    await http.post("/graphql", json=PAYERS, headers=token)
    assert await in_thread(_cut_connections) > 0

    answers = [await http.post("/graphql", json=PAYERS, headers=token) for _ in range(3)]

    assert [answer.json()["data"]["payers"]["nodes"] for answer in answers] == [[{"code": "acme"}]] * 3


def _as_owner(*statements: str) -> None:
    with connections["owner"].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


async def test_a_prepared_statement_outlives_a_change_of_its_result(reads: Reads, organization: Organization) -> None:
    table = f"scratch_{organization.id.hex}"
    await in_thread(lambda: _as_owner(f"CREATE TABLE {table} (n integer)", f"INSERT INTO {table} VALUES (7)"))

    async def read() -> list[tuple[Any, ...]]:
        async with reads.snapshot(organization.id) as snapshot:
            return await snapshot.rows(f"SELECT n FROM {table}")

    try:
        before = [await read() for _ in range(4)]  # prepared after two
        await in_thread(lambda: _as_owner(f"ALTER TABLE {table} ALTER n TYPE text"))

        assert (before[-1], await read()) == ([(7,)], [("7",)])
    finally:
        await in_thread(lambda: _as_owner(f"DROP TABLE {table}"))
