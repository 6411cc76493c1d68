"""What the audit trail learns of an HTTP request: who, which request, which operation, what for."""

import asyncio
import dataclasses
import datetime
from collections.abc import AsyncIterator
from typing import Any

import httpx
import psycopg
import pytest
from django.conf import settings

from backend.accounts.models import ApiToken, Organization
from backend.accounts.services import secret_hash
from backend.accounts.throttling import Attempts
from backend.audit.models import AuditEntry
from backend.audit.sealing import seal_make
from backend.core.tenancy import acting_for
from backend.db.reads import Reads
from backend.db.writes import WriteThreads
from schema.http.app import GraphQLApp
from schema.http.asgi import behind_proxies
from schema.http.health import health
from schema.http.messages import Response
from tests import factories as make
from tests import server
from tests.asgi import asking
from tests.sealing import wait_until_all_can_be_sealed
from tests.threads import in_thread


@pytest.fixture
async def http(reads: Reads, writes: WriteThreads, way: str) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(reads, writes) as client:
        yield client


def _token(organization: Organization) -> dict[str, str]:
    secret = "dg_" + organization.id.hex.ljust(43, "z")
    with acting_for(organization.id):
        make.payer(organization)
        ApiToken.objects.create(
            organization=organization,
            name="accounts",
            hash=secret_hash(secret),
            role="ANALYST",
            scopes=["claims:read", "read", "mappings"],
            expires_at=datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1),
        )
    return {"authorization": f"Bearer {secret}"}


def _entries(organization: Organization, **which: str) -> list[dict[str, Any]]:
    kept = ("actor_role", "purpose", "operation_name", "request_id", "outcome")
    with acting_for(organization.id):
        token = ApiToken.objects.get().id
        return list(AuditEntry.objects.filter(**which, token_id=token).order_by("at").values(*kept))


async def test_a_read_is_recorded_with_its_request(http: httpx.AsyncClient, organization: Organization) -> None:
    headers = await in_thread(_token, organization)

    query = {"query": "query Look { claims { totalCount } }"}
    seen = await http.post("/graphql", json=query, headers=headers | {"Driftgraph-Purpose": "PAYMENT"})
    unsaid = await http.post("/graphql", json=query, headers=headers)

    expected = {"actor_role": "ANALYST", "operation_name": "Look", "outcome": "OK"}
    assert await in_thread(lambda: _entries(organization, action="read")) == [
        {**expected, "purpose": "PAYMENT", "request_id": seen.headers["x-request-id"]},
        {**expected, "purpose": "", "request_id": unsaid.headers["x-request-id"]},
    ]


async def test_a_change_is_recorded_with_its_request(http: httpx.AsyncClient, organization: Organization) -> None:
    headers = await in_thread(_token, organization)

    mutation = 'mutation Map { payerMap(input: {rawName: "A", payerCode: "acme"}) { userErrors { message } } }'
    done = await http.post("/graphql", json={"query": mutation}, headers=headers | {"Driftgraph-Purpose": "OPERATIONS"})

    assert done.json()["data"]["payerMap"]["userErrors"] == []
    [alias] = await in_thread(lambda: _entries(organization, object_type="payer_alias"))
    assert (alias["operation_name"], alias["purpose"]) == ("Map", "OPERATIONS")
    assert alias["request_id"] == done.headers["x-request-id"]


