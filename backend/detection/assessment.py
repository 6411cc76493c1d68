"""What a significant test means to an analyst: severity, confidence and revenue at risk together."""

from dataclasses import dataclass

from backend.detection.config import Config
from backend.detection.revenue import RevenueAtRisk, revenue_at_risk
from backend.detection.severity import severity_band, severity_score
from backend.detection.types import Severity, TestResult


@dataclass(frozen=True, slots=True)
class Assessment:
    """`delta` is current less baseline; `confidence` is 1 - q, never a sample size."""

    baseline_value: float
    current_value: float
    delta: float
    ci_low: float
    ci_high: float
    severity_score: float
    severity: Severity
    confidence: float
    revenue: RevenueAtRisk


def assess(
    result: TestResult, *, config: Config, exposure_cents: float = 0.0, lost_share: float | None = None
) -> Assessment:
    """Severity, confidence and revenue of a tested result; the type's default share where `lost_share` is not known.

    Raises:
        ValueError: the result was not tested, so it has no effect to assess.
    """
    values = (result.baseline_value, result.current_value, result.effect, result.ci_low, result.ci_high)
    baseline, current, effect, low, high = values
    if baseline is None or current is None or effect is None or low is None or high is None:
        raise ValueError("An untested result cannot be assessed.")
    knobs = config.types[result.drift_type]
    revenue = revenue_at_risk(
        result.drift_type,
        effect=effect,
        ci_low=low,
        ci_high=high,
        exposure_cents=exposure_cents,
        lost_share=knobs.lost_share if lost_share is None else lost_share,
    )
    score = severity_score(low, high, knobs.severity_scale)
    severity = severity_band(score, revenue_cents=revenue.cents, lift_above_cents=config.revenue_lift_cents)
    return Assessment(baseline, current, effect, low, high, score, severity, 1.0 - result.q_value, revenue)
