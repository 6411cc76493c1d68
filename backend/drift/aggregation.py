"""Claims and outcome counts, counted by PostgreSQL into the arrays that detection compares. No test is made here.

A claim counts when its current version is decided as PAID, PARTIAL or DENIED: a reversal is no new decision, and OTHER
says nothing about approval. `decided_on` alone places it in time: no claim decided after the as-of date is seen.
"""

import uuid
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from django.db import connection

from backend.detection.config import Config
from backend.detection.drift_type import DriftType
from backend.detection.periods import DRIFT_TYPE_OF, Measure, OutcomeCount, nominal_days, period_cells
from backend.detection.types import CellCounts, CellKey, Ints, Level
from backend.detection.windows import Windows, windows_for
from backend.drift.runs import EARLIEST_AS_OF

Frozen: TypeAlias = Mapping[CellKey, date]
"""Cells with a live event -> its estimated change date: their baseline ends the day before it."""

_ONE_DAY = timedelta(days=1)

COUNT_CLAIMS = """
SELECT payer_id, group_id, procedure_code_id, width_bucket(decided_on, %(starts)s::date[]) - 1 AS span,
       count(*),
       count(*) FILTER (WHERE outcome = 'DENIED'),
       count(*) FILTER (WHERE outcome = 'PAID'),
       count(*) FILTER (WHERE auth_required),
       count(*) FILTER (WHERE auth_required AND auth_denial)
  FROM claim
 WHERE superseded_at IS NULL
   AND decided_on BETWEEN %(first)s AND %(as_of)s
   AND outcome IN ('PAID', 'PARTIAL', 'DENIED')
 GROUP BY payer_id, group_id, procedure_code_id, span
 ORDER BY payer_id, group_id, procedure_code_id, span
"""

COUNT_PERIODS = """
SELECT now_.measure, now_.payer_id, now_.group_id, now_.procedure_code_id, code.code,
       now_.period_start, before.period_start,
       coalesce(before.favourable, 0), coalesce(before.total, 0), now_.favourable, now_.total
  FROM outcome_count AS now_
  JOIN procedure_code AS code ON code.organization_id = now_.organization_id AND code.id = now_.procedure_code_id
  LEFT JOIN outcome_count AS before
    ON before.organization_id = now_.organization_id
   AND before.payer_id = now_.payer_id
   AND before.procedure_code_id = now_.procedure_code_id
   AND before.measure = now_.measure
   AND before.period_end = now_.period_start - 1
   AND before.superseded_at IS NULL
   AND abs((before.period_end - before.period_start) - (now_.period_end - now_.period_start))
       <= 0.15 * (now_.period_end - now_.period_start + 1)
 WHERE now_.superseded_at IS NULL AND now_.period_end = %(as_of)s AND now_.period_start >= %(earliest)s
 ORDER BY now_.period_start DESC, now_.measure, now_.payer_id, now_.group_id, now_.procedure_code_id
"""

# Columns of the counts of COUNT_CLAIMS.
_DECIDED, _DENIED, _PAID, _AUTH, _AUTH_DENIED = range(5)


class CodeFigures(NamedTuple):
    """Outcomes x of n of one procedure code, in the period before (0) and the current one (1)."""

    code: str
    x0: int
    n0: int
    x1: int
    n1: int


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """All tests of a run before they are made: `counts` in a stable order, and the windows of each (cell, window_days).

    `figures` has the codes of each cell where figures came per period; claims are described later, for signals alone.
    """

    counts: tuple[CellCounts, ...]
    windows: Mapping[tuple[CellKey, int], Windows]
    figures: Mapping[CellKey, Sequence[CodeFigures]] = field(default_factory=dict)


class _PeriodRow(NamedTuple):
    """One row of COUNT_PERIODS."""

    measure: str
    payer: uuid.UUID
    group: uuid.UUID
    procedure: uuid.UUID
    code: str
    start: date
    before_start: date | None
    x0: int
    n0: int
    x1: int
    n1: int

    def of_period(self, outcomes: int, total: int) -> OutcomeCount:
        """The figure of one of the two periods."""
        return OutcomeCount(self.payer, self.procedure, self.group, Measure(self.measure), outcomes, total)


def count_claims(as_of: date, *, config: Config, frozen: Frozen) -> Counted:
    """Counts per drift type, level, payer, group, window and stratum (procedure code) of the current organization.

    SQL: 1.
    """
    starts = _span_starts(as_of, config, frozen)
    with connection.cursor() as cursor:
        cursor.execute(COUNT_CLAIMS, {"starts": starts, "first": starts[0], "as_of": as_of})
        rows = cursor.fetchall()
    counter = _ClaimCounter(as_of, config, frozen, starts)
    for payer, of_payer in groupby(rows, key=itemgetter(0)):
        counter.add_payer(payer, list(of_payer))
    return Counted(tuple(counter.counts), counter.windows)


