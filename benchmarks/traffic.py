"""Clients that read and write through GraphQL, each on a connection of its own, and note what they hear."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from types import TracebackType
from typing import Any, Self

import httpx
import psycopg

_PATIENCE_SECONDS = 60.0  # for one answer, and for what is waited for
RUN = "id commit branch status agent { name }"


class NothingHeard(Exception):
    """Clients did not get as many answers as were waited for."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and what is selected of its agent runs."""

    url: str
    selection: str = RUN


@dataclass(slots=True)
class Heard:
    """What one client heard."""

    others: int = 0  # good answers that began no run
    acknowledged: list[str] = field(default_factory=list)  # commits of runs that the server said were begun
    failures: Counter[str] = field(default_factory=Counter)  # by kind of request and error
    longest: float = 0.0  # seconds until an answer, good or bad

    @property
    def answers(self) -> int:
        """The good ones."""
        return self.others + len(self.acknowledged)


class Client(threading.Thread):
    """Begins runs, sends their heartbeat and reads them; what fails is sent again, a write with the same key.

    One that does not write reads all the time, also while writes fail.
    """

    def __init__(self, target: Target, token: str, branch: str, pause: float, *, writes: bool) -> None:
        super().__init__(daemon=True)
        self.target, self.writes, self.heard, self.turn = target, writes, Heard(), threading.Lock()
        self._headers = {"authorization": f"Bearer {token}"}
        self._branch, self._pause = branch, pause
        self._left = threading.Event()

    def run(self) -> None:
        """One round of requests after the other."""
        with httpx.Client(timeout=_PATIENCE_SECONDS) as http:
            while not self._left.is_set():
                self._round(http)

    def leave(self) -> None:
        """Ends after the request that is being answered."""
        self._left.set()

    def _round(self, http: httpx.Client) -> None:
        selection = self.target.selection
        pages = f"{{ agentRuns(first: 20) {{ nodes {{ {selection} }} }} }}"
        if not self.writes:
            self._asked(http, "read", pages, {})
            return
        commit = uuid.uuid4().hex + "0" * 8
        given = {"kind": "CODE_QUALITY", "agent": "traffic", "commit": commit, "branch": self._branch}
        begin = (
            f"mutation($input: AgentRunStartInput!) {{ agentRunStart(input: $input) {{ agentRun {{ {selection} }} }} }}"
        )
        begun = self._until_heard(http, "write", begin, {"input": {**given, "idempotencyKey": commit}})
        if begun is None:
            return
        self.heard.acknowledged.append(commit)
        run = {"id": begun["agentRunStart"]["agentRun"]["id"]}
        beat = (
            "mutation($input: AgentRunReferenceInput!) { agentRunHeartbeat(input: $input)"
            f" {{ userErrors {{ code }} agentRun {{ {selection} }} }} }}"
        )
        one = f"query($id: ID!) {{ node(id: $id) {{ ... on AgentRun {{ {selection} }} }} }}"
        self._asked(http, "write", beat, {"input": run})
        self._asked(http, "read", pages, {})
        self._asked(http, "read", one, run)

    def _asked(self, http: httpx.Client, kind: str, document: str, variables: dict[str, Any]) -> None:
        self.heard.others += self._until_heard(http, kind, document, variables) is not None

    def _until_heard(self, http: httpx.Client, kind: str, document: str, variables: dict[str, Any]) -> Any:
        while not self._left.is_set():
            time.sleep(self._pause)
            with self.turn:
                started = time.monotonic()
                data, error = self._ask(http, document, variables)
                self.heard.longest = max(self.heard.longest, time.monotonic() - started)
            if not error:
                return data
            self.heard.failures[f"{kind}: {error}"] += 1
            time.sleep(0.02)
        return None

    def _ask(self, http: httpx.Client, document: str, variables: dict[str, Any]) -> tuple[Any, str]:
        body = {"query": document, "variables": variables}
        try:
            answer = http.post(f"{self.target.url}/graphql", json=body, headers=self._headers)
        except httpx.HTTPError as error:
            return None, type(error).__name__
        errors = answer.json().get("errors")
        if not errors:
            return answer.json()["data"], ""
        extensions = errors[0]["extensions"]
        return None, f"{extensions['code']}{', try again' if extensions['retryable'] else ''}"


class Traffic:
    """Clients that go round the targets; `pause` is in seconds, before each request."""

    def __init__(
        self, targets: Sequence[Target], token: str, *, clients: int, readers: int = 0, pause: float = 0.002
    ) -> None:
        self.branch = f"traffic-{uuid.uuid4()}"
        each = [True] * clients + [False] * readers
        self.clients = [
            Client(target, token, self.branch, pause, writes=writes)
            for target, writes in zip(cycle(targets), each, strict=False)
        ]

    def __enter__(self) -> Self:
        for client in self.clients:
            client.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self.clients:
            client.leave()
        for client in self.clients:
            client.join()

    @contextmanager
    def held(self) -> Iterator[None]:
        """No request is under way, and none is sent, until the block ends."""
        with ExitStack() as stack:
            for client in self.clients:
                stack.enter_context(client.turn)
            yield

    def longest(self) -> float:
        """The seconds of the longest request since this was asked last."""
        found = max(client.heard.longest for client in self.clients)
        for client in self.clients:
            client.heard.longest = 0.0
        return found

    @property
    def heard(self) -> Heard:
        """What all of them heard so far."""
        found = Heard()
        for client in self.clients:
            heard = client.heard
            found.others += heard.others
            found.acknowledged += list(heard.acknowledged)
            found.failures += Counter(dict(heard.failures))
        return found

    def each_hears(self, more: int) -> None:
        """Returns when every client has heard so many more answers than now."""
        self._more(self.clients, more, lambda heard: heard.answers)

    def each_reads(self, more: int) -> None:
        """The same of those that only read."""
        self._more([client for client in self.clients if not client.writes], more, lambda heard: heard.others)

    def each_writes(self, more: int) -> None:
        """Returns when every client that writes has begun so many more runs."""
        self._more([client for client in self.clients if client.writes], more, lambda heard: len(heard.acknowledged))

    def _more(self, clients: "list[Client]", more: int, what: Callable[[Heard], int]) -> None:
        wanted = [what(client.heard) + more for client in clients]
        self.until(lambda: all(what(client.heard) >= least for client, least in zip(clients, wanted, strict=True)))

    def fails(self, kind: str = "") -> None:
        """Returns when one more request of that kind, or of any, has failed than before."""
        before = self._failures(kind)
        self.until(lambda: self._failures(kind) > before)

    def _failures(self, kind: str) -> int:
        return sum(number for name, number in self.heard.failures.items() if name.startswith(kind))

    def until(self, condition: Callable[[], bool]) -> None:
        """Returns when the condition holds.

        Raises:
            NothingHeard: not within a minute.
        """
        end = time.monotonic() + _PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > end:
                raise NothingHeard(f"after {_PATIENCE_SECONDS:g} s: {dict(self.heard.failures)}")
            time.sleep(0.01)

    def kept(self, url: str) -> tuple[int, int]:
        """How many acknowledged writes are missing in the database of that address, and how many are there twice."""
        with psycopg.connect(url) as connection:
            found: dict[str, int] = dict(
                connection.execute(
                    "SELECT commit, count(*) FROM agent_run WHERE branch = %s GROUP BY commit", (self.branch,)
                ).fetchall()
            )
        return len(set(self.heard.acknowledged) - found.keys()), sum(number > 1 for number in found.values())
