"""PostgreSQL goes away and comes back: every path says that it can be tried again, and none takes it for a bug."""

import datetime
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson
import psycopg
import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore

from backend.accounts.models import User
from backend.accounts.services import secret_hash
from backend.db.bootstrap import create_database, create_roles
from backend.db.embedded import EmbeddedServer
from benchmarks.serving import REPOSITORY
from tests.backend.workers import until
from tests.serving import serving

DATABASE, SECRET = "outage", "dg_" + "o" * 43
READ = {"query": "{ payers { totalCount nodes { name } } }"}
WRITE = {"query": 'mutation { payerMap(input: {rawName: "acme", payerCode: "acme"}) { userErrors { code } } }'}
IMPORT = "mutation($input: ClaimsImportInput!) { claimsImport(input: $input) { userErrors { code } } }"
FILE = "claim_id,payer,procedure_code,submitted_date,decided_date,outcome\nC1,Acme,99213,2026-01-05,2026-01-14,PAID\n"


@dataclass(frozen=True, slots=True)
class Site:
    """A server on a PostgreSQL of its own, and who may ask it."""

    url: str
    database: EmbeddedServer
    cookie: str

    def read(self, secret: str = SECRET) -> httpx.Response:
        return self._post(json=READ, headers={"authorization": f"Bearer {secret}"})

    def read_as_person(self) -> httpx.Response:
        return self._post(json=READ, headers={"cookie": self.cookie})

    def read_by_executor(self) -> httpx.Response:
        query = {"query": '{ viewer { role organization { name } } node(id: "UFkAAAAAAAAAAAAAAAAAAAAA") { id } }'}
        return self._post(json=query, headers={"authorization": f"Bearer {SECRET}"})

    def write(self) -> httpx.Response:
        return self._post(json=WRITE, headers={"authorization": f"Bearer {SECRET}"})

    def upload(self) -> httpx.Response:
        form = {
            "operations": orjson.dumps({"query": IMPORT, "variables": {"input": {"file": None}}}).decode(),
            "map": '{"0": ["variables.input.file"]}',
        }
        files = {"0": ("a.csv", FILE, "text/csv")}
        return self._post(data=form, files=files, headers={"authorization": f"Bearer {SECRET}"})

    def ready(self) -> httpx.Response:
        return self.get("/readyz")

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", headers={"cookie": self.cookie}, timeout=60)

    def _post(self, **request: object) -> httpx.Response:
        return httpx.post(f"{self.url}/graphql", timeout=60, **request)  # type: ignore[arg-type]  # by name


PATHS: dict[str, Callable[[Site], httpx.Response]] = {
    "a read": Site.read,
    "a read by the executor": Site.read_by_executor,
    "a read with a token not seen before": lambda site: site.read("dg_" + "n" * 43),
    "a read with a session": Site.read_as_person,
    "a write": Site.write,
    "an upload": Site.upload,
    "readiness": Site.ready,
}


