"""What live streams leave behind and whom they cut off: slow readers, foreign sites, lists of tasks and connections."""

import asyncio
import datetime
import socket as sockets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import orjson
import psycopg
import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone
from websockets.exceptions import ConnectionClosed

from backend.accounts.free_text import IdentifiesPerson
from backend.accounts.models import ApiToken, Membership, Organization, User
from backend.agents.errors import BadProgress, NumberOutOfRange
from backend.agents.models import AgentKind, AgentRun, AgentRunProgress
from backend.agents.progress import progress_forget
from backend.agents.services import agent_run_cancel, agent_run_heartbeat, agent_run_start
from backend.core.actor import Actor, Role
from backend.core.errors import AppError, LimitExceeded
from backend.core.tenancy import acting_for
from backend.db.listening import Listener
from backend.db.reads import Reads, connection_url
from backend.db.writes import WriteThreads
from schema.http.app import GraphQLApp
from schema.relay.ids import encode_id
from tests import server as cluster
from tests.asgi import bearer
from tests.live import PROGRESS, socket
from tests.pools import all_come_back
from tests.serving import Serving, serving
from tests.threads import in_thread

LISTENING = "SELECT pid FROM pg_stat_activity WHERE application_name = 'driftgraph-listener' AND datname = %s"
_LONG = " ".join(f"p{number}: phase" for number in range(40))
MANY = f"subscription($id: ID!, $after: String) {{ agentRunProgress(id: $id, after: $after) {{ {_LONG} }} }}"


