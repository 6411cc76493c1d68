"""What is said of a significant test beyond its figures: when it changed, which money and which codes it touches."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

import numpy as np
from django.db import connection

from backend.detection.change_point import ChangePoint, binomial_change
from backend.detection.drift_type import DriftType
from backend.detection.revenue import monthly_exposure_cents
from backend.detection.types import TestResult
from backend.detection.windows import Windows
from backend.drift.aggregation import CodeFigures

SMALLEST_CELL = 11  # claims; a smaller count could point at a person
TOP = 5

# Of every claim that a signal's test could see: whether it counts in the denominator, in the numerator, and among the
# outcomes that an analyst would look at. One pass, folded by day (3), by procedure code (5) and by reason code (6).
_DESCRIBE = """
WITH signal AS (
  SELECT *
    FROM unnest(%(types)s::text[], %(payers)s::uuid[], %(groups)s::uuid[], %(firsts)s::date[], %(lasts)s::date[],
                %(currents)s::date[])
         WITH ORDINALITY AS s(drift_type, payer_id, group_id, baseline_start, baseline_end, current_start, ord)
), decided AS MATERIALIZED (
  SELECT payer_id, group_id, procedure_code_id, decided_on, outcome, denial_carc, allowed_cents, paid_cents,
         auth_denial, coalesce(auth_required, false) AS auth_required
    FROM claim
   WHERE superseded_at IS NULL AND payer_id = ANY(%(payers)s::uuid[])
     AND decided_on BETWEEN %(first)s AND %(as_of)s
     AND outcome IN ('PAID', 'PARTIAL', 'DENIED')
), seen AS (
  SELECT signal.ord, claim.decided_on - signal.baseline_start AS day, code.code, claim.denial_carc AS carc,
         claim.outcome, claim.allowed_cents, claim.paid_cents,
         claim.decided_on <= signal.baseline_end AS before, claim.decided_on >= signal.current_start AS after,
         CASE signal.drift_type WHEN 'DENIAL_RATE' THEN true
                                WHEN 'APPROVAL_RATE' THEN claim.outcome <> 'DENIED'
                                ELSE claim.auth_required END AS counted,
         CASE signal.drift_type WHEN 'DENIAL_RATE' THEN claim.outcome = 'DENIED'
                                WHEN 'APPROVAL_RATE' THEN claim.outcome = 'PAID'
                                ELSE claim.auth_required AND claim.auth_denial END AS hit,
         signal.drift_type = 'APPROVAL_RATE' AS hit_is_good
    FROM signal
    JOIN decided AS claim ON claim.payer_id = signal.payer_id
                         AND (signal.group_id IS NULL OR claim.group_id = signal.group_id)
                         AND claim.decided_on >= signal.baseline_start
    JOIN procedure_code AS code ON code.id = claim.procedure_code_id
)
SELECT ord, grouping(day, code, carc), day, coalesce(code, carc),
       count(*) FILTER (WHERE counted),
       count(*) FILTER (WHERE counted AND hit),
       count(*) FILTER (WHERE counted AND after),
       count(*) FILTER (WHERE counted AND before AND hit <> hit_is_good),
       count(*) FILTER (WHERE counted AND after AND hit <> hit_is_good),
       percentile_disc(0.5) WITHIN GROUP (ORDER BY allowed_cents) FILTER (WHERE before AND allowed_cents > 0),
       coalesce(sum(allowed_cents) FILTER (WHERE before AND outcome = 'PARTIAL' AND paid_cents IS NOT NULL), 0)::bigint,
       coalesce(sum(paid_cents) FILTER (WHERE before AND outcome = 'PARTIAL' AND allowed_cents IS NOT NULL), 0)::bigint
  FROM seen
 GROUP BY GROUPING SETS ((ord, day), (ord, code), (ord, carc))
 ORDER BY 1, 2, 3, 4
