"""Our own server as a process: of this checkout or of a copy of it, on any database."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

REPOSITORY = Path(__file__).resolve().parents[1]
_START_SECONDS = 180
GRANIAN = ("granian", "--interface", "asgi")
UVICORN = ("uvicorn", "--lifespan", "on", "--no-access-log")


class NotServing(Exception):
    """A server did not become ready."""


@dataclass(frozen=True, slots=True)
class Served:
    """Where a server answers, and its process."""

    url: str
    process: int


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def environment_of(code: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that runs the code of a folder; what a copy executes is not counted as covered."""
    kept = {name: value for name, value in os.environ.items() if code == REPOSITORY or not name.startswith("COVERAGE_")}
    return {**kept, "DJANGO_SETTINGS_MODULE": "backend.config.settings", **variables}


@contextmanager
def served(
    variables: Mapping[str, str],
    *,
    code: Path = REPOSITORY,
    ready: str = "/readyz",
    log: Path | None = None,
    server: tuple[str, ...] = GRANIAN,
) -> Iterator[Served]:
    """The server, from when it says that it is ready until the block ends; `variables` are its settings.

    What it logs goes to a file if one is given.

    Raises:
        NotServing: it ended, or was not ready in a minute.
    """
    port = free_port()
    command = [sys.executable, "-m", *server, "--port", str(port)]
    with ExitStack() as stack:
        process = subprocess.Popen(
            [*command, "--log-level", "warning", "schema.http.asgi:app"],
            cwd=code,
            env=environment_of(code, variables),
            stderr=stack.enter_context(log.open("ab")) if log else None,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(process, f"{url}{ready}")
        yield Served(url, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", url: str) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(url, timeout=10).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise NotServing(f"the server did not become ready within {_START_SECONDS} s")
