"""Outcome counts of two periods as cells of a run, for figures that come per period. No claims, no dates of change."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

import numpy as np

from backend.detection.drift_type import DriftType
from backend.detection.types import CellCounts, Key, Level

NOMINAL_DAYS = ((27, 32, 30), (88, 93, 91), (180, 185, 182), (364, 367, 365))
"""Lengths of calendar months, quarters, halves and years: from, below, and the one number that names their pool."""


class Measure(StrEnum):
    """What an outcome count counts."""

    AUTHORIZATION_APPROVAL = "AUTHORIZATION_APPROVAL"
    CLAIM_DENIAL = "CLAIM_DENIAL"


DRIFT_TYPE_OF: dict[Measure, DriftType] = {
    Measure.AUTHORIZATION_APPROVAL: DriftType.APPROVAL_RATE,
    Measure.CLAIM_DENIAL: DriftType.DENIAL_RATE,
}


@dataclass(frozen=True, slots=True)
class OutcomeCount:
    """`outcomes` of `total` requests or claims of one payer and procedure in a period.

    The outcomes are approvals for AUTHORIZATION_APPROVAL and denials for CLAIM_DENIAL.
    """

    payer: Key
    procedure: Key
    group: Key
    measure: Measure
    outcomes: int
    total: int


def nominal_days(start: date, end: date) -> int:
    """Days from start to end, both included; calendar months, quarters, halves and years are 30, 91, 182 and 365."""
    days = (end - start).days + 1
    return next((nominal for least, below, nominal in NOMINAL_DAYS if least <= days < below), days)


def period_cells(
    baseline: Iterable[OutcomeCount], current: Iterable[OutcomeCount], *, window_days: int
) -> list[CellCounts]:
    """The cells of both levels for `engine.evaluate`: payers first seen first, each followed by its groups.

    Strata are the procedures of a payer in a group; several counts of one stratum and period add up.
    `window_days` is the nominal length of the current period and names the pool.
    """
    cells: defaultdict[tuple[Measure, Key], defaultdict[tuple[Key, Key], list[int]]]
    cells = defaultdict(lambda: defaultdict(lambda: [0, 0, 0, 0]))
    for offset, counts in ((0, baseline), (2, current)):
        for count in counts:
            stratum = cells[count.measure, count.payer][count.group, count.procedure]
            stratum[offset] += count.outcomes
            stratum[offset + 1] += count.total
    found = []
    for (measure, payer), strata in cells.items():
        drift_type = DRIFT_TYPE_OF[measure]
        groups: defaultdict[Key, list[list[int]]] = defaultdict(list)
        for (group, _), figures in strata.items():
            groups[group].append(figures)
        found.append(_cell(drift_type, payer, None, window_days, list(strata.values())))
        found += [_cell(drift_type, payer, group, window_days, rows) for group, rows in groups.items()]
    return found


def _cell(drift_type: DriftType, payer: Key, group: Key | None, window_days: int, rows: list[list[int]]) -> CellCounts:
    x0, n0, x1, n1 = np.array(rows, dtype=np.int64).T
    level = Level.PAYER if group is None else Level.PAYER_GROUP
    return CellCounts(drift_type, level, payer, group, window_days, x0, n0, x1, n1)
