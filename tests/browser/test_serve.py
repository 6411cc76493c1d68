"""`manage.py serve` as a newcomer runs it: database, demo data, server and worker; then once more; then Ctrl-C."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from benchmarks.serving import free_port
from tests.backend.workers import until

ROOT = Path(__file__).parents[2]
FIRST_START_SECONDS = 240
SECOND_START_SECONDS = 60
QUERY = """{ driftEvents(first: 5) { totalCount edges { node { driftType severity changeOn payer { name } } } }
  agentRuns { totalCount } claims { totalCount totalCountPrecision } alerts { totalCount }
  detectionRuns(first: 1) { nodes { status testsTotal } } }"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="driftgraph-serve-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def _start(data_dir: Path, port: int, output: Path, *words: str) -> "subprocess.Popen[bytes]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DRIFTGRAPH_")}
    environment |= {
        "DRIFTGRAPH_DATA_DIR": str(data_dir),
        "DRIFTGRAPH_PORT": str(port),
        "DRIFTGRAPH_EMBEDDED_OPTIONS": os.environ["DRIFTGRAPH_EMBEDDED_OPTIONS"],
    }
    with output.open("wb") as handle:
        return subprocess.Popen(
            [sys.executable, "manage.py", "serve", *words],
            cwd=ROOT,
            env=environment,
            stdout=handle,
            stderr=subprocess.STDOUT,
        )


def _wait(server: "subprocess.Popen[bytes]", port: int, seconds: int, output: Path) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=10).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail(f"not ready within {seconds} s:\n{output.read_text()[-2000:]}")


def _stop(server: "subprocess.Popen[bytes]") -> int:
    server.send_signal(signal.SIGINT)
    return server.wait(timeout=60)


def test_one_command_serves_demo_data_and_a_second_start_keeps_it(data_dir: Path, tmp_path: Path) -> None:
    output, port = tmp_path / "out", free_port()
    server = _start(data_dir, port, output)
    try:
        _wait(server, port, FIRST_START_SECONDS, output)
        found = re.search(r"Demo token\s+(dg_\S+)", output.read_text())
        assert found is not None
        headers = {"authorization": f"Bearer {found[1]}"}
        answer = httpx.post(
            f"http://127.0.0.1:{port}/graphql", json={"query": QUERY}, headers=headers, timeout=30
        ).json()
        home = httpx.get(f"http://127.0.0.1:{port}/", follow_redirects=False)
        admin = httpx.get(f"http://127.0.0.1:{port}/admin/login/", timeout=30)
        alive = httpx.get(f"http://127.0.0.1:{port}/healthz").json()
    finally:
        assert _stop(server) == 0

    assert "errors" not in answer
    data = answer["data"]
    assert data["driftEvents"]["totalCount"] >= 5
    assert data["agentRuns"]["totalCount"] == 2
    assert data["claims"] == {"totalCount": 10_000, "totalCountPrecision": "AT_LEAST"}
    assert data["alerts"]["totalCount"] >= 1
    assert data["detectionRuns"]["nodes"][0]["status"] == "SUCCEEDED"
    assert (home.headers["location"], admin.status_code, alive) == ("/graphql", 200, {"status": "ok"})

    again = _start(data_dir, port, output)
    try:
        _wait(again, port, SECOND_START_SECONDS, output)
        assert found[1] in output.read_text()
        second = httpx.post(
            f"http://127.0.0.1:{port}/graphql", json={"query": QUERY}, headers=headers, timeout=30
        ).json()
    finally:
        assert _stop(again) == 0
    assert second["data"]["driftEvents"] == data["driftEvents"]


def _descendants(process: int) -> list[int]:
    children = [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return [*children, *(below for child in children for below in _descendants(child))]


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _worker_uses_the_database(serve: int) -> bool:
    with suppress(OSError):  # of a file that is closed meanwhile
        workers = [one for one in _descendants(serve) if b"worker" in Path(f"/proc/{one}/cmdline").read_bytes()]
        files = [file.readlink() for worker in workers for file in Path(f"/proc/{worker}/fd").iterdir()]
        return any(file.name == "users.lock" for file in files)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone ends a process with its parent")
@pytest.mark.parametrize("killed", ["postgres", "master", "serve"])
def test_nothing_is_left_when_a_part_is_killed(data_dir: Path, tmp_path: Path, killed: str) -> None:
    output, port = tmp_path / "out", free_port()
    server = _start(data_dir, port, output, "--no-demo")
    processes: list[int] = []
    try:
        _wait(server, port, FIRST_START_SECONDS, output)
        # One that begins after PostgreSQL was killed starts it anew.
        assert until(lambda: _worker_uses_the_database(server.pid))
        processes = _descendants(server.pid)
        [master] = [
            one
            for one in processes
            if b"granian\0--interface" in Path(f"/proc/{one}/cmdline").read_bytes()
            and server.pid == int(Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[1])
        ]
        assert _descendants(master)
        postgres = int((data_dir / "pg/postmaster.pid").read_text().split()[0])
        os.kill({"postgres": postgres, "master": master, "serve": server.pid}[killed], signal.SIGKILL)

        code = server.wait(timeout=60)
        assert code == -signal.SIGKILL if killed == "serve" else code != 0
        assert until(lambda: not any(map(_lives, processes)))
        assert (f"PostgreSQL ended; see its log under {data_dir}/pg/log." in output.read_text()) == (
            killed == "postgres"
        )
    finally:
        for one in (server.pid, *processes):
            if _lives(one):
                os.kill(one, signal.SIGKILL)
        server.wait()
