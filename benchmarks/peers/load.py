"""Bounded load by wrk on one server of this machine, and what it cost on either side."""

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.contest import Entrant
from benchmarks.peers.processes import cpu_seconds

_SCRIPT = Path(__file__).with_name("load.lua")
_PATIENCE = 30  # seconds for one answer
_SHORTEST = 0.95  # of the known answer: an error is shorter


class LoadFailed(Exception):
    """The load could not be made, or was not answered as it should be."""


@dataclass(frozen=True, slots=True)
class Load:
    """How hard, and for how long."""

    connections: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Figures:
    """One bout of load on one server with one request."""

    rate: float  # requests per second
    p50: float  # milliseconds
    p99: float
    server_cpu: float  # milliseconds per request
    database_cpu: float


def wrk() -> str:
    """The program.

    Raises:
        LoadFailed: it is not installed.
    """
    found = shutil.which("wrk")
    if found is None:
        raise LoadFailed("The load is made by wrk, which is not installed (on Debian and Ubuntu: apt install wrk).")
    return found


def drive(entrant: Entrant, query: str, load: Load, postmaster: int) -> Figures:
    """Sends the request of a query over and over on keep-alive connections.

    Raises:
        LoadFailed: answers with an error status, cut connections, or answers that are too short.
    """
    running, request, length = entrant.running, entrant.requests[query], entrant.lengths[query]
    command = [wrk(), "-t1", f"-c{load.connections}", f"-d{load.seconds}s", f"--timeout={_PATIENCE}s"]
    with tempfile.TemporaryDirectory(prefix="driftgraph-wrk-") as folder:
        body, headers = Path(folder) / "body", Path(folder) / "headers"
        body.write_bytes(request.body)
        headers.write_text("".join(f"{name}: {value}\n" for name, value in request.headers.items()), encoding="ascii")
        environment = {**os.environ, "BENCH_BODY_FILE": str(body), "BENCH_HEADERS_FILE": str(headers)}
        server_before, database_before = cpu_seconds(running.pid), cpu_seconds(postmaster)
        outcome = subprocess.run(
            [*command, "-s", str(_SCRIPT), running.url],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=load.seconds + 2 * _PATIENCE,
        )
        server, database = cpu_seconds(running.pid) - server_before, cpu_seconds(postmaster) - database_before
    if outcome.returncode != 0:
        raise LoadFailed(f"wrk failed on {running.name}:\n{outcome.stderr or outcome.stdout}")
    return figures(f"{running.name}, {query}", outcome.stdout, length, server, database)


def figures(name: str, said: str, length: int, server_cpu: float, database_cpu: float) -> Figures:
    """What wrk's output says, with the CPU seconds of both sides.

    Raises:
        LoadFailed: errors, no answers, or answers that are much shorter than `length`.
    """
    line = next((line for line in said.splitlines() if line.startswith("FIGURES ")), None)
    if line is None:
        raise LoadFailed(f"{name}: wrk failed:\n{said}")
    found = json.loads(line.removeprefix("FIGURES "))
    requests = found["requests"]
    if not requests:
        raise LoadFailed(f"{name}: no answer in {found['microseconds'] / 1e6:.0f} s: give it more with --seconds.")
    if found["errors"] or found["timeouts"]:
        raise LoadFailed(f"{name}: not every request was answered: {found}")
    if found["bytes"] < requests * length * _SHORTEST:
        raise LoadFailed(f"{name}: answers of {found['bytes'] / requests:.0f} bytes instead of {length}")
    return Figures(
        rate=requests / (found["microseconds"] / 1e6),
        p50=found["p50"] / 1000,
        p99=found["p99"] / 1000,
        server_cpu=1000 * server_cpu / requests,
        database_cpu=1000 * database_cpu / requests,
    )
