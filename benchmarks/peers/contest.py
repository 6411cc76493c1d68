"""Servers that have been started, what each is asked, and the proof that they answer the same."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from benchmarks.peers.database import bench_folder
from benchmarks.peers.generation import Sizes
from benchmarks.peers.normalising import Refused, canonical, digest, first_difference
from benchmarks.peers.servers import PYTHON_PEERS, STANDARD, Request, Running, Server, Setup, Variant, running

QUERIES = {
    "q1": "first 50 drift events, 15 scalars and two to-one relations",
    "q2": "20 agent runs with the first 10 findings of each",
    "q3": "a drift event by node id",
    "q4": "as q1, 90 % deep",
    "q5": "six small root fields",
}
PAGE, RUNS, FINDINGS = 50, 20, 10
_DEEP = 0.9


class AnswersDiffer(Exception):
    """Two servers say different things: their times cannot be compared."""


@dataclass(slots=True)
class Entrant:
    """A running server with the requests that it gets, and of each answer its length in bytes and its time."""

    server: Server
    running: Running
    variant: Variant = STANDARD
    requests: dict[str, Request] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The server's, with what is not standard about its variant."""
        return self.running.name


def probe(server: Server, setup: Setup) -> Request:
    """The cheapest request: a row by its id."""
    tenant = setup.database.measured
    return server.request("q3", {"id": server.global_id("DriftEvent", tenant.event)}, tenant)


@contextmanager
def entered(
    servers: Sequence[Server], setup: Setup, variants: Sequence[Variant], console: Console
) -> Iterator[list[Entrant]]:
    """Every server in every variant that it has, running until the block ends.

    Raises:
        ServerFailed: one of them did not start.
    """
    with ExitStack() as stack:
        found = []
        for server in servers:
            for variant in variants:
                if not server.asgi and variant.http != STANDARD.http:
                    continue
                with console.status(f"starting {server.name}"):
                    started = running(server, setup, variant=variant, probe=probe(server, setup))
                    found.append(Entrant(server, stack.enter_context(started), variant))
        yield found


def pages(setup: Setup) -> int:
    """How many pages the list of drift events has."""
    return Sizes.of(setup.database.stamp["factor"]).events // PAGE


def deep_page(setup: Setup) -> int:
    """The number of the page that begins 90 % down the list."""
    return 1 + int(_DEEP * pages(setup))


def prepare(entrant: Entrant, setup: Setup, queries: Sequence[str], console: Console) -> None:
    """Makes the requests of the queries.

    Raises:
        ServerFailed: no cursor of the deep page could be had.
    """
    tenant = setup.database.measured
    key = {"id": entrant.server.global_id("DriftEvent", tenant.event)}
    variables: dict[str, dict[str, Any]] = {
        "q1": {"first": PAGE},
        "q2": {"first": RUNS, "findings": FINDINGS},
        "q3": key,
        "q5": key,
    }
    for query in queries:
        if query == "q4":
            page = deep_page(setup)
            after = cursors(entrant, setup, [page], console)[page]
            entrant.requests[query] = entrant.server.request("q1", {"first": PAGE, "after": after}, tenant)
        else:
            entrant.requests[query] = entrant.server.request(query, variables[query], tenant)


def cursors(entrant: Entrant, setup: Setup, wanted: Sequence[int], console: Console) -> dict[int, str]:
    """The cursors before some pages, by the numbers of the pages, as the server gives them to whoever pages on.

    Those of the slow peers are kept until their installation or the database changes.
    """
    installation = setup.installations.get(entrant.server.name)
    # Servers of one installation give the same cursors.
    giver = PYTHON_PEERS.get(entrant.server.name, entrant.server.name)
    name = f"cursors-{setup.database.name}-{giver}.json"
    kept = bench_folder() / name
    stamp = {**setup.database.stamp, "lock": installation.lock} if installation else None
    if stamp and kept.exists():
        found = json.loads(kept.read_text())
        if found["stamp"] == stamp and all(str(page) in found["cursors"] for page in wanted):
            return {page: found["cursors"][str(page)] for page in wanted}
    met: dict[int, str] = {}
    with console.status(f"{entrant.name}: paging to page {max(wanted)}"):
        after = None
        for page in range(2, max(wanted) + 1):
            request = entrant.server.request("q1", {"first": PAGE, "after": after}, setup.database.measured)
            after = json.loads(entrant.running.ask(request))["data"]["driftEvents"]["pageInfo"]["endCursor"]
            met[page] = after
    if stamp:
        kept.write_text(json.dumps({"stamp": stamp, "cursors": met}))
    return {page: met[page] for page in wanted}


def verify(entrants: Sequence[Entrant], queries: Sequence[str]) -> dict[str, str]:
    """The hash of each query's answer, which is that of every server; notes their lengths and times.

    Raises:
        AnswersDiffer: one says something else than the first server, or refuses.
    """
    hashes = {}
    for query in queries:
        answers = {entrant.name: _answer(entrant, query) for entrant in entrants}
        (first, expected), *others = answers.items()
        for name, answer in others:
            if difference := first_difference(expected, answer):
                raise AnswersDiffer(f"{query}: {first} and {name} differ at {difference}")
        hashes[query] = digest(expected)
    return hashes


def _answer(entrant: Entrant, query: str) -> Any:
    body = entrant.running.ask(entrant.requests[query])  # the first answer can take much longer than the next
    begin = time.monotonic()
    entrant.running.ask(entrant.requests[query])
    entrant.seconds[query] = time.monotonic() - begin
    entrant.lengths[query] = len(body)
    try:
        return canonical(body)
    except Refused as refused:
        raise AnswersDiffer(f"{query}: {entrant.name} refuses: {refused}") from None


def in_turn(entrants: Sequence[Entrant], round_number: int) -> Sequence[Entrant]:
    """The entrants in the order of a round: each round begins with another one."""
    start = round_number % len(entrants)
    return [*entrants[start:], *entrants[:start]]
