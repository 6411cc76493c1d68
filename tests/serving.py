"""The server as a process of its own, on the database of the tests, and what memory a process takes."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests import server

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 60
PEAK_IS_KNOWN = pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is told by Linux alone")


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Serving:
    """Where it answers, where it puts files, and whose memory it takes."""

    url: str
    data_dir: Path
    process: int

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.data_dir)) for path in self.data_dir.rglob("*") if path.is_file())

    def peak_bytes(self) -> int:
        """The most memory that any of its processes has taken so far."""
        children = Path(f"/proc/{self.process}/task/{self.process}/children").read_text().split()
        return max(peak_bytes(Path(f"/proc/{one}/status").read_text()) for one in (self.process, *children))


def peak_bytes(status: str) -> int:
    """The most memory that a process has taken, out of its /proc/.../status."""
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


@contextmanager
def serving(database: str, data_dir: Path, **variables: str) -> Iterator[Serving]:
    port = free_port()
    environment = {
        **os.environ,
        "DRIFTGRAPH_DATABASE_URL": server.url("app", database),
        "DRIFTGRAPH_DATA_DIR": str(data_dir),
        **variables,
    }
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--no-ws", "--port", str(port)]
    process = subprocess.Popen([*command, "--log-level", "warning", "schema.http.asgi:app"], cwd=ROOT, env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(process, url)
        yield Serving(url, data_dir, process.pid)
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait(process: "subprocess.Popen[bytes]", url: str) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", timeout=10).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(f"the server did not become ready within {START_SECONDS} s")
