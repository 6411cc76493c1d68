"""Figures of rounds, summed up: medians, and ratios that are taken within a round before the median of rounds."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Rounds = Mapping[str, Mapping[str, Sequence[float]]]  # server, query, requests per second in each round


@dataclass(frozen=True, slots=True)
class Summary:
    """How often one server answers in the time in which another answers once."""

    by_query: dict[str, float]

    @property
    def geometric_mean(self) -> float:
        """Over the queries."""
        return statistics.geometric_mean(self.by_query.values())

    @property
    def worst(self) -> float:
        """Of the queries."""
        return min(self.by_query.values())

    def as_json(self) -> dict[str, float]:
        """By query, and the geometric mean."""
        return {**self.by_query, "geometric_mean": self.geometric_mean}


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the ratios of each round: what slows the machine in a round slows both."""
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def against(rounds: Rounds, ours: str, theirs: str) -> Summary:
    """One server against another, over the queries that both were asked."""
    return Summary(
        {
            query: ratio(figures, rounds[theirs][query])
            for query, figures in rounds[ours].items()
            if query in rounds[theirs]
        }
    )
