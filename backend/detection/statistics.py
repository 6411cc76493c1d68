"""What every test family hands to the engine: a score statistic and an effect per cell. No formula lives here."""

from dataclasses import dataclass

from backend.detection.types import Bools, Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class CellStatistics:
    """Parallel arrays, one entry per cell; NaN where a cell has nothing to compare.

    `z` is the score statistic without dispersion, `information` the variance of the score, so that a true log
    odds ratio (or log hazard ratio) of variance tau squared makes z vary by 1 + tau squared x information.
    `effect` lies in the unit of the drift type with standard error `effect_se`; `enough` says whether the
    family's minimum sample is met.
    """

    n0: Ints
    n1: Ints
    x0: Ints
    x1: Ints
    z: Floats
    information: Floats
    baseline: Floats
    current: Floats
    effect: Floats
    effect_se: Floats
    enough: Bools
