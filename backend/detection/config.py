"""Thresholds, windows and minimums of a detection run, with their canonical JSON and hash. No test lives here."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from backend.core.errors import BadUserInput
from backend.detection.drift_type import DriftType

DAYS_PER_WEEK = 7
LARGEST_Q = 0.5
Q_CONFIRMED = 0.01


class InvalidConfig(BadUserInput):
    """{what} must be {rule}."""


@dataclass(frozen=True, slots=True)
class TypeConfig:
    """Knobs of one drift type; for rates the effect and the scale are fractions (0.03 = 3 percentage points).

    `default_tau_squared` is the variance of the log odds ratio between two windows when nothing happened,
    used until a pool has enough tests of its own. `lost_share` is the share of the allowed amount that stays
    lost per affected claim when nothing is known about this organization: 1 less the historic overturn share
    for denials.
    """

    min_effect: float
    severity_scale: float
    default_tau_squared: float
    lost_share: float


# Pools of two generated organizations of ten payers, 23 weekly runs each, lay mostly between 0 and 0.05: a tiny
# organization gets the middle of that. Between years of published prior-authorization figures, 14 carriers lay
# between 0.1 and 0.3.
WEEKS_TAU_SQUARED = 0.03
YEARS_TAU_SQUARED = 0.2


def _rate_types(tau_squared: float = WEEKS_TAU_SQUARED) -> dict[DriftType, TypeConfig]:
    return {
        DriftType.DENIAL_RATE: TypeConfig(0.03, 0.15, tau_squared, 1.0),
        DriftType.APPROVAL_RATE: TypeConfig(0.03, 0.15, tau_squared, 0.5),
        DriftType.AUTH_FAILURE_RATE: TypeConfig(0.05, 0.15, tau_squared, 1.0),
    }


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that decides what a run finds, besides the data. Equal configs have equal hashes.

    An episode of figures that come per period expires after `expire_periods` of them without a test: a period that is
    missing leaves two untested, itself and the next, which has nothing to be compared with; only a third one says that
    the figures have ended. An episode of claims expires after `expire_days`.
    """

    q_confirmed: float = Q_CONFIRMED
    q_open: float = 0.05
    window_days: tuple[int, ...] = (14, 28)
    baseline_days: int = 84
    min_current: int = 15
    min_baseline: int = 45
    min_information: float = 0.8
    exact_below: float = 8.0
    confidence_level: float = 0.95
    pool_min_tests: int = 10
    pool_runs: int = 8
    recur_runs: int = 2
    recur_days: int = 6
    resolve_misses: int = 2
    expire_days: int = 84
    expire_periods: int = 3
    revenue_lift_cents: int | None = None
    types: Mapping[DriftType, TypeConfig] = field(default_factory=_rate_types)

    def canonical_json(self) -> str:
        """The config as JSON with sorted keys and no blanks: the text that is hashed and stored."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON, 32 bytes."""
        return hashlib.sha256(self.canonical_json().encode()).digest()

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The config whose canonical JSON was stored; keys that are missing take their defaults."""
        values = dict(stored)
        if "window_days" in values:
            values["window_days"] = tuple(values["window_days"])
        if "types" in values:
            values["types"] = {DriftType(name): TypeConfig(**knobs) for name, knobs in values["types"].items()}
        return cls(**values)

    def overridden(
        self,
        *,
        q: float | None = None,
        window_days: tuple[int, ...] | None = None,
        min_effect: float | None = None,
        revenue_lift_cents: int | None = None,
    ) -> Self:
        """This config with what a caller asked for; `q` is the threshold of the watch list.

        What is confirmed at once stays as sure as ever, however long a watch list somebody wants: `q_confirmed` only
        falls where `q` lies below it.

        Raises:
            InvalidConfig: a value is outside its range, or a window is given twice; `path` names the input field.
        """
        changed: dict[str, Any] = {}
        if q is not None:
            _require(0 < q <= LARGEST_Q, "q", f"above 0 and at most {LARGEST_Q}")
            changed |= {"q_open": q, "q_confirmed": min(Q_CONFIRMED, q)}
        if window_days is not None:
            self._require_windows(window_days)
            changed["window_days"] = tuple(sorted(window_days))
        if min_effect is not None:
            _require(0 <= min_effect < 1, "minEffect", "at least 0 and below 1")
            changed["types"] = {name: replace(knobs, min_effect=min_effect) for name, knobs in self.types.items()}
        if revenue_lift_cents is not None:
            _require(revenue_lift_cents > 0, "revenueLift", "positive")
            changed["revenue_lift_cents"] = revenue_lift_cents
        return replace(self, **changed)

    def _require_windows(self, window_days: tuple[int, ...]) -> None:
        by_period = self.baseline_days == 0
        _require(not by_period, "windows", "left out where figures come per period: the periods are the windows")
        whole_weeks = all(days % DAYS_PER_WEEK == 0 and 0 < days <= self.baseline_days for days in window_days)
        _require(bool(window_days) and whole_weeks, "windows", f"whole weeks of at most {self.baseline_days} days")
        # Two tests of one window are one test, but Benjamini-Hochberg would count it twice.
        _require(len(set(window_days)) == len(window_days), "windows", "different from one another")


def _require(holds: bool, what: str, rule: str) -> None:
    if not holds:
        raise InvalidConfig(path=("config", what), what=what, rule=rule)


CLAIMS_CONFIG = Config()
"""Weekly detection over claims."""

PERIODS_CONFIG = Config(
    window_days=(), baseline_days=0, min_current=15, min_baseline=15, types=_rate_types(YEARS_TAU_SQUARED)
)
"""Detection over outcome counts: a period against the one before, equally long, so one minimum serves both."""
