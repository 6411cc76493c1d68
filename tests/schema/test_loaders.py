"""The dataloaders of one operation, among those who wait for the same rows."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

import psycopg
import pytest
from django.conf import settings
from psycopg.pq.abc import PGresult

from backend.accounts.models import Organization
from backend.agents.models import AgentRun
from backend.core.tenancy import acting_for
from backend.db.pipeline import Pipelines, TextQuery
from backend.db.reads import Reads
from backend.db.snapshots import SnapshotEnded
from backend.db.writes import WriteThreads
from backend.payers.models import Payer
from schema.context import Context
from schema.execution import engine
from schema.execution.compiled import run
from schema.loaders.request import Loaders
from schema.relay.ids import encode_id
from tests import factories as make
from tests import server
from tests.api import Api
from tests.asgi import asking, bearer
from tests.locking import until_waited_for
from tests.pools import all_come_back
from tests.threads import in_thread

Waiter = Callable[[], Coroutine[Any, Any, Any]]


def _payer(organization: Organization) -> Payer:
    with acting_for(organization.id):
        return make.payer(organization, "acme")


def _agent_run(organization: Organization) -> AgentRun:
    with acting_for(organization.id):
        return make.agent_run(make.agent(organization), commit="abcdef0")


def _agent_runs(organization: Organization) -> None:
    with acting_for(organization.id):
        agent = make.agent(organization)
        for _ in range(2):
            make.agent_run(agent)


@pytest.fixture
async def loaders(reads: Reads, organization: Organization) -> AsyncIterator[Loaders]:
    async with reads.snapshot(organization.id) as snapshot:
        yield Loaders(snapshot, lambda _model, _keys: None)


@pytest.fixture
async def wait(loaders: Loaders, organization: Organization) -> Waiter:
    """Waits for the same row whenever it is called."""
    payer = await in_thread(_payer, organization)

    async def wait_for_it() -> Any:
        return await loaders.row(Payer, payer.id)

    return wait_for_it


async def test_who_stops_waiting_for_a_row_takes_it_from_nobody(loaders: Loaders, wait: Waiter) -> None:
    leaving, staying = asyncio.create_task(wait()), asyncio.create_task(wait())
    await asyncio.sleep(0)
    leaving.cancel()

    assert (await staying).code == "acme"
    assert len(loaders.snapshot.statements) == 1


async def test_who_asks_for_a_row_that_is_on_its_way_waits_for_it(loaders: Loaders, wait: Waiter) -> None:
    first = asyncio.create_task(wait())
    for _ in range(10):
        await asyncio.sleep(0)
    assert loaders.snapshot.statements
    late = asyncio.create_task(wait())

    assert (await first) is (await late)
    assert len(loaders.snapshot.statements) == 1


WAVES = """query($run: ID!) {
  agents { totalCount nodes { lastRun { commit } openFindings { high } runs(first: 1) { nodes { id } } } }
  agentRun(id: $run) { commit } }"""


@pytest.mark.parametrize("at_once", [run._AT_ONCE, 1])
async def test_whatever_a_wave_reads_shares_a_round_trip(
    api: Api, organization: Organization, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Root pages and totals, which resolvers read themselves, rows, pages and aggregates, which loaders read."""
    monkeypatch.setattr(run, "_AT_ONCE", at_once)
    send, trips = Pipelines.run, []

    async def counted(self: Pipelines, connection: Any, queries: Sequence[TextQuery]) -> list[PGresult]:
        trips.append(len(queries))
        return await send(self, connection, queries)

    started = await in_thread(_agent_run, organization)
    monkeypatch.setattr(Pipelines, "run", counted)
    answer = await api.data(WAVES, run=encode_id("RU", started.id))

    assert answer["agents"]["totalCount"] == 1
    begin, settings_row, commit = 1, 1, 1
    expected = {
        "auto": [begin + settings_row + 3 + commit],
        # The two root fields; then the total, the runs, of which the last is one, and findings.
        "compiled": [begin + settings_row + 2, 3, commit],
        "reference": [begin + settings_row + 2],  # graphql-core itself comes to a nested total a turn too late
    }[settings.ENVIRONMENT.execution]
    assert trips[: len(expected)] == expected


