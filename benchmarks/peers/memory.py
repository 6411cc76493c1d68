"""Memory of our worker, and how long it takes from its start to its first answer."""

import dataclasses
import itertools
import statistics
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.peers.contest import Entrant, probe
from benchmarks.peers.load import Load, drive
from benchmarks.peers.processes import cpu_seconds, memory
from benchmarks.peers.servers import SERVERS, Running, Setup, launch, stop, wait_for_answer

DOCUMENTS = 10_000
_STARTS = 5
_SECONDS = 10
_CONNECTIONS = 12

_PAGES = "{ agentRuns(first: 100) { nodes { id findings(first: 100) { nodes { id rule severity title path } } } } }"
_FIELDS = (
    *("id", "driftType", "direction", "status", "unit", "harmful", "baselineValue", "currentValue", "delta", "ciLow"),
    *("ciHigh", "qValue", "severity", "firstSeenOn"),
)


def documents() -> Iterator[str]:
    """Ten thousand documents, each of another set of fields."""
    subsets = itertools.chain.from_iterable(
        itertools.combinations(_FIELDS, size) for size in range(2, len(_FIELDS) + 1)
    )
    for fields in itertools.islice(subsets, DOCUMENTS):
        yield f"{{ driftEvents(first: 2) {{ nodes {{ {' '.join(fields)} payer {{ name }} }} }} }}"


def measure(name: str, setup: Setup, console: Console) -> dict[str, Any]:
    """Start and memory of one of our ways, each figure in seconds or MB of resident memory.

    Raises:
        ServerFailed, LoadFailed: it did not answer.
    """
    server = SERVERS[name]
    asked = probe(server, setup)
    starts, start_cpu = [], []
    for _ in range(_STARTS):
        found = launch(server, setup)
        starts.append(wait_for_answer(found, asked))
        start_cpu.append(cpu_seconds(found.pid))
        stop(found)
    found = launch(server, setup)
    try:
        wait_for_answer(found, asked)
        figures: dict[str, Any] = {
            "start_to_first_answer_s": statistics.median(starts),
            "start_cpu_s": statistics.median(start_cpu),
            "at_rest": _now(found),
        }
        figures["under_pages_of_100_x_100"] = _under_pages(Entrant(server, found), setup)
        with console.status(f"{name}: {DOCUMENTS:,} documents"):
            for text in documents():
                found.ask(server.request_of(text, {}, setup.database.measured))
        figures["after_10000_documents"] = _now(found)
    finally:
        stop(found)
    _show(name, figures, console)
    return figures


def _now(running: Running) -> dict[str, float]:
    return dataclasses.asdict(memory(running.pid))


def _under_pages(entrant: Entrant, setup: Setup) -> dict[str, float]:
    """Memory with such pages on every connection; the peak is what counts."""
    query = "pages"
    entrant.requests[query] = entrant.server.request_of(_PAGES, {}, setup.database.crowded)
    entrant.lengths[query] = len(entrant.running.ask(entrant.requests[query]))
    figures = drive(entrant, query, Load(_CONNECTIONS, _SECONDS), setup.database.postmaster)
    length = float(entrant.lengths[query])
    return {**_now(entrant.running), "bytes": length, "requests_per_second": figures.rate}


def _show(name: str, figures: dict[str, Any], console: Console) -> None:
    table = Table(title=f"Memory of {name} in MB", title_justify="left")
    for heading in ("when", "worker", "worker's peak", "all processes"):
        table.add_column(heading, justify="left" if heading == "when" else "right")
    for when in ("at_rest", "under_pages_of_100_x_100", "after_10000_documents"):
        found = figures[when]
        table.add_row(when.replace("_", " "), *(f"{found[key]:.0f}" for key in ("worker", "worker_peak", "tree")))
    console.print(table)
    pages = figures["under_pages_of_100_x_100"]
    console.print(f"Pages of 100 x 100: {pages['bytes']:,.0f} bytes, {pages['requests_per_second']:.1f} a second")
    seconds, cpu = figures["start_to_first_answer_s"], figures["start_cpu_s"]
    console.print(f"Start to first answer: {seconds:.2f} s, {cpu:.2f} s of CPU (medians of {_STARTS})")