def count_periods(as_of: date) -> Counted:
    """Counts of the periods that end on the as-of date against the adjoining ones before, if as long (within 15 %).

    `window_days` is the nominal length of the current period. A period that began before EARLIEST_AS_OF is left out.

    SQL: 1.
    """
    with connection.cursor() as cursor:
        cursor.execute(COUNT_PERIODS, {"as_of": as_of, "earliest": EARLIEST_AS_OF})
        rows = [_PeriodRow(*row) for row in cursor.fetchall()]
    counts: list[CellCounts] = []
    windows: dict[tuple[CellKey, int], Windows] = {}
    figures: defaultdict[CellKey, list[CodeFigures]] = defaultdict(list)
    for days, found in groupby(rows, key=lambda row: nominal_days(row.start, as_of)):
        pairs = list(found)
        start = min(row.start for row in pairs)
        before = min((row.before_start for row in pairs if row.before_start), default=start - timedelta(days=days))
        baseline = [row.of_period(row.x0, row.n0) for row in pairs if row.n0]
        cells = period_cells(baseline, [row.of_period(row.x1, row.n1) for row in pairs], window_days=days)
        counts += cells
        windows |= {(cell.cell, days): Windows(before, start - _ONE_DAY, start, as_of) for cell in cells}
        for row in pairs:
            for group in (None, row.group):
                cell_key = CellKey(DRIFT_TYPE_OF[Measure(row.measure)], row.payer, group)
                figures[cell_key].append(CodeFigures(row.code, row.x0, row.n0, row.x1, row.n1))
    return Counted(tuple(counts), windows, figures)


def _level(group: uuid.UUID | None) -> Level:
    return Level.PAYER if group is None else Level.PAYER_GROUP


def _span_starts(as_of: date, config: Config, frozen: Frozen) -> list[date]:
    """First days of the spans into which the windows of all cells cut the calendar; the last one starts after as-of."""
    edges = {as_of + _ONE_DAY}
    for days in config.window_days:
        for change_on in {None, *frozen.values()}:
            spans = windows_for(as_of, days, config=config, change_on=change_on)
            edges |= {spans.baseline_start, spans.baseline_end + _ONE_DAY, spans.current_start}
    return sorted(edges)


class _ClaimCounter:
    """Sums spans into windows; keeps running totals over spans, so that any window is one difference."""

    def __init__(self, as_of: date, config: Config, frozen: Frozen, starts: list[date]) -> None:
        self.as_of, self.config, self.frozen, self.starts = as_of, config, frozen, starts
        self.counts: list[CellCounts] = []
        self.windows: dict[tuple[CellKey, int], Windows] = {}

    def add_payer(self, payer: uuid.UUID, rows: list[tuple[Any, ...]]) -> None:
        """Adds the cells of one payer: all of it, then each of its groups. Rows are in the order of the statement."""
        self._add(payer, None, self._totals((row[2], row) for row in rows))
        for group, of_group in groupby(rows, key=itemgetter(1)):
            self._add(payer, group, self._totals((row[2], row) for row in of_group))

    def _totals(self, rows: Iterable[tuple[uuid.UUID, tuple[Any, ...]]]) -> Ints:
        """Running totals, shape (strata, spans + 1, 5): `[:, j] - [:, i]` counts the spans i to j - 1."""
        strata: dict[uuid.UUID, Ints] = {}
        for code, row in rows:
            if code not in strata:
                strata[code] = np.zeros((len(self.starts), 5), dtype=np.int64)
            strata[code][row[3] + 1] += row[4:9]
        return np.cumsum(np.stack(list(strata.values())), axis=1)

    def _add(self, payer: uuid.UUID, group: uuid.UUID | None, totals: Ints) -> None:
        for drift_type in self.config.types:
            cell = CellKey(drift_type, payer, group)
            for days in self.config.window_days:
                spans = windows_for(self.as_of, days, config=self.config, change_on=self.frozen.get(cell))
                x0, n0 = _rate(drift_type, self._between(totals, spans.baseline_start, spans.baseline_end))
                x1, n1 = _rate(drift_type, self._between(totals, spans.current_start, spans.current_end))
                seen = (n0 > 0) | (n1 > 0)
                if not seen.any():
                    continue
                self.windows[cell, days] = spans
                self.counts.append(
                    CellCounts(drift_type, _level(group), payer, group, days, x0[seen], n0[seen], x1[seen], n1[seen])
                )

    def _between(self, totals: Ints, first: date, last: date) -> Ints:
        low, high = bisect_left(self.starts, first), bisect_left(self.starts, last + _ONE_DAY)
        difference: Ints = totals[:, high] - totals[:, low]
        return difference


def _rate(drift_type: DriftType, counts: Ints) -> tuple[Ints, Ints]:
    """Numerator and denominator per stratum."""
    if drift_type is DriftType.DENIAL_RATE:
        return counts[:, _DENIED], counts[:, _DECIDED]
    if drift_type is DriftType.APPROVAL_RATE:
        return counts[:, _PAID], counts[:, _DECIDED] - counts[:, _DENIED]
    return counts[:, _AUTH_DENIED], counts[:, _AUTH]