@pytest.fixture(scope="module")
def server(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    settings_of = {
        "DRIFTGRAPH_STREAM_SEND_SECONDS": "2",
        "DRIFTGRAPH_STREAM_CHECK_SECONDS": "0.5",
        "DRIFTGRAPH_MAX_STREAMS_PER_PRINCIPAL": "1",
    }
    with serving(database, tmp_path_factory.mktemp("data"), **settings_of) as found:
        yield found


async def _start(actor: Actor) -> AgentRun:
    return await in_thread(partial(agent_run_start, actor=actor, kind=AgentKind.EXTERNAL, name="auditor"))


def _fill(organization: Organization, run: AgentRun, entries: int) -> None:
    with acting_for(organization.id):
        AgentRunProgress.objects.bulk_create(
            AgentRunProgress(organization=organization, run=run, status="RUNNING", phase="x" * 100)
            for _ in range(entries)
        )


async def test_who_reads_slowly_is_answered_slowly_and_gets_everything(
    server: Serving, organization: Organization, actor: Actor
) -> None:
    run, credentials = await _start(actor), await in_thread(bearer, organization)
    async with socket(server.url, max_queue=1) as live:
        await live.init(**credentials)
        await live.subscribe("1", PROGRESS, id=encode_id("RU", run.id))
        first = (await live.take())["payload"]["data"]["agentRunProgress"]["cursor"]
        await live.send("complete", id="1")
        await in_thread(_fill, organization, run, 1_000)
        await in_thread(partial(agent_run_cancel, actor=actor, run_id=run.id))

        await live.subscribe("2", PROGRESS, id=encode_id("RU", run.id), after=first)
        cursors = []
        while (message := await live.take())["type"] == "next":
            cursors.append(message["payload"]["data"]["agentRunProgress"]["cursor"])
            if len(cursors) % 250 == 1:
                await asyncio.sleep(0.2)

    assert message == {"id": "2", "type": "complete"}
    assert len(cursors) == len(set(cursors)) == 1_001


async def test_who_does_not_read_at_all_is_cut_off(server: Serving, organization: Organization, actor: Actor) -> None:
    """The buffers of both sides fill up, a message waits in vain, and the place of the socket is free again."""
    run, credentials = await _start(actor), await in_thread(bearer, organization)
    narrow = sockets.socket()
    narrow.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    narrow.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
    async with socket(server.url, sock=narrow, max_queue=1, ping_interval=None, close_timeout=1) as live:
        await live.init(**credentials)
        await live.subscribe("1", PROGRESS, id=encode_id("RU", run.id))
        first = (await live.take())["payload"]["data"]["agentRunProgress"]["cursor"]
        await live.send("complete", id="1")
        await in_thread(_fill, organization, run, 2_500)

        live.connection.transport.pause_reading()
        await live.subscribe("2", MANY, id=encode_id("RU", run.id), after=first)

        assert await _admitted(server, credentials)


async def _admitted(server: Serving, credentials: dict[str, str]) -> bool:
    """Whether the one socket that a principal may have gets free."""
    for _ in range(600):
        async with socket(server.url) as other:
            await other.send("connection_init", payload=credentials)
            with suppress(ConnectionClosed):
                return bool(await other.take() == {"type": "connection_ack"})
        await asyncio.sleep(0.1)
    return False


async def _cookie(organization: Organization) -> str:
    def sign_in() -> str:
        user = User.objects.create_user(f"live-{organization.id}@example.org", "a long pass phrase")
        with acting_for(organization.id):
            Membership.objects.create(organization=organization, user=user, role="ANALYST")
        client = Client()
        client.force_login(user)
        return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"

    return await in_thread(sign_in)


async def test_a_session_counts_for_pages_of_the_server_itself_alone(
    server: Serving, organization: Organization
) -> None:
    cookie = {"cookie": await _cookie(organization)}

    async with socket(server.url, origin=server.url, additional_headers=cookie) as live:
        await live.init()
        await live.subscribe("1", "{ viewer { role } }")
        assert (await live.take())["payload"]["data"] == {"viewer": {"role": "ANALYST"}}
    for origin in ("https://elsewhere.example", "null"):
        async with socket(server.url, origin=origin, additional_headers=cookie) as live:
            await live.send("connection_init")
            assert await live.end() == (4403, "The request comes from another site.")


async def test_a_session_that_ends_ends_its_socket(server: Serving, organization: Organization) -> None:
    cookie = {"cookie": await _cookie(organization)}
    async with socket(server.url, origin=server.url, additional_headers=cookie) as live:
        await live.init()

        people = User.objects.filter(email=f"live-{organization.id}@example.org")
        await in_thread(partial(people.update, is_active=False))

        assert await live.code() == 4403


class _Asgi:
    """One connection to the application, without a server: what it is sent, and what it has sent."""

    def __init__(self, app: GraphQLApp, scope: dict[str, Any]) -> None:
        self.given: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        base = {"path": "/graphql", "query_string": b"", "client": ("127.0.0.1", 1)}
        whole = {**base, **scope}
        self.task = asyncio.create_task(app(whole, self.given.get, self.sent.put))  # type: ignore[arg-type]  # ASGI's

    async def until(self, wanted: bytes) -> bytes:
        """The first message to come that holds what is wanted."""
        async with asyncio.timeout(60):
            while wanted not in (found := orjson.dumps(await self.sent.get(), default=bytes.decode)):
                pass
        return found


async def _socket_of(app: GraphQLApp, credentials: dict[str, str], run: AgentRun) -> _Asgi:
    found = _Asgi(app, {"type": "websocket", "headers": [], "subprotocols": ["graphql-transport-ws"]})
    variables = {"id": encode_id("RU", run.id)}
    found.given.put_nowait({"type": "websocket.connect"})
    for message in (
        {"type": "connection_init", "payload": credentials},
        {"type": "subscribe", "id": "1", "payload": {"query": PROGRESS, "variables": variables}},
    ):
        found.given.put_nowait({"type": "websocket.receive", "text": orjson.dumps(message).decode()})
    await found.until(b"next")
    return found


async def _stream_of(app: GraphQLApp, credentials: dict[str, str], run: AgentRun) -> _Asgi:
    body = orjson.dumps({"query": PROGRESS, "variables": {"id": encode_id("RU", run.id)}})
    headers = {**credentials, "accept": "text/event-stream", "content-type": "application/json"}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    found = _Asgi(app, {"type": "http", "method": "POST", "headers": pairs})
    found.given.put_nowait({"type": "http.request", "body": body, "more_body": False})
    await found.until(b"event: next")
    return found


def _alter_token(organization: Organization, **values: Any) -> None:
    with acting_for(organization.id):
        ApiToken.objects.update(**values)


async def test_each_event_looks_at_the_token_after_its_rights_have_changed_too(
    reads: Reads,
    writes: WriteThreads,
    organization: Organization,
    actor: Actor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing else looks at it while the test lasts."""
    monkeypatch.setattr(settings, "ENVIRONMENT", replace(settings.ENVIRONMENT, stream_check_seconds=3600.0))
    run, credentials = await _start(actor), await in_thread(bearer, organization)
    app = GraphQLApp(reads, writes)
    stream = await _stream_of(app, credentials, run)

    async def told(phase: str, **values: Any) -> bytes:
        await in_thread(partial(_alter_token, organization, **values))
        await in_thread(partial(agent_run_heartbeat, actor=actor, run_id=run.id, phase=phase))
        return await stream.until(b"event: ")

    assert b"more rights" in await told("more rights", role=Role.OWNER.value)
    assert b"UNAUTHENTICATED" in await told("none", revoked_at=timezone.now())
    await stream.task
    await app.close()


async def test_nothing_is_left_of_streams_whose_clients_left(
    reads: Reads, writes: WriteThreads, organization: Organization, actor: Actor, database: str
) -> None:
    run, credentials = await _start(actor), await in_thread(bearer, organization)
    app = GraphQLApp(reads, writes)
    tasks = asyncio.all_tasks()

    with psycopg.connect(cluster.url("postgres", database), autocommit=True) as superuser:
        others = set(superuser.execute(LISTENING, [database]).fetchall())
    live = [await opened(app, credentials, run) for opened in (_socket_of, _stream_of) * 3]
    assert len(app.streams.listener.topics) == 1
    with psycopg.connect(cluster.url("postgres", database), autocommit=True) as superuser:
        own = set(superuser.execute(LISTENING, [database]).fetchall()) - others
    assert len(own) == 1
    for number, connection in enumerate(live):
        connection.given.put_nowait({"type": "http.disconnect" if number % 2 else "websocket.disconnect"})
    async with asyncio.timeout(60):
        await asyncio.gather(*(connection.task for connection in live))

    assert app.streams.listener.topics == frozenset()
    await app.close()
    # A client that leaves waits for nothing: connections go back to their pool in tasks that nobody can cancel.
    if left := asyncio.all_tasks() - tasks:
        await asyncio.wait(left, timeout=60)
    assert {task for task in left if not task.done()} == set()
    assert await all_come_back(reads)
    with psycopg.connect(cluster.url("postgres", database), autocommit=True) as superuser:
        for _ in range(600):
            if not (after := set(superuser.execute(LISTENING, [database]).fetchall()) & own):
                break
            await asyncio.sleep(0.1)
        assert after == set()


async def test_a_listener_wakes_everybody_once_it_listens(database: str) -> None:
    """Whoever watches before there is a connection is told to look when there is one."""
    listener = Listener(connection_url())
    with listener.watching("a") as first, listener.watching("b") as second:
        async with asyncio.timeout(60):
            await asyncio.gather(first.wait(), second.wait())
        first.clear()
        second.clear()

        with psycopg.connect(cluster.url("app", database), autocommit=True) as connection:
            connection.execute("SELECT pg_notify('driftgraph', 'b')")
        async with asyncio.timeout(60):
            await second.wait()

        assert not first.is_set()
    await listener.close()
    assert listener.topics == frozenset()


def test_progress_is_forgotten_after_its_time(organization: Organization, actor: Actor) -> None:
    run = agent_run_start(actor=actor, kind=AgentKind.EXTERNAL, name="auditor")
    with acting_for(organization.id):
        [started] = AgentRunProgress.objects.all()

    assert progress_forget(actor=actor, before=started.created_at - datetime.timedelta(minutes=1)) == 0
    assert progress_forget(actor=actor, before=timezone.now() + datetime.timedelta(minutes=1)) == 1

    with acting_for(organization.id):
        assert list(AgentRunProgress.objects.all()) == []
        assert AgentRun.objects.filter(id=run.id).exists()


def test_a_heartbeat_that_says_nothing_is_no_progress(organization: Organization, actor: Actor) -> None:
    run = agent_run_start(actor=actor, kind=AgentKind.EXTERNAL, name="auditor")

    agent_run_heartbeat(actor=actor, run_id=run.id)
    agent_run_heartbeat(actor=actor, run_id=run.id, total=0)

    with acting_for(organization.id):
        found = AgentRunProgress.objects.order_by("transaction", "id").values_list("status", "total")
        assert list(found) == [("RUNNING", None), ("RUNNING", 0)]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"done": -1}, NumberOutOfRange),
        ({"done": 3, "total": 2}, BadProgress),
        ({"phase": "x" * 101}, LimitExceeded),
        ({"phase": "ssn 123-45-6789"}, IdentifiesPerson),
    ],
)
def test_progress_that_is_not_good_is_refused(actor: Actor, said: dict[str, Any], kind: type[AppError]) -> None:
    run = agent_run_start(actor=actor, kind=AgentKind.EXTERNAL, name="auditor")

    with pytest.raises(kind):
        agent_run_heartbeat(actor=actor, run_id=run.id, **said)
