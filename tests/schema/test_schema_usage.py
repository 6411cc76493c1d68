"""The usage ledger: what requests leave in it, that they never pay for it, and who may read it."""

import asyncio
import dataclasses
import datetime
import json
import uuid
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import httpx
import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils import timezone

from backend.accounts.models import Organization
from backend.agents.models import AgentKind
from backend.agents.services import agent_run_cancel, agent_run_start
from backend.core.actor import Actor, Role
from backend.core.errors import LockedOut
from backend.core.tenancy import acting_for
from backend.db.reads import Reads
from backend.db.writes import WriteThreads
from backend.usage.models import SchemaUse
from backend.usage.services import Use, usage_add
from schema.http.app import GraphQLApp
from schema.relay.ids import encode_id
from schema.usage import ledger
from schema.usage.clients import Client
from schema.usage.ledger import UsageLedger
from tests import server
from tests.api import Api
from tests.asgi import bearer
from tests.serving import serving
from tests.threads import in_thread

WEB = {"graphql-client-name": "web", "graphql-client-version": "1.2"}
QUERY = "query($f: PayerFilter) { payers(filter: $f, first: 1) { nodes { name } } }"
OF_QUERY = {"Query.payers", "Query.payers(filter:)", "Query.payers(first:)", "PayerConnection.nodes", "Payer.name"}


@pytest.fixture
async def app(reads: Reads, writes: WriteThreads) -> AsyncIterator[GraphQLApp]:
    made = GraphQLApp(reads, writes)
    yield made
    await made.streams.close()


@pytest.fixture
async def http(app: GraphQLApp, organization: Organization) -> AsyncIterator[httpx.AsyncClient]:
    headers = await in_thread(bearer, organization)
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]  # ASGI dictionaries
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver", headers=headers) as client:
        yield client


def _rows(organization: Organization) -> set[tuple[str, str, str, int]]:
    with acting_for(organization.id):
        found = SchemaUse.objects.values_list("coordinate", "client_name", "client_version", "uses")
        return set(found)


async def test_answered_requests_are_counted_by_client(
    http: httpx.AsyncClient, app: GraphQLApp, organization: Organization
) -> None:
    for headers in (WEB, WEB, {}):
        answer = await http.post("/graphql", json={"query": QUERY}, headers=headers)
        assert "errors" not in answer.json()
    filtered = {"query": QUERY, "variables": {"f": {"code": {"eq": "x"}}}}
    await http.post("/graphql", json=filtered, headers=WEB)
    await http.get("/graphql", params={"query": "{ viewer { role } }"}, headers=WEB)
    await http.post("/graphql", json={"query": "{ nothing }"}, headers=WEB)

    assert await in_thread(_rows, organization) == set()
    await app.usage.flush()

    assert await in_thread(_rows, organization) == {
        *((one, "web", "1.2", 3) for one in OF_QUERY),
        *((one, "", "", 1) for one in OF_QUERY),
        ("PayerFilter.code", "web", "1.2", 1),
        ("StrEqualityComparison.eq", "web", "1.2", 1),
        ("Query.viewer", "web", "1.2", 1),
        ("Viewer.role", "web", "1.2", 1),
    }


async def test_a_subscription_is_counted_once(
    http: httpx.AsyncClient, app: GraphQLApp, organization: Organization, actor: Actor
) -> None:
    run = await in_thread(partial(agent_run_start, actor=actor, kind=AgentKind.EXTERNAL, name="auditor"))
    await in_thread(partial(agent_run_cancel, actor=actor, run_id=run.id))
    query = "subscription($id: ID!) { agentRunProgress(id: $id) { status } }"

    asked = {"query": query, "variables": {"id": encode_id("RU", run.id)}}
    answer = await http.post("/graphql", json=asked, headers={**WEB, "accept": "text/event-stream"})
    await app.usage.flush()

    assert "CANCELLED" in answer.text
    assert await in_thread(_rows, organization) == {
        ("Subscription.agentRunProgress", "web", "1.2", 1),
        ("Subscription.agentRunProgress(id:)", "web", "1.2", 1),
        ("AgentRunProgress.status", "web", "1.2", 1),
    }


