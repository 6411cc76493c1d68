"""Stratified counts of many cells laid end to end, so that a run is a few array operations. No statistics live here."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backend.core.errors import BadUserInput
from backend.detection.types import CellCounts, Floats, Ints


class InvalidCounts(BadUserInput):
    """The counts of a stratum are not valid: 0 <= x <= n must hold, for as many strata in each array."""


@dataclass(frozen=True, slots=True, eq=False)
class Strata:
    """Counts per stratum as floats (exact to 2**53) and, per stratum, the index of its cell.

    Strata that only one window knows are left out: they compare nothing.
    """

    cell: Ints
    x0: Floats
    n0: Floats
    x1: Floats
    n1: Floats
    cells: int

    def total(self, values: Floats) -> Floats:
        """Sums of a value per stratum over each cell, 0 for a cell without strata."""
        return np.bincount(self.cell, weights=values, minlength=self.cells).astype(np.float64)


def stack(counts: Sequence[CellCounts]) -> Strata:
    """The strata of all cells that both windows share.

    Raises:
        InvalidCounts: an array is shorter than its neighbours, or x and n contradict each other.
    """
    lengths = [len(cell.x0) for cell in counts]
    x0, n0, x1, n1 = (
        np.concatenate([np.empty(0), *(np.asarray(getattr(cell, name), dtype=np.float64) for cell in counts)])
        for name in ("x0", "n0", "x1", "n1")
    )
    same = all(len(cell.n0) == len(cell.x1) == len(cell.n1) == size for cell, size in zip(counts, lengths, strict=True))
    if not same or not ((x0 >= 0) & (x0 <= n0) & (x1 >= 0) & (x1 <= n1)).all():
        raise InvalidCounts
    cell = np.repeat(np.arange(len(counts), dtype=np.int64), lengths)
    shared = (n0 > 0) & (n1 > 0)
    return Strata(cell[shared], x0[shared], n0[shared], x1[shared], n1[shared], len(counts))
