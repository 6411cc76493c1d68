"""The words and shapes of detection: types, levels, counts going in, tests coming out. No computation lives here."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from backend.detection.drift_type import DriftType

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Key: TypeAlias = Hashable
"""A payer's or procedure group's identity, whatever the caller uses: detection only compares keys."""


RATE_TYPES = frozenset({DriftType.DENIAL_RATE, DriftType.APPROVAL_RATE, DriftType.AUTH_FAILURE_RATE})


class Level(StrEnum):
    """How finely a test looks."""

    PAYER = "PAYER"
    PAYER_GROUP = "PAYER_GROUP"


class Direction(StrEnum):
    """Which way the current value lies from the baseline."""

    UP = "UP"
    DOWN = "DOWN"


class Severity(IntEnum):
    """How much a drift matters, from the cautious end of its confidence interval."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


class Tier(StrEnum):
    """How sure a run is of a significant test: CONFIRMED alerts at once, OPEN goes on the watch list."""

    CONFIRMED = "CONFIRMED"
    OPEN = "OPEN"


class ReasonNotFlagged(StrEnum):
    """Why a test made no signal; the first that applies, in this order.

    MIN_SAMPLE: too few claims in strata that both windows share. INFORMATION: enough claims, but their
    outcomes cannot tell (nearly all alike). EFFECT_FLOOR: surely different, by too little to matter.
    DISPERSION: would have been flagged if week-to-week payer shocks were ignored. FDR: not sure enough among
    all tests of the run.
    """

    MIN_SAMPLE = "MIN_SAMPLE"
    INFORMATION = "INFORMATION"
    EFFECT_FLOOR = "EFFECT_FLOOR"
    DISPERSION = "DISPERSION"
    FDR = "FDR"


HARMFUL_DIRECTION: Mapping[DriftType, Direction] = {
    DriftType.DENIAL_RATE: Direction.UP,
    DriftType.APPROVAL_RATE: Direction.DOWN,
    DriftType.AUTH_FAILURE_RATE: Direction.UP,
    DriftType.PAYMENT_AMOUNT: Direction.DOWN,
    DriftType.DECISION_TIME: Direction.UP,
    DriftType.PROCESSING_DELAY: Direction.UP,
}


class CellKey(NamedTuple):
    """What an episode is about, whichever window or direction; `group` is None at payer level."""

    drift_type: DriftType
    payer: Key
    group: Key | None


class PoolKey(NamedTuple):
    """Tests that share one dispersion."""

    drift_type: DriftType
    level: Level
    window_days: int

    def __str__(self) -> str:
        """Reads `DENIAL_RATE/PAYER/14`; the key of a stored dispersion."""
        return f"{self.drift_type}/{self.level}/{self.window_days}"


@dataclass(frozen=True, slots=True, eq=False)
class PoolSample:
    """Raw statistics and informations of one pool's tests in the runs before this one, in two equally long arrays."""

    z: Floats
    information: Floats


@dataclass(frozen=True, slots=True, eq=False)
class CellCounts:
    """Counts of one test: `x` of `n` claims per stratum (procedure code), 0 in the baseline, 1 in the current window.

    The four arrays have one entry per stratum, in the same order. DENIAL_RATE: x denied of n decided.
    APPROVAL_RATE: x paid in full of n decided and not denied. AUTH_FAILURE_RATE: x denied for authorization
    of n decided that required one. At payer level the strata are all procedure codes of the payer; `group` is
    None.
    """

    drift_type: DriftType
    level: Level
    payer: Key
    group: Key | None
    window_days: int
    x0: Ints
    n0: Ints
    x1: Ints
    n1: Ints

    @property
    def cell(self) -> CellKey:
        """The cell that this test looks at."""
        return CellKey(self.drift_type, self.payer, self.group)

    @property
    def pool(self) -> PoolKey:
        """The pool whose dispersion this test shares."""
        return PoolKey(self.drift_type, self.level, self.window_days)


@dataclass(frozen=True, slots=True)
class TestResult:
    """One test of a run. Rates are fractions 0..1, effects are differences of rates (current less baseline).

    `x0 n0 x1 n1` count the claims of strata that both windows share: those that the test compares.
    `baseline_value` and `current_value` are rates over one mix of strata (Mantel-Haenszel weights), so
    `effect` is exactly their difference; all five are None where no stratum is shared. `statistic` is z
    before dispersion, None with `p_raw` and `p_adjusted` where the minimums are not met; `q_value` is then 1.
    `ci_low` and `ci_high` (95 %) include dispersion.
    """

    # pytest collects classes named Test*: this is none of its tests.
    __test__ = False

    drift_type: DriftType
    level: Level
    payer: Key
    group: Key | None
    window_days: int
    n0: int
    n1: int
    x0: int
    x1: int
    baseline_value: float | None
    current_value: float | None
    effect: float | None
    ci_low: float | None
    ci_high: float | None
    statistic: float | None
    information: float
    p_raw: float | None
    p_adjusted: float | None
    q_value: float
    significant: bool
    tier: Tier | None
    reason_not_flagged: ReasonNotFlagged | None

    @property
    def cell(self) -> CellKey:
        """The cell that this test looked at."""
        return CellKey(self.drift_type, self.payer, self.group)

    @property
    def pool(self) -> PoolKey:
        """The pool whose dispersion this test shared."""
        return PoolKey(self.drift_type, self.level, self.window_days)

    @property
    def tested(self) -> bool:
        """Whether the minimums were met, so that the absence of a signal means something."""
        return self.statistic is not None

    @property
    def direction(self) -> Direction:
        """Which way the current window lies; an untested cell counts as UP."""
        return Direction.DOWN if (self.effect or 0.0) < 0 else Direction.UP

    @property
    def harmful(self) -> bool:
        """Whether that direction costs the provider."""
        return self.direction is HARMFUL_DIRECTION[self.drift_type]


@dataclass(frozen=True, slots=True)
class RunResult:
    """All tests of a run in the order of their counts, and the tau squared that each pool was judged with."""

    results: tuple[TestResult, ...]
    tau_squared: Mapping[PoolKey, float]

    @property
    def tests_total(self) -> int:
        """How many cells met the minimums."""
        return sum(result.tested for result in self.results)

    @property
    def tests_significant(self) -> int:
        """How many tests are significant and large enough."""
        return sum(result.significant for result in self.results)
