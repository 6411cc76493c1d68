"""The rate tests: score statistic, information and risk difference over strata, exact where counts are small."""

from collections.abc import Sequence

import numpy as np
from scipy import special

from backend.detection.config import Config
from backend.detection.statistics import CellStatistics
from backend.detection.strata import Strata, stack
from backend.detection.types import CellCounts, Floats


def rate_statistics(counts: Sequence[CellCounts], config: Config) -> CellStatistics:
    """The statistics of rate cells, in the order of their counts.

    Where the smallest of the four expected counts (with or without the outcome, baseline or current) is under
    `config.exact_below`, z is the normal quantile of the exact mid-p instead of the score's ratio.

    Raises:
        InvalidCounts: a stratum's counts contradict each other.
    """
    strata = stack(counts)
    score, information, smallest = score_and_information(strata)
    baseline, current, effect_se = standardised_rates(strata)
    totals = [strata.total(values) for values in (strata.n0, strata.n1, strata.x0, strata.x1)]
    n0, n1, x0, x1 = (np.rint(total).astype(np.int64) for total in totals)
    z = np.divide(score, np.sqrt(information), out=np.full(len(score), np.nan), where=information > 0)
    enough = (n1 >= config.min_current) & (n0 >= config.min_baseline)
    few = np.flatnonzero(enough & (information >= config.min_information) & (smallest < config.exact_below))
    z[few] = exact_z(strata, few)
    return CellStatistics(
        n0=n0,
        n1=n1,
        x0=x0,
        x1=x1,
        z=z,
        information=information,
        baseline=baseline,
        current=current,
        effect=current - baseline,
        effect_se=effect_se,
        enough=enough,
    )


def score_and_information(strata: Strata) -> tuple[Floats, Floats, Floats]:
    """Per cell: the score (current outcomes less expected), its variance, and the smallest of the four expected counts.

    score / sqrt(variance) is the Cochran-Mantel-Haenszel statistic without continuity correction, signed.

    Source: Mantel N., Haenszel W., J Natl Cancer Inst 1959;22:719-748: conditional on the margins of each
    stratum, x1 is hypergeometric with mean n1 m / N and variance n0 n1 m (N - m) / (N^2 (N - 1)), m = x0 +
    x1, N = n0 + n1 >= 2.
    """
    n = strata.n0 + strata.n1
    m = strata.x0 + strata.x1
    expected = strata.n1 * m / n
    variance = strata.n0 * strata.n1 * m * (n - m) / (n * n * (n - 1))
    with_outcome = strata.total(expected)
    without = strata.total(strata.n1) - with_outcome
    baseline_with = strata.total(m) - with_outcome
    baseline_without = strata.total(strata.n0) - baseline_with
    smallest = np.minimum.reduce([with_outcome, without, baseline_with, baseline_without])
    return strata.total(strata.x1 - expected), strata.total(variance), smallest


def standardised_rates(strata: Strata) -> tuple[Floats, Floats, Floats]:
    """Per cell: the rates of both windows over one mix of strata, and the standard error of their difference.

    The mix is the Mantel-Haenszel weight n0 n1 / N of each stratum, so current less baseline is the
    Mantel-Haenszel risk difference. NaN for a cell without strata.

    Source: Greenland S., Robins J., Biometrics 1985;41:55-68 (estimator); Sato T., Biometrics
    1989;45:1323-1324 (variance, valid for many small strata and for few large ones alike).
    """
    n = strata.n0 + strata.n1
    weight = strata.n0 * strata.n1 / n
    total = strata.total(weight)
    none = np.full(strata.cells, np.nan)
    known = total > 0
    baseline = np.divide(strata.total(weight * strata.x0 / strata.n0), total, out=none.copy(), where=known)
    current = np.divide(strata.total(weight * strata.x1 / strata.n1), total, out=none.copy(), where=known)
    p = (
        strata.n1**2 * strata.x0 - strata.n0**2 * strata.x1 + strata.n0 * strata.n1 * (strata.n0 - strata.n1) / 2
    ) / n**2
    q = (strata.x1 * (strata.n0 - strata.x0) + strata.x0 * (strata.n1 - strata.x1)) / (2 * n)
    # Rounding can leave a variance of 0 slightly negative.
    variance = np.maximum((current - baseline) * strata.total(p) + strata.total(q), 0.0)
    se = np.divide(np.sqrt(variance), total, out=none.copy(), where=known)
    return baseline, current, se


def exact_z(strata: Strata, cells: Sequence[int] | np.ndarray) -> Floats:
    """The normal quantile of the exact one-sided mid-p of each named cell; positive when the current window has more.

    The current outcomes of a cell are a sum of independent hypergeometric counts, one per stratum: their
    distribution is the convolution of the strata's. The nearer tail is summed, so that small p keep their
    digits.

    Source: Lancaster H. O., J Am Stat Assoc 1961;56:223-234 (mid-p); Gart J. J., Biometrika 1970;57:471-475
    (exact conditional test over strata).
    """
    starts = np.searchsorted(strata.cell, cells, side="left")
    ends = np.searchsorted(strata.cell, cells, side="right")
    return np.array([_exact_z(strata, slice(a, b)) for a, b in zip(starts, ends, strict=True)], dtype=np.float64)


def _exact_z(strata: Strata, rows: slice) -> float:
    n0, n1 = strata.n0[rows], strata.n1[rows]
    m = strata.x0[rows] + strata.x1[rows]
    low = np.maximum(m - n0, 0)
    high = np.minimum(m, n1)
    varying = np.flatnonzero(high > low)
    distribution = np.ones(1)
    for i in varying:
        distribution = np.convolve(distribution, _hypergeometric(n0[i], n1[i], m[i], low[i], high[i]))
    seen = round(float((strata.x1[rows] - low)[varying].sum()))
    half = distribution[seen] / 2
    upper = distribution[seen + 1 :].sum() + half
    lower = distribution[:seen].sum() + half
    tail, sign = (upper, 1.0) if upper <= lower else (lower, -1.0)
    return -sign * float(special.ndtri(tail))


def _hypergeometric(n0: float, n1: float, m: float, low: float, high: float) -> Floats:
    x = np.arange(low, high + 1)
    log_mass = -(
        special.gammaln(x + 1)
        + special.gammaln(n1 - x + 1)
        + special.gammaln(m - x + 1)
        + special.gammaln(n0 - m + x + 1)
    )
    mass = np.exp(log_mass - log_mass.max())
    return np.asarray(mass / mass.sum(), dtype=np.float64)
