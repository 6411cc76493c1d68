"""Bodies that do not come: how long the server waits for them."""

import asyncio
import dataclasses
from typing import Any

import orjson
import pytest
from django.conf import settings

from backend.accounts.models import Organization
from backend.db.reads import Reads
from backend.db.writes import WriteThreads
from schema.http.app import GraphQLApp
from tests.asgi import bearer
from tests.threads import in_thread

_BODY = b'{"query": "{ __typename }"}'


async def _sent(app: GraphQLApp, parts: list[bytes], headers: dict[str, str]) -> tuple[int, Any]:
    """The status and the answer; what is not among the parts never comes."""
    messages: list[dict[str, Any]] = []
    coming, is_whole = iter(parts), b"".join(parts) == _BODY
    left = len(parts)

    async def receive() -> dict[str, Any]:
        nonlocal left
        left -= 1
        part = next(coming, None)
        if part is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": part, "more_body": left > 0 or not is_whole}

    async def send(message: Any) -> None:
        messages.append(message)

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/graphql", "query_string": b"", "headers": pairs}
    await asyncio.wait_for(app(scope, receive, send), 20)
    return messages[0]["status"], orjson.loads(messages[1]["body"])


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "ENVIRONMENT", dataclasses.replace(settings.ENVIRONMENT, body_seconds=0.2))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=B"])
async def test_a_body_that_does_not_come_is_answered(
    reads: Reads, writes: WriteThreads, organization: Organization, kind: str
) -> None:
    token = await in_thread(bearer, organization)

    status, answer = await _sent(GraphQLApp(reads, writes), [b"", b""], {"content-type": kind, **token})

    [error] = answer["errors"]
    assert status == 408
    assert error["message"] == "The request body did not come within 0.2 seconds (DRIFTGRAPH_BODY_SECONDS)."
    assert error["extensions"] | {"requestId": ""} == {"code": "TIMEOUT", "requestId": "", "retryable": True}


@pytest.mark.usefixtures("impatient")
async def test_a_body_that_comes_in_parts_is_read(reads: Reads, writes: WriteThreads) -> None:
    parts = [bytes([one]) for one in _BODY]

    status, answer = await _sent(GraphQLApp(reads, writes), parts, {"content-type": "application/json"})

    assert (status, answer["data"]) == (200, {"__typename": "Query"})
