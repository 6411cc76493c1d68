"""The dates that a test compares. Which events freeze a baseline is decided by episodes, counting is done in SQL."""

from dataclasses import dataclass
from datetime import date, timedelta

from backend.detection.config import Config


@dataclass(frozen=True, slots=True)
class Windows:
    """Two spans of days, first and last included; the baseline ends before the current window starts."""

    baseline_start: date
    baseline_end: date
    current_start: date
    current_end: date


def windows_for(as_of: date, window_days: int, *, config: Config, change_on: date | None = None) -> Windows:
    """The windows of a run as of a date; whole weeks on both sides keep the weekday mix equal.

    With `change_on`, the estimated change date of a live event, the baseline ends the day before it at the
    latest, however long ago that is: without the freeze a lasting drift would become its own baseline after
    `baseline_days`.
    """
    current_start = as_of - timedelta(days=window_days - 1)
    baseline_end = current_start - timedelta(days=1)
    if change_on is not None:
        baseline_end = min(baseline_end, change_on - timedelta(days=1))
    baseline_start = baseline_end - timedelta(days=config.baseline_days - 1)
    return Windows(baseline_start, baseline_end, current_start, as_of)
