"""Requests while another transaction holds what a write needs: reads go on, writes give up, imports keep their file."""

import asyncio
import dataclasses
import datetime
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from django.conf import settings
from django.test import Client

from backend.accounts.models import ApiToken, Membership, Organization, User
from backend.accounts.services import secret_hash
from backend.claims.models import ImportBatch
from backend.core.errors import LockedOut
from backend.core.tenancy import acting_for
from backend.db.reads import Reads, connection_url
from backend.db.writes import WriteThreads
from backend.payers.services import organization_lock
from schema.execution import documents
from schema.http.health import health
from schema.http.requests import upload_folder
from tests.asgi import asking
from tests.pools import held_at_last
from tests.threads import in_thread

FILE = (
    "claim_id,payer,procedure_code,submitted_date,decided_date,outcome,billed_amount\n"
    "C1,Acme,99213,2025-01-02,2025-01-20,PAID,10.00\n"
)
IMPORT = "mutation($input: ClaimsImportInput!) { claimsImport(input: $input) { importBatch { status } } }"


def _token(organization: Organization) -> dict[str, str]:
    secret = "dg_" + organization.id.hex.ljust(43, "w")
    with acting_for(organization.id):
        ApiToken.objects.create(
            organization=organization,
            name="waiting",
            hash=secret_hash(secret),
            role="ADMIN",
            scopes=["read", "import"],
            expires_at=datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC),
        )
    return {"authorization": f"Bearer {secret}"}


