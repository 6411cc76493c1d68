"""One database per test process, one organization per test: row-level security is the isolation, and nothing is cleaned."""

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

# Settings read the environment when Django starts, so the test server's address must be there before.
_RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex
_ROOT = Path(tempfile.gettempdir()) / f"driftgraph-test-{os.getuid()}-{_RUN[:12]}"
_ROOT.mkdir(mode=0o711, exist_ok=True)
os.environ["DRIFTGRAPH_DATA_DIR"] = str(_ROOT)
os.environ["DRIFTGRAPH_EMBEDDED_OPTIONS"] = "fsync=off,full_page_writes=off,synchronous_commit=off"

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402
from pytest_django.plugin import blocking_manager_key  # noqa: E402

from backend.accounts.models import Organization  # noqa: E402
from backend.config.databases import embedded_server  # noqa: E402
from backend.core.actor import Actor, Role  # noqa: E402
from backend.db.bootstrap import create_database  # noqa: E402

_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")


@contextmanager
def _one_process() -> Iterator[None]:
    with (_ROOT / "template.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _use(name: str) -> None:
    for alias in connections:
        connections[alias].close()
        # Threads build their connections from the second of these: without it they would write elsewhere.
        connections[alias].settings_dict["NAME"] = name
        connections.settings[alias]["NAME"] = name


def _template(superuser: str) -> str:
    """The migrated database that every worker clones; the first worker makes it."""
    name = "test_template"
    with psycopg.connect(superuser, autocommit=True) as admin:
        if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            return name
        create_database(superuser, "test_build")
        _use("test_build")
        call_command("migrate", verbosity=0)
        _use("postgres")
        admin.execute(f"ALTER DATABASE test_build RENAME TO {name}")
    return name


@pytest.fixture(scope="session")
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of this process's own migrated database; Django's connections lead to it."""
    server = embedded_server(str(settings.ENVIRONMENT.data_dir.resolve()), settings.ENVIRONMENT.embedded_options)
    superuser = server.url("postgres", "postgres")
    name = f"test_{_WORKER}"
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


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leaves nothing behind: the server ends with its last user, then its folder goes."""
    if hasattr(session.config, "workerinput"):
        return
    embedded_server(str(settings.ENVIRONMENT.data_dir.resolve()), settings.ENVIRONMENT.embedded_options).release()
    shutil.rmtree(_ROOT, ignore_errors=True)
