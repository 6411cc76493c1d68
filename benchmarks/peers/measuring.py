"""Interleaved rounds of load over servers and queries, and what they sum up to."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.peers.contest import Entrant, in_turn
from benchmarks.peers.database import Database
from benchmarks.peers.load import Figures, Load, drive
from benchmarks.peers.statements import Statements, count, logged

_WAVES = 10  # of answers on every connection, in one bout
_LONGEST = 5  # times the seconds that a bout is to take


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    load: Load
    rounds: int
    warm_up: int  # seconds per server and query


@dataclass(slots=True)
class Measured:
    """Every bout of a run, by server and query, in the order of the rounds."""

    bouts: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)

    def add(self, server: str, query: str, figures: Figures) -> None:
        """Notes a bout."""
        self.bouts.setdefault(server, {}).setdefault(query, []).append(figures)

    @property
    def rates(self) -> dict[str, dict[str, list[float]]]:
        """Requests per second in each round."""
        return {
            server: {query: [bout.rate for bout in bouts] for query, bouts in by_query.items()}
            for server, by_query in self.bouts.items()
        }

    def medians(self, server: str, query: str) -> dict[str, float]:
        """Of the rounds, by the names of Figures."""
        bouts = self.bouts[server][query]
        return {name: statistics.median(getattr(bout, name) for bout in bouts) for name in Figures.__dataclass_fields__}


def rounds(
    entrants: Sequence[Entrant], queries: Sequence[str], plan: Plan, database: Database, console: Console
) -> Measured:
    """Warms every server up, then drives one at a time, all of them in every round.

    Raises:
        LoadFailed: an answer was not what it should be.
    """
    measured = Measured()
    pairs = [(entrant, query) for query in queries for entrant in entrants]
    columns = (TextColumn("{task.description:48}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bars:
        task = bars.add_task("warm-up", total=len(pairs) * (1 + plan.rounds))

        def bout(entrant: Entrant, query: str, seconds: int, what: str) -> Figures:
            bars.update(task, description=f"{what}: {query} {entrant.name}")
            load = Load(plan.load.connections, seconds)
            figures = drive(entrant, query, load, database.postmaster)
            bars.advance(task)
            return figures

        seconds = {
            (entrant.name, query): bout_seconds(bout(entrant, query, plan.warm_up, "warm-up").rate, plan.load)
            for entrant, query in pairs
        }
        for number in range(plan.rounds):
            for query in queries:
                for entrant in in_turn(entrants, number):
                    lasts = seconds[entrant.name, query]
                    measured.add(
                        entrant.name, query, bout(entrant, query, lasts, f"round {number + 1} of {plan.rounds}")
                    )
    return measured


def bout_seconds(rate: float, load: Load) -> int:
    """How long a bout takes for a server of about that rate.

    A slow server finishes what came on all connections at about the same time: too few such waves, and the one that the
    end cuts off would count against it.
    """
    needed = math.ceil(_WAVES * load.connections / rate)
    return min(max(needed, load.seconds), _LONGEST * load.seconds)


def statements(
    entrants: Sequence[Entrant], queries: Sequence[str], database: Database
) -> dict[str, dict[str, Statements]]:
    """The statements of every request, by server and query; the servers must be warm."""
    with logged(database):
        return {
            entrant.name: {query: count(entrant.running, entrant.requests[query], database) for query in queries}
            for entrant in entrants
        }


def figures_of(
    entrants: Sequence[Entrant],
    queries: Sequence[str],
    measured: Measured,
    counted: dict[str, dict[str, Statements]],
) -> dict[str, Any]:
    """Everything known of each server and query, for people and programs to read."""
    return {
        entrant.name: {
            query: {
                "requests_per_second": found["rate"],
                "p50_ms": found["p50"],
                "p99_ms": found["p99"],
                "server_cpu_ms": found["server_cpu"],
                "database_cpu_ms": found["database_cpu"],
                "statements": counted[entrant.name][query].reading,
                "statements_with_settings": counted[entrant.name][query].every,
                "bytes": entrant.lengths[query],
                "rounds": [bout.rate for bout in measured.bouts[entrant.name][query]],
            }
            for query in queries
            for found in (measured.medians(entrant.name, query),)
        }
        for entrant in entrants
    }
