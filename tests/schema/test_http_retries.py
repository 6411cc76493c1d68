"""Clients that try a mutation again until they hear an answer, over connections that break off anywhere."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from backend.accounts.models import IdempotencyKey, Organization
from backend.agents.models import AgentRun
from backend.core.tenancy import acting_for
from tests.asgi import bearer
from tests.cutting import Cut, CuttingProxy
from tests.serving import Serving, serving
from tests.threads import in_thread

CLIENTS, ROUNDS, TRIES = 8, 4, 200
START = """mutation($input: AgentRunStartInput!) { agentRunStart(input: $input) {
  agentRun { id startedAt commit } userErrors { code } } }"""


@pytest.fixture(scope="module")
def served(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(database, tmp_path_factory.mktemp("retries"), DRIFTGRAPH_COST_PER_MINUTE="100000000") as found:
        yield found


async def _answer(http: httpx.AsyncClient, key: str) -> Any:
    """The data of the first answer that arrives whole; what says that it can be tried again is none."""
    body = {"query": START, "variables": {"input": {"kind": "CODE_QUALITY", "agent": "retrying"}}}
    for _ in range(TRIES):
        try:
            answer = (await http.post("/graphql", json=body, headers={"idempotency-key": key})).json()
        except httpx.TransportError:
            continue
        if "errors" not in answer:
            return answer["data"]
        assert all(error["extensions"]["retryable"] for error in answer["errors"]), answer["errors"]
    raise AssertionError(f"no answer after {TRIES} tries")


async def _client(number: int, http: httpx.AsyncClient) -> list[tuple[str, Any]]:
    """Keys of its own, and in each round one that all clients use at once; each is asked for twice."""
    found = []
    for turn in range(ROUNDS):
        for key in (f"own {number} {turn}", f"shared {turn}"):
            found += [(key, await _answer(http, key)) for _ in range(2)]
    return found


async def test_every_key_has_one_effect_and_one_answer(served: Serving, organization: Organization) -> None:
    token = await in_thread(bearer, organization)
    proxy = CuttingProxy(httpx.URL(served.url).port or 0, seed=7)

    one_request_each = httpx.Limits(max_keepalive_connections=0)
    async with (
        proxy.listening() as url,
        httpx.AsyncClient(base_url=url, headers=token, limits=one_request_each, timeout=60) as http,
    ):
        heard = await asyncio.gather(*(_client(number, http) for number in range(CLIENTS)))

    answers: dict[str, set[str]] = {}
    for key, answer in (one for client in heard for one in client):
        answers.setdefault(key, set()).add(json.dumps(answer))
    keys = CLIENTS * ROUNDS + ROUNDS
    assert len(answers) == keys
    assert [key for key, different in answers.items() if len(different) > 1] == []

    def effects() -> tuple[int, int]:
        with acting_for(organization.id):
            return AgentRun.objects.count(), IdempotencyKey.objects.count()

    assert await in_thread(effects) == (keys, keys)
    assert set(proxy.made) == set(Cut)
