"""How far test statistics wander when nothing changed: the random-effects variance of a pool of tests."""

import numpy as np
from scipy import optimize

from backend.detection.types import Floats

NULL_MEDIAN = 0.454936423119572
"""Median of chi-squared with one degree of freedom: half of all squared standard normal values lie below it."""


def median_tau_squared(z: Floats, information: Floats) -> float:
    """The tau squared for which median(z^2 / (1 + tau squared x information)) is that of chi-squared(1), at least 0.

    z are score statistics with variance 1 under a common rate, information their score variances (> 0). A
    payer-week shock of variance tau squared on the log odds scale adds tau squared x information to the
    variance of z. The median leaves a minority of true drifts without pull. 0 when the statistics wander less
    than chance.

    Source: DerSimonian R., Laird N., Control Clin Trials 1986;7:177-188 (the random-effects model); Devlin
    B., Roeder K., Biometrics 1999;55:997-1004 (the median as calibration).
    """
    squared = z * z

    def excess(tau_squared: float) -> float:
        return float(np.median(squared / (1.0 + tau_squared * information))) - NULL_MEDIAN

    if excess(0.0) <= 0:
        return 0.0
    # Each term is below the target once tau squared passes its own solution: the largest of those is an upper bound.
    top = 1.001 * float(np.max((squared / NULL_MEDIAN - 1.0) / information))
    return float(optimize.brentq(excess, 0.0, top, xtol=1e-14, rtol=1e-12))


def inflation(information: Floats, tau_squared: Floats | float) -> Floats:
    """The factor by which each statistic's standard deviation exceeds 1: sqrt(1 + tau squared x information)."""
    return np.asarray(np.sqrt(1.0 + tau_squared * information), dtype=np.float64)
