"""A migration gives a column another type while every connection has statements prepared that read it."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import psycopg
import pytest
from django.conf import settings

from backend.accounts.models import Organization
from backend.core.tenancy import acting_for
from backend.db.reads import Reads, connection_url
from backend.db.writes import WriteThreads
from tests import factories as make
from tests import server
from tests.asgi import asking, bearer
from tests.locking import Holder, until_waited_for
from tests.pools import all_come_back
from tests.threads import in_thread

POOL, CLIENTS, PREPARED = 16, 32, 3
FIRST_TRIP = "{ agentRuns { nodes { commit } } }"
LATER_TRIP = "{ agents { nodes { lastRun { commit } } } }"
EXPECTED = {
    FIRST_TRIP: {"agentRuns": {"nodes": [{"commit": "abcdef0"}]}},
    LATER_TRIP: {"agents": {"nodes": [{"lastRun": {"commit": "abcdef0"}}]}},
}
START = """mutation($name: String!) { agentRunStart(input: {kind: CODE_QUALITY, agent: $name, commit: "abcdef1"}) {
  agentRun { agent { name lastRun { commit } } } userErrors { code } } }"""


@pytest.fixture
async def http(
    database: str, writes: WriteThreads, way: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    whole = dataclasses.replace(settings.ENVIRONMENT, organization_read_share=1.0)  # one organization has them all
    monkeypatch.setattr(settings, "ENVIRONMENT", whole)
    reads = Reads(connection_url(), size=POOL)
    await reads.open()
    async with asking(reads, writes) as client:
        yield client
    assert await all_come_back(reads)
    await reads.close()


@pytest.fixture
def holder(database: str) -> Iterator[Holder]:
    """A connection that may lock and alter the table; the column is as before afterwards."""
    with psycopg.connect(server.url("postgres", database)) as connection:
        yield connection
        _alter(connection, 40)


def _alter(holder: Holder, length: int) -> None:
    """Another type, without a rewrite of the table, of which snapshots from before would see nothing."""
    holder.execute(f"ALTER TABLE agent_run ALTER commit TYPE varchar({length})")  # type: ignore[call-overload]  # a number of ours
    holder.commit()


def _fill(organization: Organization) -> dict[str, str]:
    with acting_for(organization.id):
        make.agent_run(make.agent(organization), commit="abcdef0")
    return bearer(organization)


class Readers:
    """Clients that ask the same at the same time."""

    def __init__(self, http: httpx.AsyncClient, token: dict[str, str], query: str) -> None:
        self._http, self._token, self._query = http, token, query

    async def one(self) -> Any:
        answer = await self._http.post("/graphql", json={"query": self._query}, headers=self._token)
        return answer.json().get("data")

    async def all(self) -> list[Any]:
        return await asyncio.gather(*(self.one() for _ in range(CLIENTS)))

    async def all_behind(self, holder: Holder, length: int | None = None) -> list[Any]:
        """The same, of whom as many as there are connections wait for the table, which may change meanwhile."""
        holder.execute("LOCK TABLE agent_run IN ACCESS EXCLUSIVE MODE")
        reading = asyncio.create_task(self.all())
        await until_waited_for(holder, table="agent_run", by=POOL)
        if length is not None:
            _alter(holder, length)
        holder.commit()
        return await reading


@pytest.mark.parametrize("query", [FIRST_TRIP, LATER_TRIP])
async def test_every_reader_gets_the_right_answer(
    http: httpx.AsyncClient, holder: Holder, organization: Organization, query: str
) -> None:
    readers = Readers(http, await in_thread(_fill, organization), query)
    right = [EXPECTED[query]] * CLIENTS

    async def prepare_everywhere() -> None:
        for _ in range(PREPARED):
            assert await readers.all_behind(holder) == right

    await prepare_everywhere()
    _alter(holder, 41)
    assert [await readers.one() for _ in range(POOL)] == right[:POOL]
    await prepare_everywhere()
    _alter(holder, 42)
    assert await readers.all() == right
    await prepare_everywhere()
    assert await readers.all_behind(holder, 43) == right


async def test_a_mutation_is_carried_out_once(
    database: str, writes: WriteThreads, holder: Holder, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, reads = await in_thread(_fill, organization), Reads(connection_url(), size=1)
    await reads.open()

    async def started(http: httpx.AsyncClient, number: int) -> httpx.Response:
        body = {"query": START, "variables": {"name": f"agent {number}"}}
        return await http.post("/graphql", json=body, headers={**token, "idempotency-key": f"key {number}"})

    async with asking(reads, writes) as http:
        for number in range(PREPARED):
            assert (await started(http, number)).status_code == 200
        _alter(holder, 41)
        answers = [await started(http, PREPARED) for _ in range(2)]
    await reads.close()

    # What is selected below it comes in two trips; the second cannot be made again in the same snapshot.
    assert [answer.status_code for answer in answers] == [503, 200]
    assert answers[0].json()["errors"][0]["extensions"] | {"requestId": ""} == {
        "code": "UNAVAILABLE",
        "requestId": "",
        "retryable": True,
    }
    assert answers[1].json()["data"]["agentRunStart"] == {
        "agentRun": {"agent": {"name": f"agent {PREPARED}", "lastRun": {"commit": "abcdef1"}}},
        "userErrors": [],
    }
    count = "SELECT count(*) FROM agent_run WHERE organization_id = %s"
    assert holder.execute(count, [organization.id]).fetchone() == (1 + PREPARED + 1,)
    holder.rollback()
