"""Everything through PgBouncer in transaction mode, where all clients share one connection to PostgreSQL."""

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import psycopg
import pytest
from django.conf import settings

from backend.accounts.models import ApiToken, Organization
from backend.accounts.services import secret_hash
from backend.core.tenancy import acting_for
from benchmarks.serving import free_port
from tests import factories as make
from tests import server
from tests.environment import ROLE_PASSWORD
from tests.serving import serving
from tests.threads import in_thread

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
_START_SECONDS = 60
EVENTS, FINDINGS = 3, 4
PAGE = """{ driftEvents(first: 2) { edges { node { id createdAt payer { code } } } pageInfo { hasNextPage } }
  payers { totalCount nodes { code } } }"""
NESTED = "{ agentRuns { nodes { id startedAt findings(first: 2) { totalCount nodes { path } } } } }"
RESOLVED = "{ viewer { organization { name } } payers { nodes { code } } }"
MAP = """mutation($input: PayerMapInput!) { payerMap(input: $input) { payer { code } userErrors { message } } }"""
_SESSION = """SELECT pg_backend_pid(), current_setting('app.organization_id', true),
  current_setting('statement_timeout'), current_setting('lock_timeout'), current_setting('timezone'), now()::text"""

pytestmark = pytest.mark.skipif(
    PGBOUNCER is None and not os.environ.get("CI"), reason="no PgBouncer: apt-get install pgbouncer"
)


@pytest.fixture(scope="module")
def pooled(database: str) -> Iterator[str]:
    """The address of the test's database behind a PgBouncer with one connection to it."""
    straight = urlsplit(server.url("app", database))
    options = dict(parse_qsl(straight.query))
    host, server_port = options.get("host") or straight.hostname or "localhost", options.get("port") or straight.port
    folder, port = settings.ENVIRONMENT.data_dir, free_port()
    users, configuration = folder / "pgbouncer.users", folder / "pgbouncer.ini"
    users.write_text(f'"app" "{ROLE_PASSWORD}"\n')
    configuration.write_text(
        f"[databases]\n{database} = host={host} port={server_port or 5432}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\n"
        f"auth_file = {users}\npool_mode = transaction\ndefault_pool_size = 1\nserver_reset_query =\n"
    )
    # It refuses to run as root; the folder of a socket is open to its owner alone.
    user = ["--user", Path(host).owner() if Path(host).is_dir() else "nobody"] if os.geteuid() == 0 else []
    command = [str(PGBOUNCER), *user, str(configuration)]
    with subprocess.Popen(command) as process:
        try:
            url = f"postgresql://app@127.0.0.1:{port}/{database}"
            _wait(process, url)
            yield url
        finally:
            process.terminate()


def _wait(process: "subprocess.Popen[bytes]", url: str) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(psycopg.OperationalError):
            psycopg.connect(url).close()
            return
        time.sleep(0.05)
    raise AssertionError(f"PgBouncer did not become ready within {_START_SECONDS} s")


@pytest.fixture(scope="module")
async def http(
    pooled: str, database: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    """A server that knows PostgreSQL by the pooler alone."""
    folder: Path = tmp_path_factory.mktemp("data")
    variables = {"DRIFTGRAPH_DATABASE_URL": pooled, "DRIFTGRAPH_PREPARED_STATEMENTS": "false"}
    with serving(database, folder, **variables) as found:
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


async def test_no_setting_of_a_transaction_is_met_by_the_next(
    http: httpx.AsyncClient, pooled: str, organization: Organization
) -> None:
    headers = await in_thread(partial(_filled, organization, "acme"))
    with psycopg.connect(pooled, autocommit=True, prepare_threshold=None) as neighbour:
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
