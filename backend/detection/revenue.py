"""What a drift of a rate costs in 30 days, in cents. Volumes and baseline amounts are measured in SQL."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from backend.detection.drift_type import DriftType
from backend.detection.types import HARMFUL_DIRECTION, Direction

MONTH_DAYS = 30


@dataclass(frozen=True, slots=True)
class RevenueAtRisk:
    """Cents per 30 days: the estimate and what the effect's interval allows, 0 <= low <= estimate <= high."""

    cents: int
    low_cents: int
    high_cents: int


def monthly_exposure_cents(
    claims: Sequence[int] | npt.NDArray[np.int64],
    median_allowed_cents: Sequence[int] | npt.NDArray[np.int64],
    days: int,
) -> float:
    """Cents that the claims of a window would be allowed in 30 days at the baseline's medians.

    `claims` are those of the test's denominator in the current window of `days` days and
    `median_allowed_cents` the baseline medians, both per stratum (payer x procedure code); 0 where a stratum
    has no median.
    """
    amount = np.asarray(claims, dtype=np.float64) @ np.asarray(median_allowed_cents, dtype=np.float64)
    return float(amount) * MONTH_DAYS / days


def revenue_at_risk(
    drift_type: DriftType,
    *,
    effect: float,
    ci_low: float,
    ci_high: float,
    exposure_cents: float,
    lost_share: float,
) -> RevenueAtRisk:
    """Change of the rate in the harmful direction x exposure x the share that stays lost; 0 for a change that helps.

    `lost_share` is 1 less the historic overturn share for denials and authorization failures, and for the
    approval rate the share of the allowed amount that partly paid claims lose.
    """
    sign = 1 if HARMFUL_DIRECTION[drift_type] is Direction.UP else -1
    low, high = sorted((sign * ci_low, sign * ci_high))
    cents = (round(max(change, 0.0) * exposure_cents * lost_share) for change in (sign * effect, low, high))
    return RevenueAtRisk(*cents)