"""
_BY_DAY, _BY_CODE, _BY_REASON = 3, 5, 6


class Signal(NamedTuple):
    """A significant test with the windows that it compared."""

    result: TestResult
    windows: Windows


@dataclass(frozen=True, slots=True, eq=False)
class Details:
    """Figures of one signal; `exposure_cents` per 30 days, `lost_share` None where the data does not tell."""

    change: ChangePoint | None = None
    exposure_cents: float = 0.0
    lost_share: float | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


class _Row(NamedTuple):
    """One row of _DESCRIBE."""

    ord: int
    fold: int
    day: int | None
    code: str | None
    n: int
    x: int
    n_current: int
    concern_baseline: int
    concern_current: int
    median_cents: int | None
    partial_allowed: int
    partial_paid: int


def describe_claims(signals: Sequence[Signal], as_of: date) -> list[Details]:
    """The details of each signal of a run over claims, in the order given.

    SQL: 1, none without signals.
    """
    if not signals:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            _DESCRIBE,
            {
                "types": [signal.result.drift_type.value for signal in signals],
                "payers": [signal.result.payer for signal in signals],
                "groups": [signal.result.group for signal in signals],
                "firsts": [signal.windows.baseline_start for signal in signals],
                "lasts": [signal.windows.baseline_end for signal in signals],
                "currents": [signal.windows.current_start for signal in signals],
                "first": min(signal.windows.baseline_start for signal in signals),
                "as_of": as_of,
            },
        )
        rows = [_Row(*row) for row in cursor.fetchall()]
    by_signal: defaultdict[int, defaultdict[int, list[_Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        by_signal[row.ord - 1][row.fold].append(row)
    return [_details(signal, by_signal[i], as_of) for i, signal in enumerate(signals)]


def describe_periods(signals: Sequence[Signal], figures: Mapping[Any, Sequence[CodeFigures]]) -> list[Details]:
    """The details of each signal of a run over outcome counts: the codes that moved it most; no date, no revenue."""
    return [Details(evidence=_moved(figures[signal.result.cell])) for signal in signals]


def _details(signal: Signal, folds: Mapping[int, list[_Row]], as_of: date) -> Details:
    codes = folds.get(_BY_CODE, [])
    return Details(
        change=_change(signal, folds.get(_BY_DAY, []), as_of),
        exposure_cents=monthly_exposure_cents(
            [row.n_current for row in codes], [row.median_cents or 0 for row in codes], signal.result.window_days
        ),
        lost_share=_lost_share(signal.result.drift_type, codes),
        evidence={
            "reasons": _top(row for row in folds.get(_BY_REASON, []) if row.code is not None),
            "procedures": _top(codes),
        },
    )


def _change(signal: Signal, days: list[_Row], as_of: date) -> ChangePoint | None:
    first = signal.windows.baseline_start
    outcomes = np.zeros((as_of - first).days + 1, dtype=np.int64)
    totals = np.zeros_like(outcomes)
    for row in days:
        outcomes[row.day or 0] += row.x
        totals[row.day or 0] += row.n
    return binomial_change(first, outcomes, totals, direction=signal.result.direction)


def _lost_share(drift_type: DriftType, codes: list[_Row]) -> float | None:
    """For the approval rate: the fraction of the allowed amount that partly paid claims lost in the baseline."""
    allowed = sum(row.partial_allowed for row in codes)
    if drift_type is not DriftType.APPROVAL_RATE or allowed == 0:
        return None
    return min(max(1.0 - sum(row.partial_paid for row in codes) / allowed, 0.0), 1.0)


def _shown(count: int) -> int | None:
    return count if count >= SMALLEST_CELL else None


def _top(rows: Any) -> list[dict[str, Any]]:
    """The codes with most claims of concern in the current window; a count under 11 is left out or null."""
    found = sorted(
        (row for row in rows if row.concern_current >= SMALLEST_CELL), key=lambda row: (-row.concern_current, row.code)
    )
    return [
        {"code": row.code, "count": row.concern_current, "baseline_count": _shown(row.concern_baseline)}
        for row in found[:TOP]
    ]


def _moved(figures: Sequence[CodeFigures]) -> dict[str, Any]:
    shared = [row for row in figures if row.n0 >= SMALLEST_CELL and row.n1 >= SMALLEST_CELL]
    shared.sort(key=lambda row: (-row.n1 * abs(row.x1 / row.n1 - row.x0 / row.n0), row.code))
    return {
        "reasons": [],
        "procedures": [
            {
                "code": row.code,
                "count": row.n1,
                "baseline_count": row.n0,
                "rate": row.x1 / row.n1,
                "baseline_rate": row.x0 / row.n0,
            }
            for row in shared[:TOP]
        ],
    }
