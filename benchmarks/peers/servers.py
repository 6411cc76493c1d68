"""The servers that are compared: how each is started, and how a document reaches it."""

import base64
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backend.config.env import BadSetting, read_environment
from benchmarks.peers.database import REPOSITORY, Database, Tenant, bench_folder
from benchmarks.peers.installation import HERE, Installation

WAYS = ("auto", "compiled", "reference")
PYTHON_PEERS = {  # by the folder that each is installed from
    "stock_strawberry_django": "stock_strawberry_django",
    "tuned_strawberry_django": "stock_strawberry_django",
    "graphene_django": "graphene_django",
}
PEERS = (*PYTHON_PEERS, "postgraphile", "floor")
PATH = "/graphql"
MAX_PAGE = 100  # of every server, as is our default
_NO_LIMIT = "1000000000000"
_START_SECONDS = 60
_STOP_SECONDS = 10
_ANSWER_SECONDS = 30
_WSGI_THREADS = 4
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _is_known(way: str) -> bool:
    try:
        read_environment({"DRIFTGRAPH_EXECUTION": way})
    except BadSetting:
        return False
    return True


OURS = tuple(f"ours_{way}" for way in WAYS if _is_known(way))


class ServerFailed(Exception):
    """A server did not start, or did not answer."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What is the same for every server of a run."""

    database: Database
    installations: Mapping[str, Installation]
    pool: int = 8  # database connections per worker
    cores: frozenset[int] | None = None  # that servers are kept on


@dataclass(frozen=True, slots=True)
class Variant:
    """How one server is run, where it is compared with itself."""

    workers: int = 1
    http: str = "granian"  # under ASGI: granian or uvicorn
    respawn: bool = False  # a worker that was killed is replaced, by granian

    @property
    def label(self) -> str:
        """What is added to the server's name: nothing for the standard."""
        standard = Variant()
        workers = f" x{self.workers}" if self.workers != standard.workers else ""
        return workers + (f" {self.http}" if self.http != standard.http else "")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, sent over and over."""

    body: bytes
    headers: Mapping[str, str]


@dataclass(slots=True)
class Running:
    """A server process tree."""

    name: str
    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    @property
    def pid(self) -> int:
        """The root of the tree."""
        return self.process.pid

    @property
    def url(self) -> str:
        """Where documents are sent."""
        return f"http://127.0.0.1:{self.port}{PATH}"

    def ask(self, request: Request) -> bytes:
        """The body of one answer.

        Raises:
            ServerFailed: no answer, or an error status.
        """
        asked = urllib.request.Request(self.url, request.body, dict(request.headers))  # noqa: S310 - our own address
        try:
            with urllib.request.urlopen(asked, timeout=_ANSWER_SECONDS) as response:  # noqa: S310 - of our own server
                found: bytes = response.read()
        except urllib.error.HTTPError as error:
            raise ServerFailed(f"{self.name} answered {error.code}: {error.read()[:500]!r}") from None
        except OSError as error:
            raise ServerFailed(f"{self.name} did not answer: {error}") from None
        return found


STANDARD = Variant()
Starter = Callable[[Setup, int, Variant], tuple[Sequence[object], dict[str, str], Path]]  # with the port


@dataclass(frozen=True, slots=True)
class Server:
    """One of the servers: its folder of documents, its ids, and how it is started."""

    name: str
    start: Starter
    global_id: Callable[[str, uuid.UUID], str]
    documents: Path | None = None  # the floor knows documents by name
    headers: Callable[[Tenant], dict[str, str]] = field(default=lambda _tenant: {})
    asgi: bool = True

    def document(self, query: str) -> str:
        """The text of a document, such as q1."""
        return query if self.documents is None else (self.documents / f"{query}.graphql").read_text(encoding="utf-8")

    def request(self, query: str, variables: Mapping[str, Any], tenant: Tenant) -> Request:
        """The request for a document, such as q1, with its variables."""
        return self.request_of(self.document(query), variables, tenant)

    def request_of(self, text: str, variables: Mapping[str, Any], tenant: Tenant) -> Request:
        """The request for a document's text."""
        headers = {"content-type": "application/json", "accept": "application/json", **self.headers(tenant)}
        return Request(json.dumps({"query": text, "variables": variables}).encode(), headers)


