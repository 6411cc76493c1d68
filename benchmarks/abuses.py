"""`python -m benchmarks abuses`: what a server answers to abuses, and how long it keeps a second client waiting."""

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from itertools import count, repeat
from urllib.parse import quote

import django

django.setup()

from django.core.management import call_command
from django.utils import timezone
from rich.console import Console
from rich.table import Table

from backend.accounts.services import organization_create, token_create
from backend.config.env import BASE_DIR
from backend.core.actor import Actor, Role
from benchmarks.abusive import ABUSES, Abuse
from benchmarks.peers.report import commit, write

_NEW_LENGTH = 300  # characters of a document that is looked at in turn with others
_PING = json.dumps({"query": "{ viewer { role } }"})
_CALM_SECONDS = 2.0
_START_SECONDS = 60
_MILLISECONDS = 1000
_SERVER_ERROR = 500


class ServerFailed(Exception):
    """The server did not start or answer."""


class Client:
    """A connection of its own, kept open."""

    def __init__(self, port: int, token: str | None) -> None:
        self._port, self._headers = port, {"content-type": "application/json"}
        if token is not None:
            self._headers["authorization"] = f"Bearer {token}"
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, method: str, target: str, body: str | bytes | None = None) -> tuple[int, bytes]:
        """The status and the body of an answer; a connection that the server has closed is opened anew once."""
        try:
            return self._ask(method, target, body)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
            return self._ask(method, target, body)

    def _ask(self, method: str, target: str, body: str | bytes | None) -> tuple[int, bytes]:
        self._connection.request(method, target, body, self._headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()


@dataclass(slots=True)
class SecondClient:
    """Asks a small question again and again, and keeps how long each answer took, in milliseconds."""

    client: Client
    waits: list[float] = field(default_factory=list)
    asks_anew: bool = False  # a document that the server does not know, each time
    _numbers: Iterator[int] = field(default_factory=count)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Asks for as long as the block lasts."""
        self._stop.clear()
        self.waits.clear()
        thread = threading.Thread(target=self._ask)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _ask(self) -> None:
        while not self._stop.is_set():
            question = _PING
            if self.asks_anew:
                question = json.dumps({"query": f"{{ viewer {{ role }} }} # {next(self._numbers):{_NEW_LENGTH}}"})
            begin = time.perf_counter()
            status, _ = self.client.ask("POST", "/graphql", question)
            if status != http.client.OK:
                raise ServerFailed(f"the second client was answered {status}")
            self.waits.append((time.perf_counter() - begin) * _MILLISECONDS)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one abuse led to."""

    abuse: str
    status: int
    code: str
    says: str
    stall_ms: float  # the longest wait of the second client, median of the tries
    worst_stall_ms: float  # and the longest of all tries, which on a busy machine says more of the machine
    own_ms: float  # what the abuser waited, median


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(prog="python -m benchmarks abuses", description=__doc__)
    found.add_argument("--times", type=int, default=5, help="how often each abuse is tried")
    found.add_argument(
        "--target-ms", type=float, default=100.0, help="the longest that another may wait, by the median"
    )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 where the server failed at an abuse, or kept another waiting for longer than the target."""
    options, console = parser().parse_args(arguments), Console(width=170)
    call_command("migrate", verbosity=0)
    actor = Actor.system(organization_create(name="abuses").id, "benchmark")
    _, secret = token_create(
        actor=actor, name="abuses", role=Role.ADMIN, expires_at=timezone.now() + timedelta(hours=2)
    )
    with _server() as port:
        second = SecondClient(Client(port, secret))
        with second.asking():
            time.sleep(_CALM_SECONDS)
        calm = {"median_ms": statistics.median(second.waits), "longest_ms": max(second.waits)}
        seen = [_try(abuse, port, secret, second, options.times) for abuse in ABUSES]
    _show(seen, calm, console)
    content = {"settings": {**vars(options), "commit": commit(BASE_DIR)}, "calm": calm}
    write("abuses", {**content, "abuses": [asdict(one) for one in seen]}, console)
    slow = [one.abuse for one in seen if one.stall_ms > options.target_ms]
    if slow:
        console.print(f"Another waited for longer than {options.target_ms:.0f} ms: {', '.join(slow)}.", style="red")
    return int(bool(slow) or any(one.status >= _SERVER_ERROR for one in seen))


@contextmanager
def _server() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    call = [sys.executable, "-m", "granian", "--interface", "asgi", "--port", str(port)]
    # The abuser's budget would be spent by the first of them.
    limits = dict.fromkeys(("DRIFTGRAPH_COST_PER_MINUTE", "DRIFTGRAPH_ORGANIZATION_COST_PER_MINUTE"), "1000000000")
    environment = {**os.environ, **limits}
    process = subprocess.Popen([*call, "--log-level", "error", "schema.http.asgi:app"], cwd=BASE_DIR, env=environment)
    try:
        _wait(process, port)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait(process: "subprocess.Popen[bytes]", port: int) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            if Client(port, "").ask("GET", "/readyz")[0] == http.client.OK:
                return
        except OSError:
            time.sleep(0.2)
    raise ServerFailed(f"it was not ready within {_START_SECONDS} s")


def _try(abuse: Abuse, port: int, token: str, second: SecondClient, times: int) -> Seen:
    took, stalls, status, body = [], [], 0, b""
    clients = [Client(port, token if abuse.clients == 1 else None) for _ in range(abuse.clients)]
    second.asks_anew = abuse.clients > 1
    with ThreadPoolExecutor(abuse.clients) as threads:
        for number in range(times):
            contents = [abuse.body(number * abuse.clients + one) for one in range(abuse.clients)]
            with second.asking():
                begin = time.perf_counter()
                answers = list(threads.map(_send, clients, contents, repeat(abuse.method)))
                took.append((time.perf_counter() - begin) * _MILLISECONDS)
            status, body = max(answers, key=lambda answer: answer[0])
            stalls.append(max(second.waits))
    code, says = _said(body)
    return Seen(abuse.name, status, code, says, statistics.median(stalls), max(stalls), statistics.median(took))


def _send(client: Client, content: str | bytes, method: str) -> tuple[int, bytes]:
    if method == "GET":
        return client.ask("GET", f"/graphql?query={quote(str(content))}")
    return client.ask("POST", "/graphql", content)


def _said(body: bytes) -> tuple[str, str]:
    errors = json.loads(body).get("errors") or [{}]
    return errors[0].get("extensions", {}).get("code", ""), errors[0].get("message", "answered").partition("\n")[0]


def _show(seen: Sequence[Seen], calm: dict[str, float], console: Console) -> None:
    table = Table(title="Abuses", title_justify="left")
    for name, justify in (("abuse", "left"), ("status", "right"), ("code", "left"), ("message", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]  # one of two words
    table.add_column("another waits, ms", justify="right")
    table.add_column("at worst", justify="right")
    for one in seen:
        stalls = (f"{one.stall_ms:.0f}", f"{one.worst_stall_ms:.0f}")
        table.add_row(one.abuse, str(one.status), one.code, one.says[:80], *stalls)
    console.print(table)
    console.print(f"Without an abuse: median {calm['median_ms']:.1f} ms, longest {calm['longest_ms']:.0f} ms.")


if __name__ == "__main__":
    sys.exit(main())
