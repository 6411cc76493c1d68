"""One database per test process, one organization per test: row-level security isolates, nothing is cleaned."""

import dataclasses
import fcntl
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from hypothesis import HealthCheck
from hypothesis import settings as generation
from psycopg import sql
from pytest_django.plugin import blocking_manager_key

from backend.accounts.models import Organization
from backend.core.actor import Actor, Role
from backend.db.bootstrap import create_database
from backend.db.reads import Reads, process_reads
from backend.db.writes import WriteThreads
from tests import server
from tests.api import Api
from tests.environment import EXTERNAL, ROOT, RUN

# No example fails because the machine was busy with something else.
generation.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
generation.load_profile("unhurried")
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")


@contextmanager
def _one_process() -> Iterator[None]:
    with (ROOT / "template.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _use(name: str) -> None:
    for alias in connections:
        connections[alias].close()
        # Threads build their connections from the second of these: without it they would write elsewhere.
        connections[alias].settings_dict["NAME"] = name
        connections.settings[alias]["NAME"] = name
        settings.DATABASES[alias]["NAME"] = name


def _template(superuser: str) -> str:
    """The migrated database that every worker clones; the first worker makes it."""
    name, building = server.database_name("template"), server.database_name("build")
    with psycopg.connect(superuser, autocommit=True) as admin:
        if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            return name
        server.prepare()
        create_database(superuser, building)
        _use(building)
        call_command("migrate", verbosity=0)
        _use("postgres")
        admin.execute(f"ALTER DATABASE {building} RENAME TO {name}")
    return name


@pytest.fixture(scope="session")
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of this process's own migrated database; Django's connections lead to it."""
    superuser = server.url("postgres", "postgres")
    name = server.database_name(_WORKER)
    with request.config.stash[blocking_manager_key].unblock():
        with _one_process():
            create_database(superuser, name, template=_template(superuser))
        _use(name)
        yield name
        _use("postgres")


@pytest.fixture
def organization(database: str, request: pytest.FixtureRequest) -> Organization:
    """An organization that only this test knows; its id is the same in every run."""
    return Organization.objects.create(
        id=uuid.uuid5(uuid.NAMESPACE_URL, request.node.nodeid), name=request.node.nodeid[-200:]
    )


@pytest.fixture
def other_organization(database: str, request: pytest.FixtureRequest) -> Organization:
    """A second tenant, to whom nothing of the first may show."""
    return Organization.objects.create(
        id=uuid.uuid5(uuid.NAMESPACE_OID, request.node.nodeid), name=f"other {request.node.nodeid[-200:]}"
    )


@pytest.fixture
def actor(organization: Organization) -> Actor:
    """An owner of the test's organization."""
    return Actor(organization_id=organization.id, role=Role.OWNER, request_id="test")


@pytest.fixture
def actor_as(organization: Organization) -> Callable[[Role], Actor]:
    """A member of the test's organization in a given role."""
    return lambda role: Actor(organization_id=organization.id, role=role, user_id=uuid.uuid4(), request_id="test")


@pytest.fixture(scope="session")
async def reads(database: str) -> AsyncIterator[Reads]:
    """The read pool on this process's database."""
    pool = process_reads()
    await pool.open()
    yield pool
    await pool.close()


@pytest.fixture(scope="session")
def writes(database: str) -> Iterator[WriteThreads]:
    """The threads that services run in."""
    threads = WriteThreads(4)
    yield threads
    threads.close()


@pytest.fixture(params=["auto", "compiled", "reference"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How operations are executed: every test of the API runs once by each way (DRIFTGRAPH_EXECUTION)."""
    chosen: str = request.param
    monkeypatch.setattr(settings, "ENVIRONMENT", dataclasses.replace(settings.ENVIRONMENT, execution=chosen))
    return chosen


@pytest.fixture
def api(reads: Reads, writes: WriteThreads, actor: Actor, way: str) -> Api:
    """The schema as an owner of the test's organization."""
    return Api(reads, writes, actor)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leaves nothing behind: the embedded server ends with its last user, then its folder goes."""
    if hasattr(session.config, "workerinput"):
        return
    if EXTERNAL:
        _drop_databases()
    server.release()
    shutil.rmtree(ROOT, ignore_errors=True)


def _drop_databases() -> None:
    with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as admin:
        ours = f"test\\_%\\_{RUN}"
        for (name,) in admin.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [ours]).fetchall():
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
