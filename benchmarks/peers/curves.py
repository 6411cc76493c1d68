"""How the rate changes with the depth of a page and with its width."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from benchmarks.peers.contest import PAGE, Entrant, cursors, pages, verify
from benchmarks.peers.generation import Sizes
from benchmarks.peers.measuring import Plan, rounds
from benchmarks.peers.ratios import ratio
from benchmarks.peers.report import show_curve
from benchmarks.peers.servers import Setup

DEPTHS = (1, 10, 100, 300, 600, 900)  # number of the page, of 50 rows each
WIDTHS = (10, 100, 1_000, 10_000)  # rows on one page
WIDEST = WIDTHS[-1]


def depth(entrants: Sequence[Entrant], setup: Setup, plan: Plan, console: Console) -> dict[str, Any]:
    """The rate at each page, relative to the first; the answers were compared at each."""
    points = [page for page in DEPTHS if page <= pages(setup)]
    for entrant in entrants:
        found = cursors(entrant, setup, points[1:], console) if points[1:] else {}
        for page in points:
            variables = {"first": PAGE, "after": found[page]} if page in found else {"first": PAGE}
            entrant.requests[f"page {page}"] = entrant.server.request("q1", variables, setup.database)
    title = "Depth: rate of a page of 50, relative to the first page"
    return _curve(entrants, [f"page {page}" for page in points], setup, plan, (title, console))


def width(entrants: Sequence[Entrant], setup: Setup, plan: Plan, console: Console) -> dict[str, Any]:
    """The rate at each size of the page; the answers were compared at each."""
    events = Sizes.of(setup.database.stamp["factor"]).events
    points = [size for size in WIDTHS if size <= events]
    for entrant in entrants:
        for size in points:
            entrant.requests[f"{size:,} rows"] = entrant.server.request("q1", {"first": size}, setup.database)
    title = "Width: rate of a page of that many drift events, relative to the narrowest"
    return _curve(entrants, [f"{size:,} rows" for size in points], setup, plan, (title, console))


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
