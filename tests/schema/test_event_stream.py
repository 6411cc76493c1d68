"""Server-sent events against a real server: frames, resuming, comments, and which requests get events at all."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import orjson
import pytest
from django.db.models import Q

from backend.accounts.models import Organization
from backend.agents.services import agent_run_cancel
from backend.core.actor import Actor
from tests.asgi import bearer
from tests.following import all_settled, run_id, run_says, run_started, seen
from tests.live import PROGRESS, events
from tests.serving import Serving, serving
from tests.threads import in_thread


@pytest.fixture(scope="module")
def server(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(database, tmp_path_factory.mktemp("data")) as found:
        yield found


async def test_a_browser_resumes_by_the_id_of_the_last_event(
    server: Serving, organization: Organization, actor: Actor
) -> None:
    run, credentials = await run_started(actor), await in_thread(bearer, organization)
    async with events(server.url, PROGRESS, credentials, {"id": run_id(run)}) as stream:
        while "event" not in (first := await stream.take()):
            pass
    await run_says(actor, run, 1)
    await run_says(actor, run, 2)

    resumed = {**credentials, "last-event-id": first["id"]}
    async with events(server.url, PROGRESS, resumed, {"id": run_id(run)}) as stream:
        found = [seen((await stream.event())[1]) for _ in range(2)]

    assert found == [1, 2]


async def test_what_was_seen_since_the_beginning_is_not_told_again(
    server: Serving, organization: Organization, actor: Actor
) -> None:
    """A browser connects again to the same address, with the `after` that it began with."""
    run, credentials = await run_started(actor), await in_thread(bearer, organization)
    async with events(server.url, PROGRESS, credentials, {"id": run_id(run)}) as stream:
        while "event" not in (first := await stream.take()):
            pass
    for done in range(1, 4):
        await run_says(actor, run, done)
    begun = {"id": run_id(run), "after": first["id"]}
    async with events(server.url, PROGRESS, credentials, begun) as stream:
        latest = [(await stream.event())[1]["data"]["agentRunProgress"]["cursor"] for _ in range(2)][-1]

    async with events(server.url, PROGRESS, {**credentials, "last-event-id": latest}, begun) as stream:
        assert seen((await stream.event())[1]) == 3


async def test_events_are_framed_for_readers_that_split_at_blank_lines(
    server: Serving, organization: Organization, actor: Actor, database: str
) -> None:
    """As urql does: of each part between blank lines what follows "data:", where something follows."""
    run, credentials = await run_started(actor), await in_thread(bearer, organization)
    await in_thread(partial(agent_run_cancel, actor=actor, run_id=run.id))
    await all_settled(database)
    parameters = {"query": PROGRESS, "variables": orjson.dumps({"id": run_id(run)}).decode()}
    headers = {**credentials, "accept": "text/event-stream, multipart/mixed"}

    async with httpx.AsyncClient(timeout=60) as client:
        answer = await client.get(f"{server.url}/graphql", params=parameters, headers=headers)

    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    parts = [part for part in answer.text.split("\n\n") if not part.startswith(":")]
    assert parts[-2:] == ["event: complete\ndata:", ""]
    [found] = [orjson.loads(text) for part in parts for text in re.findall(r"data: ?([^\n]+)", part)]
    assert found["data"]["agentRunProgress"]["status"] == "CANCELLED"


async def test_a_stream_with_nothing_to_say_has_comments(database: str, actor: Actor, tmp_path: Path) -> None:
    run = await run_started(actor)
    credentials = await in_thread(bearer, await in_thread(Organization.objects.get, Q(id=actor.organization_id)))
    with serving(database, tmp_path, DRIFTGRAPH_STREAM_COMMENT_SECONDS="0.2") as server:
        async with events(server.url, PROGRESS, credentials, {"id": run_id(run)}) as stream:
            await stream.event()

            assert [await stream.take() for _ in range(3)] == [{"": ""}] * 3


async def test_a_query_is_answered_as_events_where_nothing_else_is_read(
    server: Serving, organization: Organization
) -> None:
    credentials = await in_thread(bearer, organization)

    async with events(server.url, "{ viewer { role } }", credentials) as stream:
        name, answer = await stream.event()

        assert (name, answer["data"]) == ("next", {"viewer": {"role": "ADMIN"}})
        assert await stream.event() == ("complete", None)


async def test_a_subscription_needs_a_client_that_reads_events(server: Serving, organization: Organization) -> None:
    credentials = await in_thread(bearer, organization)
    body = {"query": PROGRESS, "variables": {"id": "x"}}
    accept = {"accept": "application/graphql-response+json"}

    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{server.url}/graphql", json=body, headers={**credentials, **accept})

    assert answer.status_code == 400
    assert "text/event-stream" in answer.json()["errors"][0]["message"]