@contextmanager
def running(server: Server, setup: Setup, *, probe: Request, variant: Variant = STANDARD) -> Iterator[Running]:
    """The server, from its first good answer to `probe` until the block ends.

    Raises:
        ServerFailed: it ended, or gave no answer in a minute; the end of its log is in the message.
    """
    found = launch(server, setup, variant=variant)
    try:
        wait_for_answer(found, probe)
        yield found
    finally:
        stop(found)


def launch(server: Server, setup: Setup, *, variant: Variant = STANDARD) -> Running:
    """Starts the server's processes and does not wait for them."""
    port = _free_port()
    command, environment, folder = server.start(setup, port, variant)
    log = bench_folder() / "logs" / f"{server.name}{variant.label}.log".replace(" ", "-")
    log.parent.mkdir(exist_ok=True)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DRIFTGRAPH_", "PG", "PYTHONPATH"))}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env={**kept, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=lambda: _in_child(setup.cores),  # noqa: PLW1509 - one thread, and only system calls
        )
    return Running(server.name + variant.label, process, port, log)


def _in_child(cores: frozenset[int] | None) -> None:
    if cores is not None:
        os.sched_setaffinity(0, cores)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def wait_for_answer(server: Running, probe: Request) -> float:
    """The seconds until the first good answer.

    Raises:
        ServerFailed: it ended, or gave no answer in a minute.
    """
    begin = time.monotonic()
    while True:
        if server.process.poll() is not None or time.monotonic() - begin > _START_SECONDS:
            said = server.log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise ServerFailed(f"{server.name} did not start ({server.log}):\n{said}")
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
            with suppress(ServerFailed):
                server.ask(probe)
                return time.monotonic() - begin
        time.sleep(0.02)


