"""Subscriptions against a real server, by both transports: what comes, in which order, for whom, and what ends them."""

import asyncio
import os
import signal
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.utils import timezone

from backend.accounts.models import ApiToken, Organization
from backend.agents.models import Conclusion
from backend.agents.progress import AFTER, START, topic
from backend.agents.services import agent_run_cancel, agent_run_finish
from backend.core.actor import Actor, Right, Role
from backend.core.tenancy import acting_for
from backend.db.listening import CHANNEL
from benchmarks.serving import GRANIAN, UVICORN
from schema.subscriptions import cursor_of
from tests import server as cluster
from tests.asgi import bearer
from tests.following import all_settled, following, run_id, run_says, run_started, seen
from tests.live import PROGRESS, socket
from tests.serving import Serving, serving
from tests.threads import in_thread

both = pytest.mark.parametrize("transport", ["websocket", "events"])
LISTENERS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'driftgraph-listener' AND datname = %s"


@pytest.fixture(scope="module", params=[GRANIAN, UVICORN], ids=["granian", "uvicorn"])
def server(
    database: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("data")
    with serving(database, folder, server_words=request.param, DRIFTGRAPH_STREAM_CHECK_SECONDS="0.5") as found:
        yield found


@both
async def test_a_run_is_followed_until_it_ends(
    server: Serving, organization: Organization, actor: Actor, transport: str
) -> None:
    run, credentials = await run_started(actor), await in_thread(bearer, organization)

    async with following(transport, server.url, credentials, id=run_id(run)) as stream:
        first = (await stream.event())["data"]["agentRunProgress"]
        await run_says(actor, run, 3)
        second = (await stream.event())["data"]["agentRunProgress"]
        await in_thread(partial(agent_run_finish, actor=actor, run_id=run.id, conclusion=Conclusion.PASS))
        last = (await stream.event())["data"]["agentRunProgress"]

        assert await stream.event() == {}
    assert (first["status"], first["phase"], first["done"]) == ("RUNNING", "", None)
    assert (second["phase"], second["done"], second["total"]) == ("reading", 3, 10)
    assert last["status"] == "SUCCEEDED"
    assert last["run"] == {"id": run_id(run), "status": "SUCCEEDED"}
    assert len({first["cursor"], second["cursor"], last["cursor"]}) == 3


@both
async def test_the_first_event_is_the_latest_and_with_a_cursor_all_that_follow_it(
    server: Serving, organization: Organization, actor: Actor, transport: str, database: str
) -> None:
    run, credentials = await run_started(actor), await in_thread(bearer, organization)
    for number in range(5):
        await run_says(actor, run, number)
    await all_settled(database)

    async with following(transport, server.url, credentials, id=run_id(run)) as stream:
        latest = (await stream.event())["data"]["agentRunProgress"]
    await run_says(actor, run, 5)
    await run_says(actor, run, 6)
    await in_thread(partial(agent_run_cancel, actor=actor, run_id=run.id))
    async with following(transport, server.url, credentials, id=run_id(run), after=latest["cursor"]) as stream:
        rest = [seen(await stream.event()) for _ in range(3)]

        assert await stream.event() == {}
    assert (latest["done"], rest) == (4, [5, 6, "CANCELLED"])


@both
async def test_nothing_is_lost_or_doubled_when_transactions_commit_late(
    server: Serving, organization: Organization, actor: Actor, transport: str, database: str
) -> None:
    """An older transaction commits after a younger one; whoever is cut off in between resumes where they were."""
    run, credentials = await run_started(actor), await in_thread(bearer, organization)
    insert = (
        "INSERT INTO agent_run_progress (id, organization_id, run_id, status, phase, done)"
        " VALUES (%s, %s, %s, 'RUNNING', '', %s)"
    )

    def entry(connection: "psycopg.Connection[Any]", done: int) -> None:
        connection.execute("SELECT set_config('app.organization_id', %s, true)", [str(organization.id)])
        connection.execute(insert, [uuid.uuid4(), organization.id, run.id, done])

    numbers: list[Any] = []
    cursor = None
    with (
        psycopg.connect(cluster.url("app", database)) as old,
        psycopg.connect(cluster.url("app", database)) as young,
    ):
        async with following(transport, server.url, credentials, id=run_id(run)) as stream:
            cursor = (await stream.event())["data"]["agentRunProgress"]["cursor"]
            for number in range(0, 10, 2):
                entry(old, number)
                entry(young, number + 1)
                young.commit()
                young.execute("SELECT pg_notify(%s, %s)", [CHANNEL, topic(run.id)])
                young.commit()
                old.commit()
                for _ in range(2 if number < 6 else 0):
                    found = (await stream.event())["data"]["agentRunProgress"]
                    numbers.append(found["done"])
                    cursor = found["cursor"]
        async with following(transport, server.url, credentials, id=run_id(run), after=cursor) as stream:
            numbers += [seen(await stream.event()) for _ in range(4)]
            await in_thread(partial(agent_run_cancel, actor=actor, run_id=run.id))
            assert seen(await stream.event()) == "CANCELLED"
            assert await stream.event() == {}

    assert numbers == list(range(10))


async def test_what_an_open_transaction_may_precede_is_held_back(
    server: Serving, organization: Organization, actor: Actor, database: str
) -> None:
    run, credentials = await run_started(actor), await in_thread(bearer, organization)

    async with following("websocket", server.url, credentials, id=run_id(run)) as stream:
        await stream.event()
        with psycopg.connect(cluster.url("app", database)) as older:
            older.execute("SELECT pg_current_xact_id()")
            await run_says(actor, run, 1)
            waiting = asyncio.create_task(stream.event())
            older.execute("SELECT set_config('app.organization_id', %s, true)", [str(organization.id)])
            settled = [row[-1] for row in older.execute(AFTER, [*START, run.id]).fetchall()]

            assert (settled, waiting.done()) == ([True, False], False)
        assert seen(await waiting) == 1


@both
async def test_an_organization_does_not_see_the_runs_of_another(
    server: Serving, organization: Organization, other_organization: Organization, transport: str
) -> None:
    theirs = await run_started(Actor.system(other_organization.id, "test"))
    credentials = await in_thread(bearer, organization)

    async with following(transport, server.url, credentials, id=run_id(theirs)) as stream:
        answer = await stream.event()

    assert answer["errors"][0]["extensions"]["code"] == "NOT_FOUND"
    assert answer.get("data") is None


@both
@pytest.mark.parametrize(
    ("variables", "code"),
    [({"id": "x"}, "BAD_USER_INPUT"), ({"after": "eA=="}, "INVALID_CURSOR"), ({"id": None}, "BAD_USER_INPUT")],
)
async def test_what_cannot_be_followed_says_why(
    server: Serving, organization: Organization, actor: Actor, transport: str, variables: dict[str, Any], code: str
) -> None:
    run, credentials = await run_started(actor), await in_thread(bearer, organization)

    async with following(transport, server.url, credentials, **{"id": run_id(run), **variables}) as stream:
        assert (await stream.event())["errors"][0]["extensions"]["code"] == code


@both
@pytest.mark.parametrize("transaction", [None, 2**62, 2**63 - 1], ids=["another run", "far away", "last of all"])
async def test_a_cursor_of_another_run_or_of_what_is_not_yet_is_refused(
    server: Serving, organization: Organization, actor: Actor, transport: str, transaction: int | None
) -> None:
    run, other = await run_started(actor), await run_started(actor)
    credentials = await in_thread(bearer, organization)
    async with following(transport, server.url, credentials, id=run_id(other)) as stream:
        theirs = (await stream.event())["data"]["agentRunProgress"]["cursor"]
    after = theirs if transaction is None else cursor_of(run.id, transaction, uuid.uuid4())

    async with following(transport, server.url, credentials, id=run_id(run), after=after) as stream:
        error = (await stream.event())["errors"][0]
    assert error["extensions"]["code"] == "INVALID_CURSOR"


@both
async def test_who_may_not_read_runs_may_not_follow_them(
    server: Serving, organization: Organization, actor: Actor, transport: str
) -> None:
    run, credentials = await run_started(actor), await in_thread(bearer, organization)
    with_right = {Right.READ.value}
    await in_thread(partial(_alter_token, organization, scopes=list(with_right)))

    async with following(transport, server.url, credentials, id=run_id(run)) as stream:
        assert (await stream.event())["errors"][0]["extensions"]["code"] == "FORBIDDEN"


def _alter_token(organization: Organization, **values: Any) -> None:
    with acting_for(organization.id):
        ApiToken.objects.update(**values)


ENDED = {
    "revoked": ({"revoked_at": timezone.now()}, "UNAUTHENTICATED"),
    "expired": ({"expires_at": timezone.now()}, "UNAUTHENTICATED"),
    "fewer rights": ({"scopes": [Right.READ.value]}, "FORBIDDEN"),
    "lower role": ({"role": Role.VIEWER.value}, "FORBIDDEN"),
}


@pytest.mark.parametrize("how", ENDED)
async def test_lost_credentials_end_a_socket(
    server: Serving, organization: Organization, actor: Actor, how: str
) -> None:
    run, credentials = await run_started(actor), await in_thread(bearer, organization)
    async with socket(server.url) as live:
        await live.init(**credentials)
        await live.subscribe("1", PROGRESS, id=run_id(run))
        await live.take()

        await in_thread(partial(_alter_token, organization, **ENDED[how][0]))

        code, reason = await live.end()
    assert code == 4403
    assert reason


@pytest.mark.parametrize("how", ENDED)
async def test_lost_credentials_end_an_event_stream(
    server: Serving, organization: Organization, actor: Actor, how: str
) -> None:
    run, credentials = await run_started(actor), await in_thread(bearer, organization)
    async with following("events", server.url, credentials, id=run_id(run)) as stream:
        await stream.event()

        await in_thread(partial(_alter_token, organization, **ENDED[how][0]))

        assert (await stream.event())["errors"][0]["extensions"]["code"] == ENDED[how][1]
        assert await stream.event() == {}


@both
async def test_a_cut_listening_connection_is_taken_up_again(
    server: Serving, organization: Organization, actor: Actor, transport: str, database: str
) -> None:
    run, credentials = await run_started(actor), await in_thread(bearer, organization)
    with psycopg.connect(cluster.url("postgres", database), autocommit=True) as superuser:
        async with following(transport, server.url, credentials, id=run_id(run)) as stream:
            await stream.event()
            before = superuser.execute(LISTENERS, [database]).fetchall()
            assert len(before) == 1

            superuser.execute("SELECT pg_terminate_backend(%s)", before[0])
            await run_says(actor, run, 1)

            assert seen(await stream.event()) == 1
            for _ in range(600):
                if (after := superuser.execute(LISTENERS, [database]).fetchall()) not in ([], before):
                    break
                await asyncio.sleep(0.1)
            assert len(after) == 1
            await run_says(actor, run, 2)
            assert seen(await stream.event()) == 2


async def test_a_notification_holds_an_id_and_nothing_else(actor: Actor, database: str) -> None:
    with psycopg.connect(cluster.url("app", database), autocommit=True) as connection:
        connection.execute(f"LISTEN {CHANNEL}")

        run = await run_started(actor)

        assert [found.payload for found in connection.notifies(timeout=30, stop_after=1)] == [f"agent_run:{run.id}"]


async def test_an_operation_that_is_completed_by_the_client_is_silent(
    server: Serving, organization: Organization, actor: Actor
) -> None:
    run, credentials = await run_started(actor), await in_thread(bearer, organization)
    async with socket(server.url) as live:
        await live.init(**credentials)
        await live.subscribe("1", PROGRESS, id=run_id(run))
        assert (await live.take())["type"] == "next"

        await live.send("complete", id="1")
        await live.subscribe("1", PROGRESS, id=run_id(run))
        await live.take()
        await run_says(actor, run, 1)

        assert seen((await live.take())["payload"]) == 1
        await live.send("ping")
        assert await live.take() == {"type": "pong"}


async def test_the_budget_pays_for_every_event(server: Serving, organization: Organization, actor: Actor) -> None:
    run, credentials = await run_started(actor), await in_thread(bearer, organization)
    remaining = []
    async with socket(server.url) as live:
        await live.init(**credentials)
        for _ in range(2):
            await live.subscribe("q", "{ viewer { role } }")
            remaining.append((await live.take())["payload"]["extensions"]["cost"]["remaining"])
            await live.take()
            if len(remaining) == 1:
                await live.subscribe("s", PROGRESS, id=run_id(run))
                await live.take()

    assert remaining[0] - remaining[1] > 1


@pytest.mark.parametrize("words", [GRANIAN, UVICORN], ids=["granian", "uvicorn"])
async def test_the_server_that_stops_says_good_bye(
    database: str, organization: Organization, actor: Actor, tmp_path: Path, words: tuple[str, ...]
) -> None:
    run, credentials = await run_started(actor), await in_thread(bearer, organization)
    with serving(database, tmp_path, server_words=words) as server:
        async with (
            socket(server.url) as live,
            following("events", server.url, credentials, id=run_id(run)) as stream,
        ):
            await live.init(**credentials)
            await live.subscribe("1", PROGRESS, id=run_id(run))
            await live.take()
            await stream.event()

            os.kill(server.process, signal.SIGTERM)

            code, reason = await live.end()
            answer = await stream.event()
            assert await stream.event() == {}
    assert (code, reason) == (1001, "The server stops. Connect again.")
    assert answer["errors"][0]["extensions"]["retryable"] is True
