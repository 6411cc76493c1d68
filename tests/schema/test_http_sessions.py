"""Sessions, deadlines and clients that leave: what the endpoint does beyond a plain request."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection

from backend.accounts.models import Membership, Organization, User
from backend.core.errors import Unavailable
from backend.core.tenancy import acting_for
from backend.db.reads import Reads
from backend.db.snapshots import Snapshot
from backend.db.writes import WriteThreads
from schema.declare import resolver
from schema.http.app import GraphQLApp
from schema.http.health import health
from tests.asgi import asking
from tests.threads import in_thread

VIEWER = {"query": "{ viewer { role organization { name } } }"}


@pytest.fixture
async def http(reads: Reads, writes: WriteThreads, way: str) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(reads, writes) as client:
        yield client


def _sign_in(organization: Organization, role: str) -> dict[str, str]:
    user = User.objects.create_user(f"{organization.id}@example.org", "a long pass phrase")
    with acting_for(organization.id):
        Membership.objects.create(organization=organization, user=user, role=role)
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return {"cookie": f"{settings.SESSION_COOKIE_NAME}={session.session_key}"}


async def test_a_session_acts_for_the_member_of_an_organization(
    http: httpx.AsyncClient, organization: Organization
) -> None:
    cookie = await in_thread(_sign_in, organization, "ANALYST")

    answer = await http.post("/graphql", json=VIEWER, headers={**cookie, "origin": "http://testserver"})

    assert answer.json()["data"]["viewer"] == {"role": "ANALYST", "organization": {"name": organization.name}}


async def test_a_session_is_found_beside_cookies_of_others(http: httpx.AsyncClient, organization: Organization) -> None:
    cookie = (await in_thread(_sign_in, organization, "ANALYST"))["cookie"]

    answer = await http.post("/graphql", json=VIEWER, headers={"cookie": f'prefs={{"a":1}}; odd; {cookie}'})

    assert answer.json()["data"]["viewer"]["role"] == "ANALYST"


async def test_a_person_without_membership_is_refused(http: httpx.AsyncClient, organization: Organization) -> None:
    cookie = await in_thread(_sign_in, organization, "ANALYST")

    def leave() -> None:
        with acting_for(organization.id):
            Membership.objects.all().delete()

    await in_thread(leave)
    answer = await http.post("/graphql", json=VIEWER, headers=cookie)

    assert answer.status_code == 403
    assert answer.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_a_session_is_found_in_cookies_that_came_apart(
    http: httpx.AsyncClient, organization: Organization
) -> None:
    """As HTTP/2 lets clients send them, and servers hand them on."""
    cookie = (await in_thread(_sign_in, organization, "ANALYST"))["cookie"]

    for lines in ([cookie, "theme=dark"], ["theme=dark", cookie, "other=1"]):
        answer = await http.post("/graphql", json=VIEWER, headers=[("cookie", line) for line in lines])

        assert answer.json()["data"]["viewer"]["role"] == "ANALYST"


async def test_a_broken_cookie_is_like_none(http: httpx.AsyncClient) -> None:
    answer = await http.post("/graphql", json=VIEWER, headers={"cookie": "\x01=;=; sessionid"})

    assert answer.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_an_unknown_address_is_not_found(http: httpx.AsyncClient) -> None:
    assert (await http.post("/graphql/elsewhere", json=VIEWER)).status_code == 404


@pytest.mark.parametrize("way", ["compiled", "reference"], indirect=True)
async def test_a_late_operation_ends_at_its_deadline(
    http: httpx.AsyncClient, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = await in_thread(_sign_in, organization, "ANALYST")
    hasty = dataclasses.replace(settings.ENVIRONMENT, deadline_seconds=0.05)
    monkeypatch.setattr(settings, "ENVIRONMENT", hasty)

    async def dawdle(*_: Any, **__: Any) -> None:
        await asyncio.sleep(5)

    monkeypatch.setattr("schema.declared_field.root_page", dawdle)
    answer = await http.post("/graphql", json={"query": "{ payers { totalCount } }"}, headers=cookie)

    assert answer.json()["errors"][0]["extensions"]["code"] == "TIMEOUT"
    assert answer.json()["errors"][0]["extensions"]["retryable"] is True


@pytest.mark.parametrize("way", ["auto"], indirect=True)
@pytest.mark.parametrize(
    ("deadline", "code"),
    [("20", "TIMEOUT"), ("999999999", "TIMEOUT")]
    + [(bad, "BAD_USER_INPUT") for bad in ("0", "1.5", "-1", "²", "9" * 10)],
)
async def test_a_request_may_have_less_time_but_not_more(
    http: httpx.AsyncClient, organization: Organization, monkeypatch: pytest.MonkeyPatch, deadline: str, code: str
) -> None:
    cookie = await in_thread(_sign_in, organization, "ANALYST")
    setting = 3600.0 if deadline == "20" else 0.05
    monkeypatch.setattr(settings, "ENVIRONMENT", dataclasses.replace(settings.ENVIRONMENT, deadline_seconds=setting))

    async def dawdle(*_: Any, **__: Any) -> None:
        await asyncio.sleep(600)

    monkeypatch.setattr(Snapshot, "texts", dawdle)
    headers = {**cookie, "driftgraph-deadline-ms": deadline.encode("latin-1")}
    answer = await http.post("/graphql", json={"query": "{ payers { totalCount } }"}, headers=headers)

    assert answer.json()["errors"][0]["extensions"]["code"] == code


async def test_a_database_that_is_away_is_said_to_be() -> None:
    nowhere = Reads("postgresql://app@/nowhere?host=/nonexistent&connect_timeout=1", size=1)

    with pytest.raises(Unavailable):
        await asyncio.wait_for(nowhere.open(), 30)
    answer = await health("/readyz", nowhere)
    assert answer.status == 503
    await nowhere.close()


async def test_health_says_ready_when_every_migration_is_applied(reads: Reads) -> None:
    assert (await health("/healthz", reads)).status == 200
    assert (await health("/readyz", reads)).status == 200


async def _leaving_client(app: GraphQLApp, headers: dict[str, str], query: str) -> list[dict[str, Any]]:
    """Sends a whole request and goes away at once."""
    messages = [
        {"type": "http.request", "body": orjson.dumps({"query": query}), "more_body": False},
        {"type": "http.disconnect"},
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.05)
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(dict(message))

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/graphql", "query_string": b"", "headers": raw}
    await app(scope, receive, send)
    return sent


async def test_a_client_that_leaves_stops_its_statement(
    reads: Reads,
    writes: WriteThreads,
    organization: Organization,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    cookie = await in_thread(_sign_in, organization, "ANALYST")

    async def slow(snapshot: Snapshot, *_: object, **__: object) -> None:
        await snapshot.rows("SELECT pg_sleep(20) AS planted_for_a_leaving_client")

    monkeypatch.setattr("schema.declared_field.root_page", slow)
    monkeypatch.setattr(Snapshot, "texts", slow)
    headers = {**cookie, "content-type": "application/json"}
    sent = await asyncio.wait_for(_leaving_client(GraphQLApp(reads, writes), headers, "{ payers { totalCount } }"), 10)

    def running() -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()"
                " AND query LIKE '%planted_for_a_leaving_client%'"
            )
            return int(cursor.fetchone()[0])

    assert sent == []
    assert await in_thread(running) == 0


def test_a_resolver_without_a_right_must_say_so() -> None:
    with pytest.raises(TypeError):
        resolver("Anything.")  # type: ignore[call-arg]  # the point of the test