def stop(server: Running) -> None:
    """Ends the process tree."""
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        server.process.wait(timeout=_STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _asgi(python: object, target: str, port: int, variant: Variant, *, lifespan: bool) -> list[object]:
    address = ("--host", "127.0.0.1", "--port", port, "--workers", variant.workers, "--log-level", "warning", target)
    if variant.http == "granian":
        respawn = ("--respawn-failed-workers", "--respawn-interval", "0.5") if variant.respawn else ()
        return [python, "-m", "granian", "--interface", "asgi" if lifespan else "asginl", *respawn, *address]
    return [python, "-m", "uvicorn", "--no-access-log", "--lifespan", "on" if lifespan else "off", *address]


def _common(setup: Setup) -> dict[str, str]:
    return {
        "BENCH_DATABASE": setup.database.name,
        "BENCH_DATABASE_URL": setup.database.url("app"),
        "BENCH_SOCKET": setup.database.socket,
        "BENCH_POOL": str(setup.pool),
        "BENCH_MAX_PAGE": str(MAX_PAGE),
    }


def _ours(way: str) -> Starter:
    def start(setup: Setup, port: int, variant: Variant) -> tuple[Sequence[object], dict[str, str], Path]:
        environment = {
            "DRIFTGRAPH_DATABASE_URL": setup.database.url("app"),
            "DRIFTGRAPH_EXECUTION": way,
            "DRIFTGRAPH_READ_POOL_SIZE": str(setup.pool),
            "DRIFTGRAPH_ORGANIZATION_READ_SHARE": "1",  # the peers have nothing that keeps connections for others
            "DRIFTGRAPH_MAX_PAGE_SIZE": str(MAX_PAGE),
            # What is measured is how fast it answers; one client asks for more than any budget has.
            "DRIFTGRAPH_MAX_COST": _NO_LIMIT,
            "DRIFTGRAPH_COST_PER_MINUTE": _NO_LIMIT,
            "DRIFTGRAPH_ORGANIZATION_COST_PER_MINUTE": _NO_LIMIT,
            # All clients of the soak, of whom some show false tokens, have one address.
            "DRIFTGRAPH_BAD_TOKENS_PER_ADDRESS": _NO_LIMIT,
        }
        return (
            _asgi(sys.executable, "schema.http.asgi:app", port, variant, lifespan=True),
            environment,
            REPOSITORY,
        )

    return start


def _stock(setup: Setup, port: int, variant: Variant) -> tuple[Sequence[object], dict[str, str], Path]:
    folder = HERE / PYTHON_PEERS["stock_strawberry_django"]
    python = setup.installations["stock_strawberry_django"].program
    return _asgi(python, "app:app", port, variant, lifespan=False), _django(setup, folder), folder


def _synchronous(name: str, target: str) -> Starter:
    # What is synchronous is spared the way through Django's asynchronous handler by WSGI.
    folder = HERE / PYTHON_PEERS[name]

    def start(setup: Setup, port: int, variant: Variant) -> tuple[Sequence[object], dict[str, str], Path]:
        command = [
            *(setup.installations[name].program, "-m", "granian", "--interface", "wsgi"),
            *("--blocking-threads", _WSGI_THREADS, "--host", "127.0.0.1", "--port", port),
            *("--workers", variant.workers, "--log-level", "warning", target),
        ]
        return command, _django(setup, folder), folder

    return start


def _django(setup: Setup, folder: Path) -> dict[str, str]:
    return {**_common(setup), "PYTHONPATH": f"{folder}{os.pathsep}{HERE}"}


def _postgraphile(setup: Setup, port: int, variant: Variant) -> tuple[Sequence[object], dict[str, str], Path]:
    installation = setup.installations["postgraphile"]
    environment = {
        **_common(setup),
        "BENCH_PORT": str(port),
        "BENCH_WORKERS": str(variant.workers),
        "NODE_ENV": "production",
        "GRAPHILE_ENV": "production",
    }
    return [installation.program, "server.mjs"], environment, installation.folder


def _floor(setup: Setup, port: int, variant: Variant) -> tuple[Sequence[object], dict[str, str], Path]:
    return _asgi(sys.executable, "app:app", port, variant, lifespan=True), _common(setup), HERE / "floor"


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _bearer(tenant: Tenant) -> dict[str, str]:
    return {"authorization": f"Bearer {tenant.token}"}


def _organization(tenant: Tenant) -> dict[str, str]:
    return {"x-organization": str(tenant.organization)}


def _our_id(_type: str, key: uuid.UUID) -> str:
    return base64.b64encode(b"DE" + key.bytes).decode()


def _relay_id(kind: str, key: uuid.UUID) -> str:
    return _encoded(f"{kind}:{key}")


def _json_id(kind: str, key: uuid.UUID) -> str:
    return _encoded(json.dumps([kind, str(key)], separators=(",", ":")))


_STRAWBERRY_DOCUMENTS = HERE / "stock_strawberry_django" / "documents"

SERVERS = {
    server.name: server
    for server in (
        *(
            Server(name, _ours(name.removeprefix("ours_")), _our_id, HERE / "ours" / "documents", _bearer)
            for name in OURS
        ),
        Server("stock_strawberry_django", _stock, _relay_id, _STRAWBERRY_DOCUMENTS, _organization),
        Server(
            "tuned_strawberry_django",
            _synchronous("tuned_strawberry_django", "tuned:app"),
            _relay_id,
            _STRAWBERRY_DOCUMENTS,
            _organization,
            asgi=False,
        ),
        Server(
            "graphene_django",
            _synchronous("graphene_django", "app:app"),
            _relay_id,
            HERE / "graphene_django" / "documents",
            _organization,
            asgi=False,
        ),
        Server("postgraphile", _postgraphile, _json_id, HERE / "postgraphile" / "documents", _organization, asgi=False),
        Server("floor", _floor, lambda _type, key: str(key), None, _organization),
    )
}