def _session(organization: Organization) -> dict[str, str]:
    user = User.objects.create_user(f"waiting-{organization.id}@example.org", "a long pass phrase")
    with acting_for(organization.id):
        Membership.objects.create(organization=organization, user=user, role="ANALYST")
    client = Client()
    client.force_login(user)
    return {"cookie": f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"}


@asynccontextmanager
async def _held(organization: Organization, *, token: bool) -> AsyncIterator[None]:
    """While another transaction holds the organization's tokens, or its claims."""
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with acting_for(organization.id):
            if token:
                list(ApiToken.objects.select_for_update())
            else:
                organization_lock(organization.id)
            held.set()
            release.wait(60)

    holder = asyncio.create_task(in_thread(hold))
    await asyncio.to_thread(held.wait, 60)
    try:
        yield
    finally:
        release.set()
        await holder


def _of(organization: Organization, model: Any, field: str) -> list[Any]:
    with acting_for(organization.id):
        return list(model.objects.values_list(field, flat=True))


async def test_an_import_that_outlasts_the_deadline_goes_on_with_its_file(
    reads: Reads, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, threads = await in_thread(_token, organization), WriteThreads(2)
    monkeypatch.setattr(settings, "ENVIRONMENT", dataclasses.replace(settings.ENVIRONMENT, deadline_seconds=2.0))
    operations = orjson.dumps({"query": IMPORT, "variables": {"input": {"file": None}}}).decode()
    form = {"operations": operations, "map": '{"0": ["variables.input.file"]}'}

    async with asking(reads, threads) as http, _held(organization, token=False):
        answer = await http.post("/graphql", headers=token, data=form, files={"0": ("a.csv", FILE)})
        kept = len(list(upload_folder().iterdir()))
    await asyncio.to_thread(threads.close)

    [error] = answer.json()["errors"]
    assert error["extensions"]["code"] == "TIMEOUT"
    assert "may still come about" in error["message"]
    assert (kept, list(upload_folder().iterdir())) == (1, [])
    assert await in_thread(_of, organization, ImportBatch, "status") == ["LOADED"]


async def test_a_read_does_not_wait_for_the_record_of_its_token(reads: Reads, organization: Organization) -> None:
    token, threads = await in_thread(_token, organization), WriteThreads(1)

    async with asking(reads, threads) as http, _held(organization, token=True):
        answer = await http.post("/graphql", headers=token, json={"query": "{ payers { totalCount } }"})
        before = await in_thread(_of, organization, ApiToken, "last_used_at")
    await asyncio.to_thread(threads.close)

    assert answer.json()["data"] == {"payers": {"totalCount": 0}}
    assert before == [None]
    assert await in_thread(_of, organization, ApiToken, "last_used_at") != [None]


async def test_a_document_that_waits_for_others_does_so_within_the_deadline_and_is_known_afterwards(
    reads: Reads, writes: WriteThreads, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, may_end, looked_at = await in_thread(_token, organization), threading.Event(), list[str]()
    real = documents._prepare  # where a text is looked at, in the thread

    def held(text: str, operation_name: str | None) -> documents.Prepared:
        looked_at.append(text)
        may_end.wait(60)
        return real(text, operation_name)

    monkeypatch.setattr(documents, "_prepare", held)
    document = {"query": f"{{ viewer {{ role }} }} # {organization.id} {'long ' * 50}"}

    async with asking(reads, writes) as http:
        late = await http.post("/graphql", headers={**token, "driftgraph-deadline-ms": "50"}, json=document)
        may_end.set()
        again = await http.post("/graphql", headers=token, json=document)

    assert late.json()["errors"][0]["extensions"]["code"] == "TIMEOUT"
    assert again.json()["data"] == {"viewer": {"role": "ADMIN"}}
    assert len(looked_at) == 1


async def test_who_asks_is_found_out_within_the_deadline(writes: WriteThreads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "ENVIRONMENT", dataclasses.replace(settings.ENVIRONMENT, deadline_seconds=0.5))
    cookie, one = {"cookie": f"sessionid={'a' * 32}"}, Reads(connection_url(), size=1)
    await one.open()

    async with one.snapshot(None, seconds=60) as busy, asking(one, writes) as http:
        await busy.rows("SELECT 1")
        answer = await http.post("/graphql", headers=cookie, json={"query": "{ __typename }"})
    await one.close()

    extensions = answer.json()["errors"][0]["extensions"]
    assert (answer.status_code, extensions["code"], extensions["retryable"]) == (503, "UNAVAILABLE", True)
    assert answer.headers["retry-after"] == "1"


async def test_an_organization_that_has_its_share_of_the_connections_is_told_so_and_others_are_answered(
    writes: WriteThreads, organization: Organization, other_organization: Organization, way: str
) -> None:
    mine, theirs = [await in_thread(_token, one) for one in (organization, other_organization)]
    two, document = Reads(connection_url(), size=2), {"query": "{ payers { totalCount } }"}
    await two.open()

    async with two.snapshot(organization.id, seconds=60) as busy, asking(two, writes) as http:
        await busy.rows("SELECT 1")
        answer = await http.post("/graphql", headers={**mine, "driftgraph-deadline-ms": "500"}, json=document)
        other = await http.post("/graphql", headers=theirs, json=document)
        busy_still = await held_at_last(two._primary.shares, 1)
    await two.close()

    [error] = answer.json()["errors"]
    assert (error["extensions"]["code"], error["extensions"]["retryable"]) == ("ORGANIZATION_BUSY", True)
    assert "at a time: 1 (DRIFTGRAPH_ORGANIZATION_READ_SHARE)" in error["message"]
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert other.json()["data"] == {"payers": {"totalCount": 0}}
    assert busy_still == 1


async def test_neither_a_session_nor_readiness_waits_for_a_write(reads: Reads, organization: Organization) -> None:
    cookie, threads, release = await in_thread(_session, organization), WriteThreads(1), threading.Event()
    threads.submit(release.wait, 60)

    async with asking(reads, threads) as http:
        answer = await http.post("/graphql", headers=cookie, json={"query": "{ viewer { role } }"})
    ready = await health("/readyz", reads)
    release.set()
    await asyncio.to_thread(threads.close)

    assert answer.json()["data"] == {"viewer": {"role": "ANALYST"}}
    assert ready.status == 200


async def test_a_write_that_waits_for_a_lock_gives_up_and_can_be_tried_again(
    writes: WriteThreads, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = dataclasses.replace(settings.ENVIRONMENT, write_lock_timeout_seconds=0.1)
    monkeypatch.setattr(settings, "ENVIRONMENT", hasty)

    def write() -> str:
        with acting_for(organization.id):
            organization_lock(organization.id)
        return "done"

    async with _held(organization, token=False):
        with pytest.raises(LockedOut) as refused:
            await writes.run(write)

    assert refused.value.retryable
    assert await writes.run(write) == "done"