def _fill(connection: "psycopg.Connection[tuple[object, ...]]") -> str:
    """The cookie of a member of an organization that is made, with a token."""
    organization, person = uuid.uuid4(), User(id=uuid.uuid4(), email="a@example.org", password="!never")
    session = SessionStore()
    kept = {
        SESSION_KEY: str(person.id),
        BACKEND_SESSION_KEY: settings.AUTHENTICATION_BACKENDS[0],
        HASH_SESSION_KEY: person.get_session_auth_hash(),
    }
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    connection.execute(
        "INSERT INTO organization (id, name, timezone, phi_policy, retention_days, fdr_q, severity_lift_cents)"
        " VALUES (%s, 'outage', 'UTC', 'REJECT', 760, 0.05, 5000000)",
        [organization],
    )
    connection.execute(
        "INSERT INTO user_account (id, email, name, password, is_active, is_staff, is_superuser)"
        " VALUES (%s, %s, '', %s, true, false, false)",
        [person.id, person.email, person.password],
    )
    connection.execute(
        "INSERT INTO membership (id, organization_id, user_id, role) VALUES (%s, %s, %s, 'ANALYST')",
        [uuid.uuid4(), organization, person.id],
    )
    connection.execute(
        "INSERT INTO api_token (id, organization_id, name, hash, role, scopes, expires_at)"
        " VALUES (%s, %s, 't', %s, 'ADMIN', '{read,import,mappings}', %s)",
        [uuid.uuid4(), organization, secret_hash(SECRET), until],
    )
    connection.execute(
        "INSERT INTO django_session (session_key, session_data, expire_date) VALUES (%s, %s, %s)",
        ["k" * 32, session.encode(kept), until],
    )
    return f"{settings.SESSION_COOKIE_NAME}={'k' * 32}"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    folder = Path(tempfile.mkdtemp(prefix="driftgraph-outage-"))
    folder.chmod(0o711)  # the account that PostgreSQL runs under must come in
    try:
        with EmbeddedServer(folder / "data", options={"fsync": "off"}) as server:
            superuser, owner = server.url("postgres", "postgres"), server.url("owner", DATABASE)
            create_roles(superuser)
            create_database(superuser, DATABASE)
            addresses = {
                "DRIFTGRAPH_DATABASE_URL": server.url("app", DATABASE),
                "DRIFTGRAPH_OWNER_DATABASE_URL": owner,
            }
            command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
            subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **addresses}, check=True)
            with psycopg.connect(owner) as connection:
                cookie = _fill(connection)
            with serving(
                DATABASE,
                folder / "files",
                DRIFTGRAPH_DATABASE_URL=server.url("app", DATABASE),
                DRIFTGRAPH_DEADLINE_SECONDS="3",
            ) as served:
                yield Site(served.url, server, cookie)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _said(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    [code] = {error["extensions"]["code"] for error in body.get("errors", [])} or {body.get("code", "")}
    return answer.status_code, code


def _all_work(site: Site) -> dict[str, tuple[int, str]]:
    unknown = "a read with a token not seen before"
    return {name: _said(ask(site)) for name, ask in PATHS.items() if name != unknown}


def test_without_the_database_every_path_says_so_and_that_it_can_be_tried_again(site: Site) -> None:
    working = _all_work(site)

    site.database.release()  # its last user: it stops
    try:
        with ThreadPoolExecutor(len(PATHS)) as threads:
            answers = dict(zip(PATHS, threads.map(lambda ask: ask(site), PATHS.values()), strict=True))
        alive, page, metrics = (site.get(path) for path in ("/healthz", "/accounts/organization/", "/metrics"))
    finally:
        site.database.acquire()

    assert set(working.values()) == {(200, "")}
    assert {name: _said(answer) for name, answer in answers.items()} == dict.fromkeys(PATHS, (503, "UNAVAILABLE"))
    assert {name for name, answer in answers.items() if "retry-after" not in answer.headers} == set()
    retryable = [error["extensions"]["retryable"] for one in answers.values() for error in one.json().get("errors", [])]
    assert set(retryable) == {True}
    assert alive.status_code == 200
    assert metrics.status_code == 200
    assert "\ndriftgraph_database_up 0.0\n" in metrics.text
    assert "driftgraph_operations_total{" in metrics.text
    assert "driftgraph_audit" not in metrics.text
    assert (page.status_code, page.headers["retry-after"]) == (503, "1")
    assert site.get("/accounts/organization/").status_code == 200
    assert _all_work(site) == working
    again = site.get("/metrics").text
    assert "\ndriftgraph_database_up 1.0\n" in again
    assert "driftgraph_audit_unsealed_entries" in again


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "crashed"])
def test_a_restart_under_load_is_no_bug_to_anyone(site: Site, how: signal.Signals) -> None:
    heard: Counter[tuple[int, str]] = Counter()
    away, back, ended = threading.Event(), threading.Event(), threading.Event()

    def ask(path: Callable[[Site], httpx.Response]) -> None:
        rounds = 0
        while not ended.is_set() or rounds == 0:
            heard[_said(path(site))] += 1
            rounds += back.is_set()

    with ThreadPoolExecutor(2 * len(PATHS)) as threads:
        asking = [threads.submit(ask, path) for _ in range(2) for path in PATHS.values()]
        while heard.total() < 5 * len(asking):
            away.wait(0.05)
        postmaster = int((site.database.data_dir / "pg" / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, how)
        while site.database.cluster.answers():
            away.wait(0.05)
        assert until(lambda: (503, "UNAVAILABLE") in heard)
        site.database.acquire()
        back.set()
        ended.set()
        for one in asking:
            one.result()

    late = {(200, "TIMEOUT"), (503, "TIMEOUT")}  # on a slow machine
    assert heard.keys() <= {(200, ""), (401, "UNAUTHENTICATED"), (503, "UNAVAILABLE"), *late}
    assert set(_all_work(site).values()) == {(200, "")}