@pytest.mark.parametrize("way", ["compiled"], indirect=True)
async def test_who_has_a_turn_between_two_fields_leaves_them_their_statement(
    api: Api, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_AT_ONCE", 1)
    await in_thread(_agent_runs, organization)
    row = " ".join(f"a{n}: agent {{ name }} r{n}: id" for n in range(10))

    answer = await api(f"{{ agentRuns {{ nodes {{ {row} }} edges {{ cursor node {{ {row} }} }} }} }}")

    assert answer.errors == []
    assert answer.data["agentRuns"]["edges"][0]["node"]["a9"] == {"name": "ruff"}
    pages, agents = 1, 1
    assert len(answer.statements) == pages + agents


@pytest.mark.parametrize("way", ["compiled"], indirect=True)
async def test_an_operation_that_is_cancelled_at_any_turn_gives_its_connection_back(
    api: Api, reads: Reads, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_AT_ONCE", 1)
    key = encode_id("RU", (await in_thread(_agent_run, organization)).id)
    entered, turn, paused = 0, 0, run._Run._let_others

    async def stopped(self: run._Run) -> None:
        nonlocal entered
        entered += 1
        if entered == turn:
            asyncio.current_task().cancel()  # type: ignore[union-attr]  # it runs in one
        await paused(self)

    monkeypatch.setattr(run._Run, "_let_others", stopped)
    while entered >= turn:
        turn, entered = turn + 1, 0
        [outcome] = await asyncio.gather(asyncio.create_task(api.data(WAVES, run=key)), return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError) is (entered >= turn)
        assert await all_come_back(reads)

    assert turn > 10
    assert outcome["agents"]["totalCount"] == 1


async def test_what_a_mutation_left_behind_does_not_read_beside_the_next(
    reads: Reads, writes: WriteThreads, database: str, organization: Organization
) -> None:
    payer, key = await in_thread(_payer, organization), organization.id.int % 2**31
    text = f"SELECT key FROM unnest(%s::uuid[]) AS key, pg_advisory_xact_lock({key})"
    with psycopg.connect(server.url("postgres", database), autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [key])
        async with reads.snapshot(organization.id) as snapshot:
            context = Context(snapshot, writes, "test")
            earlier = context.loaders
            reading = [asyncio.ensure_future(earlier.aggregates(f"{name}", text, [payer.id])) for name in range(2)]
            await until_waited_for(holder, key=key)
            await context.restart()
            assert (await context.loaders.row(Payer, payer.id)).code == "acme"
            late = asyncio.ensure_future(earlier.row(Payer, payer.id))
            outcomes = await asyncio.gather(*reading, late, return_exceptions=True)
            assert (await context.loaders.row(Payer, payer.id)).code == "acme"

    assert [type(outcome) for outcome in outcomes] == [SnapshotEnded] * 3
    assert await all_come_back(reads)


SHARED_PAGE = """mutation { agentRunStart(input: {kind: CODE_QUALITY, agent: "x"}) {
  a: agentRun { agent { runs(first: 1) { totalCount nodes { agent { runs(after: "bad") { nodes { id } } } } } } }
  b: agentRun { agent { runs(first: 1) { totalCount } } } } }"""


async def test_a_total_that_two_wait_for_is_not_lost_with_one_of_them(api: Api) -> None:
    """graphql-core cancels what stands beside a field that failed."""
    answer = await api(SHARED_PAGE)

    found = answer.data["agentRunStart"]
    assert (found["a"], found["b"]) == (None, {"agent": {"runs": {"totalCount": 1}}})
    assert [error["extensions"]["code"] for error in answer.errors] == ["INVALID_CURSOR"]


async def test_an_operation_whose_wait_was_cancelled_has_an_answer(
    reads: Reads, writes: WriteThreads, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cancelled(*_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(engine, "_executed", cancelled)
    token = await in_thread(bearer, organization)
    async with asking(reads, writes) as client:
        response = await client.post("/graphql", json={"query": "{ payers { totalCount } }"}, headers=token)

    assert response.status_code == 500
    assert response.json()["errors"][0]["extensions"]["code"] == "INTERNAL"
