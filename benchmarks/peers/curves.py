"""How the rate changes with the depth of a page and with its width."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from benchmarks.peers.contest import FINDINGS, PAGE, Entrant, cursors, pages, verify
from benchmarks.peers.generation import Sizes
from benchmarks.peers.measuring import Plan, rounds
from benchmarks.peers.ratios import ratio
from benchmarks.peers.report import show_curve
from benchmarks.peers.servers import Setup

DEPTHS = (1, 10, 100, 300, 600, 900)  # number of the page, of 50 rows each
WIDTHS = ((1, 10), (10, 10), (10, 100), (100, 100))  # agent runs, findings of each: 10 to 10,000 nodes


def depth(entrants: Sequence[Entrant], setup: Setup, plan: Plan, console: Console) -> dict[str, Any]:
    """The rate at each page, relative to the first; the answers were compared at each."""
    points = [page for page in DEPTHS if page <= pages(setup)]
    for entrant in entrants:
        found = cursors(entrant, setup, points[1:], console) if points[1:] else {}
        for page in points:
            variables = {"first": PAGE, "after": found[page]} if page in found else {"first": PAGE}
            entrant.requests[f"page {page}"] = entrant.server.request("q1", variables, setup.database.measured)
    title = "Depth: rate of a page of 50, relative to the first page"
    return _curve(entrants, [f"page {page}" for page in points], setup, plan, (title, console))


def width(entrants: Sequence[Entrant], setup: Setup, plan: Plan, console: Console) -> dict[str, Any]:
    """The rate at each number of nodes; the answers were compared at each.

    A page has at most 100 rows, so that many nodes are runs with findings, of the organization that has enough.
    """
    there = Sizes.of(setup.database.stamp["factor"]).crowded_runs
    points = [(runs, findings) for runs, findings in WIDTHS if runs <= there]
    for entrant in entrants:
        text = entrant.server.document("q2")
        for runs, findings in points:
            asked = text.replace(f"first: {FINDINGS}", f"first: {findings}")
            variables = {"first": runs, "findings": findings}
            request = entrant.server.request_of(asked, variables, setup.database.crowded)
            entrant.requests[_nodes(runs, findings)] = request
    title = "Width: rate of that many nodes, relative to the fewest"
    return _curve(entrants, [_nodes(*point) for point in points], setup, plan, (title, console))


def _nodes(runs: int, findings: int) -> str:
    return f"{runs} x {findings}"


def _curve(
    entrants: Sequence[Entrant], points: list[str], setup: Setup, plan: Plan, shown: tuple[str, Console]
) -> dict[str, Any]:
    title, console = shown
    verify(entrants, points)
    measured = rounds(entrants, points, plan, setup.database, console)
    names = [entrant.name for entrant in entrants]
    medians = {name: {point: measured.medians(name, point) for point in points} for name in names}
    relative = {
        name: {point: ratio(measured.rates[name][point], measured.rates[name][points[0]]) for point in points}
        for name in names
    }
    rates = {name: {point: found["rate"] for point, found in by_point.items()} for name, by_point in medians.items()}
    show_curve("Requests per second", "server", rates, "{:,.1f}", console)
    show_curve(title, "server", relative, "{:.3f}", console)
    return {"medians": medians, "relative": relative}
