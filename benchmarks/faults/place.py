"""Where a fault happens: an embedded server with an organization in it, and our server on it."""

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psycopg

from backend.db.bootstrap import create_database, create_roles
from backend.db.embedded import EmbeddedServer
from benchmarks.faults.clock import Clock
from benchmarks.faults.disks import Disk, move_wal
from benchmarks.faults.proxy import Proxy
from benchmarks.peers.database import fresh_token
from benchmarks.serving import REPOSITORY, Served, environment_of, served

DATABASE = "driftgraph"
# Impatient, so that what waits for a fault to end is heard of soon.
HASTY: Mapping[str, str] = MappingProxyType(
    {"DRIFTGRAPH_DEADLINE_SECONDS": "2", "DRIFTGRAPH_WRITE_LOCK_TIMEOUT_SECONDS": "0.3"}
)
_FEW = {"max_connections": "30"}


class MigrateFailed(Exception):
    """The database of the faults could not be made."""


def private_folder() -> Path:
    """A new folder that the account of the embedded server may enter."""
    folder = Path(tempfile.mkdtemp(prefix="driftgraph-faults-"))
    folder.chmod(0o711)
    return folder


@dataclass(frozen=True, slots=True)
class Template:
    """A stopped server with a migrated database, an organization, and its token."""

    data_dir: Path
    organization: uuid.UUID
    token: str

    def copied(self, data_dir: Path) -> EmbeddedServer:
        """A server of its own with the same content, not started."""
        subprocess.run(["/bin/cp", "-a", self.data_dir, data_dir], check=True)
        return EmbeddedServer(data_dir, options=_FEW)


@contextmanager
def template() -> Iterator[Template]:
    """The template; it is made in seconds and copied in a fraction of one."""
    folder, organization = private_folder(), uuid.uuid4()
    try:
        with EmbeddedServer(folder / "data") as server:
            superuser, owner = server.url("postgres", "postgres"), server.url("owner", DATABASE)
            create_roles(superuser)
            create_database(superuser, DATABASE)
            migrate(server.url("app", DATABASE), owner)
            with psycopg.connect(owner) as connection:
                token = new_organization(connection, organization)
        yield Template(folder / "data", organization, token)
    finally:
        shutil.rmtree(folder)


def new_organization(connection: "psycopg.Connection[Any]", organization: uuid.UUID) -> str:
    """The token of an organization that is made."""
    connection.execute(
        "INSERT INTO organization (id, name, timezone, phi_policy, retention_days, fdr_q, severity_lift_cents)"
        " VALUES (%s, 'faults', 'UTC', 'REJECT', 760, 0.05, 5000000)",
        (organization,),
    )
    return fresh_token(connection, organization)


def migrate(app: str, owner: str) -> None:
    """Returns when every migration of this checkout has been applied.

    Raises:
        MigrateFailed: one of them was not.
    """
    variables = {"DRIFTGRAPH_DATABASE_URL": app, "DRIFTGRAPH_OWNER_DATABASE_URL": owner}
    outcome = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
        cwd=REPOSITORY,
        env=environment_of(REPOSITORY, variables),
        check=False,
        capture_output=True,
        text=True,
    )
    if outcome.returncode != 0:
        raise MigrateFailed(outcome.stderr[-2000:])


@dataclass(frozen=True, slots=True)
class Place:
    """A running embedded server, and our server on it."""

    server: EmbeddedServer
    served: Served
    token: str
    variables: Mapping[str, str]  # settings of our server
    proxy: Proxy | None
    disk: Disk | None
    clock: Clock | None

    def url(self, role: str) -> str:
        """The address of the database for a role, not by the proxy."""
        return self.server.url(role, DATABASE)

    @property
    def postmaster(self) -> int:
        """The process id of the database server."""
        return int((self.server.cluster.folder / "postmaster.pid").read_text().splitlines()[0])

    def superuser(self) -> "psycopg.Connection[Any]":
        """A connection that nothing limits."""
        return psycopg.connect(self.url("postgres"), autocommit=True)

    def execute(self, text: str) -> list[tuple[Any, ...]]:
        """The rows of a statement of the superuser."""
        with self.superuser() as connection:
            cursor = connection.execute(text.encode())
            return cursor.fetchall() if cursor.description else []


@contextmanager
def place(
    made: Template,
    *,
    proxied: bool = False,
    full: str = "",
    clocked: bool = False,
    settings: Mapping[str, str] = HASTY,
) -> Iterator[Place]:
    """A place of its own until the block ends.

    `proxied`: our server reaches PostgreSQL by a proxy. `full`: what has a disk of its own, "data" or "wal".
    `clocked`: both servers have a clock that can be set.

    Raises:
        NoDisk: this user may mount none.
        NoClock: libfaketime is not installed.
    """
    with ExitStack() as stack:
        folder = private_folder()
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        disk = stack.enter_context(Disk.mounted(folder / "disk")) if full else None
        server = made.copied(folder / ("disk/data" if full == "data" else "data"))
        if disk is not None:
            move_wal(server.cluster.folder, folder / "wal" if full == "data" else disk.folder / "wal")
        clock = Clock.made(folder / "clock") if clocked else None
        preloaded = {} if clock is None else clock.variables()
        with _environment(preloaded):
            stack.enter_context(server)
        proxy = stack.enter_context(Proxy(server.socket_dir / ".s.PGSQL.5432")) if proxied else None
        app = server.url("app", DATABASE) if proxy is None else f"postgresql://app@127.0.0.1:{proxy.port}/{DATABASE}"
        variables = {"DRIFTGRAPH_DATABASE_URL": app, "DRIFTGRAPH_DATA_DIR": str(folder / "files"), **settings}
        found = stack.enter_context(served({**variables, **preloaded}, log=folder / "log"))
        yield Place(server, found, made.token, variables, proxy, disk, clock)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
