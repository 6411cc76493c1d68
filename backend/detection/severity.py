"""How much a drift matters: a score from the cautious end of its confidence interval, and the bands of it."""

from backend.detection.types import Severity

BANDS = ((0.75, Severity.CRITICAL), (0.5, Severity.HIGH), (0.25, Severity.MEDIUM))


def severity_score(ci_low: float, ci_high: float, scale: float) -> float:
    """The bound nearest 0 as a share of `scale`, 0 to 1; 0 when the interval holds 0."""
    if ci_low <= 0 <= ci_high:
        return 0.0
    return min(min(abs(ci_low), abs(ci_high)) / scale, 1.0)


def severity_band(score: float, *, revenue_cents: int = 0, lift_above_cents: int | None = None) -> Severity:
    """LOW < 0.25 <= MEDIUM < 0.5 <= HIGH < 0.75 <= CRITICAL; one band higher above the revenue threshold."""
    band = next((severity for least, severity in BANDS if score >= least), Severity.LOW)
    lifted = lift_above_cents is not None and revenue_cents > lift_above_cents
    return Severity(min(band + lifted, Severity.CRITICAL))
