"""Everything through PgBouncer in transaction mode, where all clients share one connection to PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from django.conf import settings

from backend.accounts.models import ApiToken, Organization
from backend.accounts.services import secret_hash
from backend.core.tenancy import acting_for
from backend.db.pipeline import TextQuery
from backend.db.reads import Reads
from tests import factories as make
from tests.pooling import NEEDS_PGBOUNCER, pooled
from tests.scratch import database_with_other_forms
from tests.serving import serving
from tests.threads import in_thread

EVENTS, FINDINGS = 3, 4
PAGE = """{ driftEvents(first: 2) { edges { node { id createdAt payer { code } } } pageInfo { hasNextPage } }
  payers { totalCount nodes { code } } }"""
NESTED = "{ agentRuns { nodes { id startedAt findings(first: 2) { totalCount nodes { path } } } } }"
RESOLVED = "{ viewer { organization { name } } payers { nodes { code } } }"
MAP = """mutation($input: PayerMapInput!) { payerMap(input: $input) { payer { code } userErrors { message } } }"""
_SESSION = """SELECT pg_backend_pid(), current_setting('app.organization_id', true),
  current_setting('statement_timeout'), current_setting('lock_timeout'), current_setting('timezone'), now()::text"""

pytestmark = NEEDS_PGBOUNCER


@pytest.fixture(scope="module")
def behind(database: str) -> Iterator[dict[str, str]]:
    """The settings of a server behind a PgBouncer with one connection to the test's database."""
    with pooled(database) as variables:
        yield variables


@pytest.fixture(scope="module")
async def http(
    behind: dict[str, str], database: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    """A server that knows PostgreSQL by the pooler alone."""
    folder: Path = tmp_path_factory.mktemp("data")
    with serving(database, folder, **behind) as found:
        async with httpx.AsyncClient(base_url=found.url, timeout=60) as client:
            yield client


def _filled(organization: Organization, code: str) -> dict[str, str]:
    """The headers of a token of the organization, which has a page of everything under its code."""
    secret = "dg_" + organization.id.hex.ljust(43, "p")
    with acting_for(organization.id):
        payer, run = make.payer(organization, code), make.detection_run(organization)
        for number in range(EVENTS):
            make.drift_event(payer, run, group=make.group(organization, f"{code}{number}"))
        checks = make.agent_run(make.agent(organization))
        for number in range(FINDINGS):
            make.finding(checks, f"{code}{number}", path=f"{code}/{number}.py")
        ApiToken.objects.create(
            organization=organization,
            name="pooled",
            hash=secret_hash(secret),
            role="ADMIN",
            scopes=["read", "agents:read", "mappings"],
            expires_at="2100-01-01T00:00:00Z",
        )
    return {"authorization": f"Bearer {secret}"}


async def _ask(http: httpx.AsyncClient, headers: dict[str, str], query: str, **variables: Any) -> Any:
    response = await http.post("/graphql", json={"query": query, "variables": variables}, headers=headers)
    answer = response.json()
    assert "errors" not in answer, answer
    return answer["data"]


async def test_two_organizations_on_one_connection_are_kept_apart(
    http: httpx.AsyncClient, organization: Organization, other_organization: Organization
) -> None:
    tokens = {
        code: await in_thread(partial(_filled, of, code))
        for code, of in (("acme", organization), ("bell", other_organization))
    }
    names = {"acme": organization.name, "bell": other_organization.name}

    async def everything(code: str, turn: int) -> None:
        page = await _ask(http, tokens[code], PAGE)
        assert [edge["node"]["payer"]["code"] for edge in page["driftEvents"]["edges"]] == [code, code]
        assert page["driftEvents"]["pageInfo"]["hasNextPage"]
        assert page["payers"]["nodes"][0]["code"] == code
        (run,) = (await _ask(http, tokens[code], NESTED))["agentRuns"]["nodes"]
        assert run["findings"]["totalCount"] == FINDINGS
        assert {finding["path"].partition("/")[0] for finding in run["findings"]["nodes"]} == {code}
        assert run["startedAt"].endswith(("Z", "+00:00"))
        resolved = await _ask(http, tokens[code], RESOLVED)
        assert resolved["viewer"]["organization"]["name"] == names[code]
        written = await _ask(http, tokens[code], MAP, input={"rawName": f"{code} {turn}", "payerCode": code})
        assert written["payerMap"] == {"payer": {"code": code}, "userErrors": []}

    await asyncio.gather(*(everything(code, turn) for turn in range(8) for code in tokens))


async def test_numbers_and_moments_look_the_same_whatever_the_database_has_set(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "ENVIRONMENT", replace(settings.ENVIRONMENT, prepared_statements=False))
    forms = TextQuery(b"SELECT (0.1::float8 + 0.2::float8)::text, 'epoch'::timestamptz::text")
    with database_with_other_forms() as name, pooled(name) as variables:
        reads = Reads(variables["DRIFTGRAPH_DATABASE_URL"], size=2)
        await reads.open()
        for last in (True, False):
            async with reads.snapshot(None) as snapshot:
                found = await snapshot.texts([forms], last=last)
                assert found == [[(b"0.30000000000000004", b"1970-01-01 00:00:00+00")]]
        await reads.close()


async def test_no_setting_of_a_transaction_is_met_by_the_next(
    http: httpx.AsyncClient, behind: dict[str, str], organization: Organization
) -> None:
    headers = await in_thread(partial(_filled, organization, "acme"))
    pooler = behind["DRIFTGRAPH_DATABASE_URL"]
    with psycopg.connect(pooler, autocommit=True, prepare_threshold=None) as neighbour:
        neighbour.execute("SET timezone = 'Asia/Tokyo'")
        before = neighbour.execute(_SESSION).fetchone()

        answers = [await _ask(http, headers, query) for query in (PAGE, NESTED, RESOLVED)]
        await _ask(http, headers, MAP, input={"rawName": "Acme", "payerCode": "acme"})
        after = neighbour.execute(_SESSION).fetchone()
        again = [await _ask(http, headers, query) for query in (PAGE, NESTED, RESOLVED)]

    assert before is not None
    assert after is not None
    assert after[:5] == before[:5]  # the same connection to PostgreSQL, and its settings as they were
    assert after[5].endswith("+09")
    assert again == answers
