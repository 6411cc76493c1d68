"""Published outcome counts, one period against the one before, through the same engine."""

from datetime import date

import numpy as np
import pytest

from backend.detection.config import PERIODS_CONFIG
from backend.detection.drift_type import DriftType
from backend.detection.engine import evaluate, strongest
from backend.detection.periods import Measure, OutcomeCount, nominal_days, period_cells
from backend.detection.types import CellKey, Direction, Level, ReasonNotFlagged

APPROVAL = Measure.AUTHORIZATION_APPROVAL


def approvals(payer, procedure, group, outcomes, total):
    return OutcomeCount(payer, procedure, group, APPROVAL, outcomes, total)


def year(rates, *, seed, total=400):
    """Approvals of every carrier and code of a year; rates per carrier."""
    rng = np.random.default_rng(seed)
    return [
        approvals(carrier, f"C{code}", f"G{code % 4}", int(rng.binomial(total, rate)), total)
        for carrier, rate in rates.items()
        for code in range(12)
    ]


def test_cells_of_both_levels_hold_their_strata_in_both_periods():
    before = [approvals("A", "97110", "REHAB", 8, 10), approvals("A", "E0784", "DME", 3, 9)]
    after = [approvals("A", "97110", "REHAB", 5, 11), approvals("A", "97112", "REHAB", 1, 2)]

    cells = period_cells(before, after, window_days=365)

    assert [(cell.level, cell.group) for cell in cells] == [
        (Level.PAYER, None),
        (Level.PAYER_GROUP, "REHAB"),
        (Level.PAYER_GROUP, "DME"),
    ]
    whole, rehab, _ = cells
    assert whole.drift_type is DriftType.APPROVAL_RATE
    assert whole.window_days == 365
    assert (whole.x0.tolist(), whole.n0.tolist()) == ([8, 3, 0], [10, 9, 0])
    assert (whole.x1.tolist(), whole.n1.tolist()) == ([5, 0, 1], [11, 0, 2])
    assert (rehab.x0.tolist(), rehab.n1.tolist()) == ([8, 0], [11, 2])


def test_measures_are_apart_and_repeated_strata_add_up():
    denials = OutcomeCount("A", "97110", "REHAB", Measure.CLAIM_DENIAL, 4, 40)

    cells = period_cells([denials, denials], [denials, approvals("A", "97110", "REHAB", 1, 2)], window_days=30)

    payer_level = {cell.drift_type: cell for cell in cells if cell.group is None}
    assert set(payer_level) == {DriftType.DENIAL_RATE, DriftType.APPROVAL_RATE}
    assert payer_level[DriftType.DENIAL_RATE].n0.tolist() == [80]
    assert payer_level[DriftType.APPROVAL_RATE].n0.tolist() == [0]


@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        (date(2024, 1, 1), date(2024, 12, 31), 365),
        (date(2023, 1, 1), date(2023, 12, 31), 365),
        (date(2023, 2, 1), date(2023, 2, 28), 30),
        (date(2023, 1, 1), date(2023, 3, 31), 91),
        (date(2023, 7, 1), date(2023, 12, 31), 182),
        (date(2023, 7, 1), date(2023, 7, 7), 7),
    ],
)
def test_calendar_periods_share_one_length(start, end, days):
    assert nominal_days(start, end) == days


def test_the_carrier_that_changed_is_found_and_the_others_are_not():
    rates = {f"Carrier {i}": 0.7 + 0.02 * i for i in range(12)}
    changed = rates | {"Carrier 3": 0.45}

    run = evaluate(
        period_cells(year(rates, seed=1), year(changed, seed=2), window_days=365), pools={}, config=PERIODS_CONFIG
    )

    found = strongest(run.results)
    assert CellKey(DriftType.APPROVAL_RATE, "Carrier 3", None) in found
    assert {key.payer for key in found} == {"Carrier 3"}
    assert all(result.direction is Direction.DOWN and result.harmful for result in found.values())


def test_equal_periods_need_fifteen_on_either_side():
    cells = [
        *period_cells([approvals("A", "x", "g", 3, 15)], [approvals("A", "x", "g", 12, 15)], window_days=365),
        *period_cells([approvals("B", "x", "g", 3, 14)], [approvals("B", "x", "g", 12, 15)], window_days=365),
    ]

    run = evaluate(cells, pools={}, config=PERIODS_CONFIG)

    assert {result.payer: result.reason_not_flagged for result in run.results}["B"] is ReasonNotFlagged.MIN_SAMPLE
    assert all(result.tested for result in run.results if result.payer == "A")