async def test_requests_of_nobody_are_not_counted(app: GraphQLApp, http: httpx.AsyncClient) -> None:
    del http.headers["authorization"]
    await http.post("/graphql", json={"query": "{ viewer { role } }"}, headers=WEB)

    assert app.usage.waiting == 0


async def test_counts_wait_while_the_database_cannot_take_them_and_requests_go_on(
    app: GraphQLApp,
    http: httpx.AsyncClient,
    database: str,
    organization: Organization,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Given somebody who has locked the whole table for longer than a service waits."""
    impatient = dataclasses.replace(settings.ENVIRONMENT, write_lock_timeout_seconds=0.05)
    monkeypatch.setattr(settings, "ENVIRONMENT", impatient)
    viewer = {"query": "{ viewer { role } }"}
    await http.post("/graphql", json=viewer)

    async with await psycopg.AsyncConnection.connect(server.url("postgres", database)) as locker:
        await locker.execute("LOCK TABLE schema_use IN ACCESS EXCLUSIVE MODE")
        await app.usage.flush()
        answer = await http.post("/graphql", json=viewer)
    assert answer.json()["data"] == {"viewer": {"role": "ADMIN"}}
    assert "kept for later: LockedOut" in caplog.text
    await app.usage.flush()

    assert {row[3] for row in await in_thread(_rows, organization)} == {2}


async def test_what_the_database_refuses_is_not_kept(
    writes: WriteThreads, organization: Organization, caplog: pytest.LogCaptureFixture
) -> None:
    """Given an organization that is gone; the other's counts are written all the same."""
    usage = UsageLedger(writes)
    usage.count(uuid.uuid4(), Client("web", "1"), frozenset({"A.a"}))
    usage.count(organization.id, Client("web", "1"), frozenset({"A.a"}))

    await usage.flush()

    assert "are lost: IntegrityError" in caplog.text
    assert usage.waiting == 0
    assert await in_thread(_rows, organization) == {("A.a", "web", "1", 1)}


async def test_memory_is_bounded_and_what_is_left_out_is_told(
    writes: WriteThreads,
    organization: Organization,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(ledger, "MAX_COUNTERS", 6)
    usage = UsageLedger(writes)
    for number in range(5):
        for _ in range(2):
            usage.count(organization.id, Client("web", "1"), frozenset({f"A.a{number}"}))

    assert usage.waiting == 3
    await usage.flush()

    assert await in_thread(_rows, organization) == {(f"A.a{number}", "web", "1", 2) for number in range(3)}
    assert "by 4 requests was not counted in full" in caplog.text
    assert usage.waiting == 0


async def test_an_organization_that_takes_all_it_can_leaves_room_for_others(
    writes: WriteThreads,
    organization: Organization,
    other_organization: Organization,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ledger, "MAX_COUNTERS", 100)
    usage = UsageLedger(writes)
    for number in range(1_000):
        usage.count(organization.id, Client("web", "1"), frozenset({f"A.a{number}", "A.id"}))
    usage.count(other_organization.id, Client("web", "1"), frozenset({"A.a", "A.id"}))

    assert usage.waiting == 50 + 2
    await usage.flush()

    assert ("A.id", "web", "1", 1_000) in await in_thread(_rows, organization)
    assert await in_thread(_rows, other_organization) == {("A.a", "web", "1", 1), ("A.id", "web", "1", 1)}


async def test_combinations_take_no_more_than_the_parts_they_combine(
    writes: WriteThreads, organization: Organization
) -> None:
    usage = UsageLedger(writes)
    parts = [f"A.a{number}" for number in range(10)]
    for combination in range(1, 1_024):
        chosen = frozenset(part for bit, part in enumerate(parts) if combination >> bit & 1)
        usage.count(organization.id, Client("web", "1"), chosen)

    assert usage.waiting == len(parts)
    await usage.flush()

    assert await in_thread(_rows, organization) == {(part, "web", "1", 512) for part in parts}


async def test_counts_are_written_in_pieces_and_what_is_kept_is_added_to(
    writes: WriteThreads, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a database that takes the first piece, and then none for a while, in which requests go on."""
    monkeypatch.setattr(ledger, "PIECE", 2)
    usage = UsageLedger(writes)
    sizes: list[int] = []
    is_locked = True

    def adding(*, actor: Actor, counts: dict[Use, int]) -> int:
        sizes.append(len(counts))
        if is_locked and len(sizes) > 1:
            usage.count(organization.id, Client("web", "1"), every)
            raise LockedOut
        return usage_add(actor=actor, counts=counts)

    monkeypatch.setattr(ledger, "usage_add", adding)
    every = frozenset(f"A.a{number}" for number in range(5))
    usage.count(organization.id, Client("web", "1"), every)

    await usage.flush()
    assert usage.waiting == 5
    is_locked = False
    await usage.flush()

    assert sizes == [2, 2, 2, 2, 1]
    assert usage.waiting == 0
    assert await in_thread(_rows, organization) == {(part, "web", "1", 2) for part in every}


async def test_an_organization_has_so_many_clients_a_day(
    writes: WriteThreads, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "MAX_CLIENTS", 2)
    usage = UsageLedger(writes)
    for name in ("a", "b", "c", "d", "a"):
        usage.count(organization.id, Client(name, "1"), frozenset({"A.a"}))

    await usage.flush()

    expected = {("A.a", "a", "1", 2), ("A.a", "b", "1", 1), ("A.a", "other", "", 2)}
    assert await in_thread(_rows, organization) == expected


async def test_the_last_counts_are_written_when_the_server_stops(
    app: GraphQLApp, http: httpx.AsyncClient, organization: Organization
) -> None:
    app.usage.start()
    await http.post("/graphql", json={"query": "{ viewer { role } }"})

    await app.close()

    assert {row[0] for row in await in_thread(_rows, organization)} == {"Query.viewer", "Viewer.role"}


def test_a_server_that_is_stopped_leaves_no_count_behind(
    database: str, organization: Organization, tmp_path: Path
) -> None:
    """Given a server that would write an hour later."""
    headers = {**bearer(organization), **WEB}

    with serving(database, tmp_path, DRIFTGRAPH_USAGE_FLUSH_SECONDS="3600") as at:
        answer = httpx.post(f"{at.url}/graphql", json={"query": "{ viewer { role } }"}, headers=headers)
        before = _rows(organization)

    assert answer.json()["data"] == {"viewer": {"role": "ADMIN"}}
    assert before == set()
    assert _rows(organization) == {("Query.viewer", "web", "1.2", 1), ("Viewer.role", "web", "1.2", 1)}


async def test_counts_are_written_time_and_again_while_the_server_runs(
    app: GraphQLApp, http: httpx.AsyncClient, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = dataclasses.replace(settings.ENVIRONMENT, usage_flush_seconds=0.01)
    monkeypatch.setattr(settings, "ENVIRONMENT", hasty)
    app.usage.start()

    for number in (1, 2):
        await http.post("/graphql", json={"query": "{ viewer { role } }"})
        async with asyncio.timeout(30):
            while {row[3] for row in await in_thread(_rows, organization)} != {number}:
                continue

    await app.close()


@pytest.mark.parametrize("part", ['"\\u0000"', '"%"', '"Payer\' OR true --"'])
async def test_a_part_that_is_none_has_no_lines(organization: Organization, api: Api, part: str) -> None:
    await in_thread(lambda: _counted(organization, name=3))

    answer = await api(f"{{ schemaUsage(part: {part}) {{ uses }} }}")

    assert "INTERNAL" not in answer.codes
    assert answer.data is None or answer.data["schemaUsage"] == []


def _counted(organization: Organization, **uses: int) -> None:
    today = timezone.now().date()
    actor = Actor.system(organization.id, "test")
    counts = {Use(today, f"Payer.{name}", "web", "1"): number for name, number in uses.items()}
    usage_add(actor=actor, counts={**counts, Use(today - datetime.timedelta(days=40), "Payer.old", "", ""): 1})


async def test_owners_see_their_own_clients_the_most_used_first(
    organization: Organization, other_organization: Organization, api: Api
) -> None:
    await in_thread(lambda: _counted(organization, name=3, code=9))
    await in_thread(lambda: _counted(other_organization, kind=7))

    document = "query($d: Int!, $p: String) { schemaUsage(days: $d, part: $p) { coordinate clientName uses lastOn } }"
    lately = await api(document, d=30)
    ever = await api(document, d=60, p="Payer")
    one = await api.data(document, d=60, p="Payer.name")

    today = timezone.now().date().isoformat()
    assert lately.errors == []
    assert lately.data["schemaUsage"] == [
        {"coordinate": "Payer.code", "clientName": "web", "uses": "9", "lastOn": today},
        {"coordinate": "Payer.name", "clientName": "web", "uses": "3", "lastOn": today},
    ]
    assert [line["clientName"] for line in ever.data["schemaUsage"]] == ["web", "web", None]
    assert [line["coordinate"] for line in one["schemaUsage"]] == ["Payer.name"]
    assert len(lately.statements) == 1


@pytest.mark.parametrize("days", [0, 3_661])
async def test_days_are_bounded(organization: Organization, api: Api, days: int) -> None:
    answer = await api("query($d: Int!) { schemaUsage(days: $d) { uses } }", d=days)

    assert answer.codes == ["BAD_USER_INPUT"]


@pytest.mark.parametrize("role", list(Role))
async def test_owners_and_administrators_alone_see_clients(
    api: Api, actor_as: Callable[[Role], Actor], role: Role
) -> None:
    answer = await api.as_(actor_as(role))("{ schemaUsage { uses } }")

    assert answer.codes == ([] if role in (Role.OWNER, Role.ADMIN) else ["FORBIDDEN"])


def test_the_operator_reads_lines_or_json(organization: Organization, capsys: pytest.CaptureFixture[str]) -> None:
    today = timezone.now().date()
    actor = Actor.system(organization.id, "test")
    usage_add(actor=actor, counts={Use(today, "Yy.name", "web", "1"): 3, Use(today, "Yy.code", "", ""): 9})

    call_command("schema_usage", "--field", "Yy")
    lines = capsys.readouterr().out.splitlines()
    call_command("schema_usage", "--field", "Yy.name", "--format", "json")
    [row] = json.loads(capsys.readouterr().out)
    call_command("schema_usage", "--field", "Yy", "--deprecated", "--since", "5")
    nothing = capsys.readouterr().out

    assert [" ".join(line.split()) for line in lines] == [
        f"9 Yy.code by a client without a name, last on {today}",
        f"3 Yy.name by web 1, last on {today}",
    ]
    assert (row["coordinate"], row["clientName"], row["uses"], row["deprecated"]) == ("Yy.name", "web", 3, False)
    assert nothing.startswith("Nothing was used since")
    with pytest.raises(CommandError, match="must be 1 to 3660"):
        call_command("schema_usage", "--since", "1000000000")


def test_what_breaks_is_told_with_who_used_it(
    organization: Organization, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a schema that had two fields more than the running one, one of them in use."""
    from_before = "type Query { viewer: Int zzUsed(by: Int): Int zzForgotten: Int }"
    monkeypatch.setattr("schema.management.commands.schema_diff._git", lambda *_: from_before)
    today = timezone.now().date()
    counts = {
        Use(today, "Query.zzUsed", "web", "1"): 3,
        Use(today, "Query.zzUsed", "", ""): 9,
        Use(today - datetime.timedelta(days=31), "Query.zzForgotten", "web", "1"): 5,
    }
    usage_add(actor=Actor.system(organization.id, "test"), counts=counts)

    with pytest.raises(CommandError, match="Clients would break"):
        call_command("schema_diff", "before", "--usage")

    lines = capsys.readouterr().out.splitlines()
    used = lines.index("breaking: Field Query.zzUsed was removed.")
    assert lines[used + 1].strip() == (
        "Query.zzUsed was used in the last 30 days: 9 times by a client without a name, 3 times by web 1"
    )
    forgotten = lines.index("breaking: Field Query.zzForgotten was removed.")
    assert lines[forgotten + 1].strip() == "Query.zzForgotten was not used in the last 30 days"
