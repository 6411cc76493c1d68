"""Interleaved rounds of load over servers and queries, and what they sum up to."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from benchmarks.peers import progress
from benchmarks.peers.contest import Entrant, in_turn
from benchmarks.peers.database import Database
from benchmarks.peers.load import Figures, Load, drive
from benchmarks.peers.statements import Statements, count, logged

_WAVES, _FEWEST_WAVES = 10, 2  # of answers on every connection, in one bout


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    load: Load
    rounds: int
    warm_up: int  # seconds per server and query
    longest: int = 5  # times the seconds of the load, for a slow server


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
    with progress.steps(len(pairs) * (1 + plan.rounds), console) as begin:

        def bout(entrant: Entrant, query: str, seconds: int, what: str) -> Figures:
            begin(f"{what}: {query} {entrant.name}")
            return drive(entrant, query, Load(plan.load.connections, seconds), database.postmaster)

        seconds = {}
        for entrant, query in pairs:
            fewest = _fewest_seconds(1 / entrant.seconds[query], plan)
            warm = bout(entrant, query, max(plan.warm_up, fewest), "warm-up")
            seconds[entrant.name, query] = bout_seconds(warm.rate, plan)
        for number in range(plan.rounds):
            for query in queries:
                for entrant in in_turn(entrants, number):
                    what = f"round {number + 1} of {plan.rounds}"
                    measured.add(entrant.name, query, bout(entrant, query, seconds[entrant.name, query], what))
    return measured


def bout_seconds(rate: float, plan: Plan) -> int:
    """How long a bout takes for a server of about that rate.

    A slow server finishes what came on all connections at about the same time: too few such waves, and the one that the
    end cuts off would count against it.
    """
    needed = math.ceil(_WAVES * plan.load.connections / rate)
    return max(min(needed, plan.longest * plan.load.seconds), _fewest_seconds(rate, plan), plan.load.seconds)


def _fewest_seconds(rate: float, plan: Plan) -> int:
    return math.ceil(_FEWEST_WAVES * plan.load.connections / rate)


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
