"""The benchmark's database: built once per factor and schema on an embedded server of its own, then reused."""

import fcntl
import hashlib
import json
import os
import secrets
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from rich.console import Console

from backend.config.databases import embedded_server
from backend.db.bootstrap import create_database
from backend.db.embedded import EmbeddedServer
from benchmarks.peers import progress
from benchmarks.peers.generation import CROWDED, FUNCTIONS, GENERATOR, MEASURED, ORGANIZATIONS, TABLES, Sizes, steps

REPOSITORY = Path(__file__).resolve().parents[2]
# The data can be made again, so nothing waits for the disk; nothing but the measured server works in the background.
OPTIONS = (
    "fsync=off,synchronous_commit=off,full_page_writes=off,autovacuum=off,max_wal_size=8GB,shared_buffers=1GB,"
    "max_connections=300,maintenance_work_mem=256MB"
)
WRITTEN = 4  # number of the organization that the soak writes to
TENANTS = (MEASURED, 2, 3, WRITTEN, CROWDED)  # who get a token; the others are there to be kept apart
_ROW_ID = "SELECT pg_temp.row_id(%s, %s, %s)"


class AlreadyRunning(Exception):
    """Another benchmark uses the same folder."""


class BuildFailed(Exception):
    """The benchmark's database could not be built."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """An organization, one of its drift events, and a token."""

    organization: uuid.UUID
    event: uuid.UUID
    token: str


@dataclass(frozen=True, slots=True)
class Database:
    """A filled database and what the servers and documents need to know of it."""

    server: EmbeddedServer
    name: str
    stamp: dict[str, Any]
    tenants: dict[int, Tenant]  # by the number of the organization

    @property
    def measured(self) -> Tenant:
        """The organization that the peers serve."""
        return self.tenants[MEASURED]

    @property
    def crowded(self) -> Tenant:
        """The organization whose newest runs have a hundred findings each."""
        return self.tenants[CROWDED]

    def url(self, role: str) -> str:
        """The address for a role."""
        return self.server.url(role, self.name)

    @property
    def folder(self) -> Path:
        """The folder of the cluster."""
        return self.server.cluster.folder

    @property
    def socket(self) -> str:
        """The folder of the server's socket."""
        return str(self.server.socket_dir)

    @property
    def postmaster(self) -> int:
        """The process id of the database server."""
        return int((self.folder / "postmaster.pid").read_text().splitlines()[0])


def bench_folder() -> Path:
    """Where database and peers are kept: DRIFTGRAPH_BENCH_DIR, or .data/bench in the repository."""
    chosen = os.environ.get("DRIFTGRAPH_BENCH_DIR")
    folder = Path(chosen) if chosen else REPOSITORY / ".data" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        folder.chmod(0o711)  # PostgreSQL runs as another account then
    return folder.resolve()


@contextmanager
def alone() -> Iterator[None]:
    """Holds the folder: two benchmarks at a time would measure each other, and end each other's tokens.

    Raises:
        AlreadyRunning: another one holds it.
    """
    with (bench_folder() / "running.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"Another benchmark runs in {bench_folder()}.") from None
        yield


def open_database(factor: float, console: Console) -> Database:
    """The database at a factor, running; built if there is none of today's schema and generator.

    Raises:
        BuildFailed: migrations failed.
        EmbeddedServerError: the server does not start.
    """
    server = embedded_server(str(bench_folder() / "database"), OPTIONS)
    superuser = server.url("postgres", "postgres")
    name = "bench_" + f"{factor:g}".replace(".", "_").replace("-", "m").replace("+", "")
    stamp = {"generator": GENERATOR, "factor": factor, "schema": _schema_version()}
    if _stamp_of(superuser, name) != stamp:
        _build(server, name, stamp, console)
    with psycopg.connect(server.url("owner", name), autocommit=True) as connection:
        _define(connection)
        tenants = {number: _tenant(connection, number, Sizes.of(factor)) for number in TENANTS}
    return Database(server, name, stamp, tenants)


def _tenant(connection: "psycopg.Connection[Any]", number: int, sizes: Sizes) -> Tenant:
    organization = _one(connection, _ROW_ID, ("organization", 0, number))
    event = _one(connection, _ROW_ID, ("event", number, sizes.events // 2))
    return Tenant(organization, event, fresh_token(connection, organization))


def _schema_version() -> str:
    digest = hashlib.sha256()
    for file in sorted(REPOSITORY.glob("backend/*/migrations/*.py")):
        digest.update(str(file.relative_to(REPOSITORY)).encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _stamp_of(superuser: str, name: str) -> Any:
    with psycopg.connect(superuser) as connection:
        found = connection.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", (name,)
        ).fetchone()
    return json.loads(found[0]) if found and found[0] else None


def _build(server: EmbeddedServer, name: str, stamp: dict[str, Any], console: Console) -> None:
    superuser = server.url("postgres", "postgres")
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    create_database(superuser, name)
    console.print(f"Building database {name}: {ORGANIZATIONS} organizations, factor {stamp['factor']:g}")
    _migrate(server, name)
    with psycopg.connect(server.url("owner", name), autocommit=True) as connection:
        _define(connection)
        _fill(connection, Sizes.of(stamp["factor"]), console)
        comment = sql.SQL("COMMENT ON DATABASE {} IS {}")
        connection.execute(comment.format(sql.Identifier(name), sql.Literal(json.dumps(stamp))))


def _migrate(server: EmbeddedServer, name: str) -> None:
    environment = {
        **os.environ,
        "DRIFTGRAPH_DATABASE_URL": server.url("app", name),
        "DRIFTGRAPH_OWNER_DATABASE_URL": server.url("owner", name),
    }
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    outcome = subprocess.run(command, cwd=REPOSITORY, env=environment, check=False, capture_output=True, text=True)
    if outcome.returncode != 0:
        raise BuildFailed(f"migrate failed:\n{outcome.stderr[-2000:]}")


def _define(connection: "psycopg.Connection[Any]") -> None:
    for function in FUNCTIONS:
        connection.execute(function)


def _fill(connection: "psycopg.Connection[Any]", sizes: Sizes, console: Console) -> None:
    work = list(steps(sizes))
    with progress.steps(len(work) + len(TABLES), console) as begin:
        for step in work:
            begin(f"organization {step.organization}: {step.table}")
            connection.execute(step.text, step.values)
        for table in TABLES:
            begin(f"vacuum {table}")
            connection.execute(sql.SQL("VACUUM (FREEZE, ANALYZE) {}").format(sql.Identifier(table)))


def _one(connection: "psycopg.Connection[Any]", text: str, values: tuple[Any, ...]) -> Any:
    row = connection.execute(text, values).fetchone()
    return row[0] if row else None


def fresh_token(connection: "psycopg.Connection[Any]", organization: uuid.UUID) -> str:
    """The secret of an API token, good for a day; earlier ones of this benchmark are gone."""
    secret = "dg_" + secrets.token_urlsafe(32)
    connection.execute("DELETE FROM api_token WHERE organization_id = %s", (organization,))
    connection.execute(
        "INSERT INTO api_token (id, organization_id, name, hash, role, scopes, expires_at) VALUES"
        " (gen_random_uuid(), %s, 'benchmark', %s, 'SERVICE', '{read,agents:read,agents:write}',"
        " now() + interval '1 day')",
        (organization, hashlib.sha256(secret.encode()).digest()),
    )
    return secret