async def test_an_unknown_purpose_is_refused_without_repeating_it(
    http: httpx.AsyncClient, organization: Organization
) -> None:
    headers = await in_thread(_token, organization)

    answer = await http.post(
        "/graphql", json={"query": "{ viewer { role } }"}, headers=headers | {"Driftgraph-Purpose": "Jane Roe"}
    )

    [error] = answer.json()["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert "PAYMENT" in error["message"]
    assert "Roe" not in answer.text


async def test_the_latest_seal_is_shown(database: str, organization: Organization, reads: Reads) -> None:
    with psycopg.connect(server.url("postgres", database), autocommit=True) as superuser:
        wait_until_all_can_be_sealed(superuser)
    seal = await in_thread(seal_make)

    answer = await health("/readyz", reads)

    assert seal is not None
    assert f'"seq":{seal.seq},"hash":"{seal.hash}"'.encode() in answer.body


class _Counting(WriteThreads):
    """Knows which services it ran."""

    def __init__(self) -> None:
        super().__init__(2)
        self.services: list[str] = []

    def submit(self, service: Any, *args: Any, **kwargs: Any) -> Any:
        self.services.append(service.__name__)
        return super().submit(service, *args, **kwargs)


async def _asked_from(app: GraphQLApp, address: str, headers: dict[str, str]) -> None:
    """Asks, and waits for what the request left to be done."""
    before = asyncio.all_tasks()
    transport = httpx.ASGITransport(app=app, client=(address, 1))  # type: ignore[arg-type]  # ASGI dictionaries
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        answer = await client.post("/graphql", json={"query": "{ viewer { role } }"}, headers=headers)
    assert answer.json()["data"] == {"viewer": {"role": "ANALYST"}}
    if left := asyncio.all_tasks() - before:
        await asyncio.wait(left)


async def test_a_token_from_a_new_address_is_recorded_once(reads: Reads, organization: Organization, way: str) -> None:
    headers = await in_thread(_token, organization)
    addresses = ("192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.1", "2001:db8::1", "2001:db8::2")
    writes = _Counting()
    try:
        first, second = GraphQLApp(reads, writes), GraphQLApp(reads, writes)  # as two processes

        for address in addresses:
            await _asked_from(first, address, headers)
        once = len(writes.services)
        for address in addresses:
            await _asked_from(second, address, headers)
    finally:
        await in_thread(writes.close)

    assert (once, len(writes.services)) == (4, 8)  # what is remembered costs nothing
    assert len(await in_thread(lambda: _entries(organization, action="token.address"))) == 3


async def _status(app: GraphQLApp, address: str, secret: str, query: str = "{ viewer { role } }") -> httpx.Response:
    transport = httpx.ASGITransport(app=app, client=(address, 1))  # type: ignore[arg-type]  # ASGI dictionaries
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        headers = {"authorization": f"Bearer {secret}"}
        return await client.post("/graphql", json={"query": query}, headers=headers)


@pytest.mark.parametrize(
    ("peer", "told"),
    [
        ("10.1.2.3", "192.0.2.9"),
        ("10.2.0.1", "10.2.0.1"),
        ("::ffff:10.1.2.3", "192.0.2.9"),  # to a server that listens on ::
        ("::ffff:10.2.0.1", "10.2.0.1"),
    ],
)
async def test_the_proxies_that_are_trusted_say_whence_a_request_comes(
    monkeypatch: pytest.MonkeyPatch, peer: str, told: str
) -> None:
    trusted = dataclasses.replace(settings.ENVIRONMENT, trusted_proxies="10.1.0.0/16")
    monkeypatch.setattr(settings, "ENVIRONMENT", trusted)
    clients = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        clients.append(scope["client"][0])
        await Response(204).send(send)

    transport = httpx.ASGITransport(app=behind_proxies(application), client=(peer, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        await client.get("/", headers={"x-forwarded-for": "203.0.113.1, 192.0.2.9"})

    assert clients == [told]


@pytest.mark.parametrize(
    ("forwarded", "told"),
    [
        ("192.0.2.9:5555", "192.0.2.9"),
        ("203.0.113.1:1, 192.0.2.9:5555, 10.1.0.5:443", "192.0.2.9"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("192.0.2.9, ::ffff:10.1.0.5", "192.0.2.9"),
        ("unknown", "unknown"),
    ],
)
async def test_a_port_that_a_proxy_tells_is_no_part_of_the_address(
    monkeypatch: pytest.MonkeyPatch, forwarded: str, told: str
) -> None:
    monkeypatch.setattr(
        settings, "ENVIRONMENT", dataclasses.replace(settings.ENVIRONMENT, trusted_proxies="10.1.0.0/16")
    )
    clients = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        clients.append(scope["client"][0])
        await Response(204).send(send)

    transport = httpx.ASGITransport(app=behind_proxies(application), client=("10.1.2.3", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        await client.get("/", headers={"x-forwarded-for": forwarded})

    assert clients == [told]


async def test_an_address_has_few_tokens_that_are_no_good(
    reads: Reads, writes: WriteThreads, organization: Organization, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "ENVIRONMENT", dataclasses.replace(settings.ENVIRONMENT, bad_tokens_per_address=3))
    good = (await in_thread(_token, organization))["authorization"].removeprefix("Bearer ")
    guesses = ["short", "dg_" + "a" * 43, "dg_" + "b" * 43]
    app = GraphQLApp(reads, writes, attempts=Attempts(""))
    known = GraphQLApp(reads, writes, attempts=Attempts(""))
    assert (await _status(known, "192.0.2.1", good)).status_code == 200

    refused = [(await _status(app, "192.0.2.1", one)).status_code for one in guesses]
    next_one = await _status(app, "192.0.2.1", good)
    elsewhere = await _status(app, "192.0.2.2", good)
    for one in guesses:
        await _status(known, "192.0.2.1", one)

    assert refused == [401, 401, 401]
    assert (next_one.status_code, next_one.json()["errors"][0]["extensions"]["code"]) == (429, "RATE_LIMITED")
    assert "DRIFTGRAPH_BAD_TOKENS_PER_ADDRESS" in next_one.json()["errors"][0]["message"]
    assert 1 <= int(next_one.headers["retry-after"]) <= 60
    assert elsewhere.status_code == 200
    assert (await _status(known, "192.0.2.1", good)).status_code == 200  # it is remembered


async def test_bad_tokens_of_an_address_keep_no_known_token_from_writing_however_much_at_once(
    reads: Reads, writes: WriteThreads, organization: Organization, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "ENVIRONMENT", dataclasses.replace(settings.ENVIRONMENT, bad_tokens_per_address=1))
    token = await in_thread(_token, organization)
    good = token["authorization"].removeprefix("Bearer ")
    app = GraphQLApp(reads, writes, attempts=Attempts(""))
    assert (await _status(app, "192.0.2.1", good)).status_code == 200
    assert [(await _status(app, "192.0.2.1", "short")).status_code for _ in range(2)] == [401, 429]

    change = 'mutation { payerMap(input: {rawName: "Acme", payerCode: "acme"}) { userErrors { code } } }'
    answers = await asyncio.gather(*(_status(app, "192.0.2.1", good, change) for _ in range(20)))

    assert [answer.status_code for answer in answers] == [200] * 20
    told = [answer.json()["data"]["payerMap"]["userErrors"] for answer in answers]
    assert told == [[]] * 20
