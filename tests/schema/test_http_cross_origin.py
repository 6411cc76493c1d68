"""Front ends of other origins: which ones a browser lets ask, and that none comes by a cookie."""

import dataclasses
from collections.abc import AsyncIterator

import httpx
import pytest
from django.conf import settings

from backend.accounts.models import Organization
from backend.db.reads import Reads
from backend.db.writes import WriteThreads
from tests.asgi import asking, bearer
from tests.threads import in_thread

OURS, THEIRS = "https://app.example.org", "https://evil.example.org"
ASKS = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
ROLE = {"query": "{ viewer { role } }"}


@pytest.fixture
async def http(reads: Reads, writes: WriteThreads, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    origins = f"{OURS} http://localhost:5173"
    monkeypatch.setattr(settings, "ENVIRONMENT", dataclasses.replace(settings.ENVIRONMENT, cors_origins=origins))
    async with asking(reads, writes) as client:
        yield client


async def test_a_known_origin_may_ask_and_read(http: httpx.AsyncClient, organization: Organization) -> None:
    token = await in_thread(bearer, organization)

    permission = await http.options("/graphql", headers={"origin": OURS, **ASKS})
    answer = await http.post("/graphql", json=ROLE, headers={**token, "origin": OURS})

    assert (permission.status_code, permission.content) == (204, b"")
    assert "POST" in permission.headers["access-control-allow-methods"]
    allowed = permission.headers["access-control-allow-headers"].split(", ")
    assert {"authorization", "content-type", "idempotency-key", "driftgraph-consistency-token"} <= set(allowed)
    assert answer.json()["data"] == {"viewer": {"role": "ADMIN"}}
    for response in (permission, answer):
        assert response.headers["access-control-allow-origin"] == OURS
        assert "Origin" in response.headers["vary"]
        assert "access-control-allow-credentials" not in response.headers


async def test_the_page_reads_refusals_and_pages_too(http: httpx.AsyncClient, organization: Organization) -> None:
    token = await in_thread(bearer, organization)
    answers = [
        await http.post("/graphql", content=b"{", headers={"origin": OURS, "content-type": "application/json"}),
        await http.post("/graphql", json=ROLE, headers={"origin": OURS, "authorization": "Bearer nonsense"}),
        await http.get("/graphql", params=ROLE, headers={"origin": OURS, **token}),
    ]

    assert [answer.status_code for answer in answers] == [400, 401, 200]
    assert [answer.headers["access-control-allow-origin"] for answer in answers] == [OURS] * 3
    readable = set(answers[0].headers["access-control-expose-headers"].split(", "))
    assert {"x-request-id", "driftgraph-consistency-token"} <= readable


@pytest.mark.parametrize("origin", [THEIRS, "null", OURS.upper(), f"{OURS}.evil.example", "http://app.example.org"])
async def test_no_other_origin_may(http: httpx.AsyncClient, organization: Organization, origin: str) -> None:
    token = await in_thread(bearer, organization)

    permission = await http.options("/graphql", headers={"origin": origin, **ASKS})
    answer = await http.post("/graphql", json=ROLE, headers={**token, "origin": origin})

    assert permission.status_code == 405
    for response in (permission, answer):
        assert "access-control-allow-origin" not in response.headers
        assert "Origin" in response.headers["vary"]


async def test_a_known_origin_does_not_come_by_a_cookie(http: httpx.AsyncClient) -> None:
    cookie = f"{settings.SESSION_COOKIE_NAME}={'a' * 32}"

    answer = await http.post("/graphql", json=ROLE, headers={"origin": OURS, "cookie": cookie})

    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (403, "FORBIDDEN")


async def test_without_the_setting_answers_say_nothing_of_origins(reads: Reads, writes: WriteThreads) -> None:
    async with asking(reads, writes) as client:
        permission = await client.options("/graphql", headers={"origin": OURS, **ASKS})

    assert permission.status_code == 405
    assert not [name for name in permission.headers if name.startswith("access-control")]
    assert "Origin" not in permission.headers.get("vary", "")
