"""A subscription followed by either transport, and agent runs that say how far they have come."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol

import psycopg
import pytest

from backend.agents.models import AgentKind, AgentRun
from backend.agents.services import agent_run_heartbeat, agent_run_start
from backend.core.actor import Actor
from schema.relay.ids import encode_id
from tests import server as cluster
from tests.live import PROGRESS, events, socket
from tests.threads import in_thread


class Following(Protocol):
    """What both transports give: the next event, or how it ended."""

    async def event(self) -> dict[str, Any]:
        """The next event; the errors where it failed; {} where it is complete."""


class _BySocket:
    def __init__(self, live: Any) -> None:
        self.live = live

    async def event(self) -> dict[str, Any]:
        message = await self.live.take()
        if message["type"] == "complete":
            return {}
        return message["payload"] if message["type"] == "next" else {"errors": message["payload"]}


class _ByEvents:
    def __init__(self, stream: Any) -> None:
        self.stream = stream

    async def event(self) -> dict[str, Any]:
        name, content = await self.stream.event()
        return {} if name == "complete" else content


@asynccontextmanager
async def following(
    transport: str, url: str, credentials: dict[str, str], query: str = PROGRESS, **variables: Any
) -> AsyncIterator[Following]:
    if transport == "websocket":
        async with socket(url) as live:
            await live.init(**credentials)
            await live.subscribe("1", query, **variables)
            yield _BySocket(live)
    else:
        async with events(url, query, credentials, variables) as stream:
            assert stream.response.headers["content-type"].startswith("text/event-stream")
            yield _ByEvents(stream)


async def all_settled(database: str) -> None:
    """Returns when all transactions have ended that the cluster has now.

    The newest event is not told while one is open that is older: of another test's database, too.
    """

    def wait() -> None:
        with psycopg.connect(cluster.url("postgres", database), autocommit=True) as superuser:
            now = superuser.execute("SELECT pg_current_xact_id()::text").fetchone()
            for _ in range(600):
                found = superuser.execute("SELECT pg_snapshot_xmin(pg_current_snapshot()) > %s::xid8", now).fetchone()
                if found == (True,):
                    return
                time.sleep(0.1)
            pytest.fail("a transaction does not end")

    await in_thread(wait)


async def run_started(actor: Actor, name: str = "auditor") -> AgentRun:
    return await in_thread(partial(agent_run_start, actor=actor, kind=AgentKind.EXTERNAL, name=name))


def run_id(run: AgentRun) -> str:
    return encode_id("RU", run.id)


async def run_says(actor: Actor, run: AgentRun, done: int) -> None:
    await in_thread(partial(agent_run_heartbeat, actor=actor, run_id=run.id, phase="reading", done=done, total=10))


def seen(payload: dict[str, Any]) -> Any:
    assert "errors" not in payload, payload
    found = payload["data"]["agentRunProgress"]
    return found["done"] if found["status"] == "RUNNING" else found["status"]
