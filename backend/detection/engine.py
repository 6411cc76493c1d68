"""One detection run: counts of many cells in, judged tests out. Each test family's formulas live in its own module."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from backend.detection.config import Config, InvalidConfig
from backend.detection.dispersion import inflation, median_tau_squared
from backend.detection.fdr import q_values
from backend.detection.rates import rate_statistics
from backend.detection.statistics import CellStatistics
from backend.detection.types import (
    Bools,
    CellCounts,
    CellKey,
    Floats,
    PoolKey,
    PoolSample,
    ReasonNotFlagged,
    RunResult,
    TestResult,
    Tier,
)


def evaluate(counts: Sequence[CellCounts], *, pools: Mapping[PoolKey, PoolSample], config: Config) -> RunResult:
    """Every test of a run, judged against all others of the run; results in the order of `counts`.

    `pools` holds the raw statistics and informations of tested cells of the `config.pool_runs - 1` runs
    before this one; this run's are added. A pool with fewer than `config.pool_min_tests` takes the drift
    type's default dispersion.

    Raises:
        InvalidCounts: a stratum's counts contradict each other.
        InvalidConfig: a drift type of the counts has no knobs.
    """
    missing = {cell.drift_type for cell in counts} - config.types.keys()
    if missing:
        raise InvalidConfig(what="types", rule="given for every drift type that is tested")
    measured = rate_statistics(counts, config)
    tested = measured.enough & (measured.information >= config.min_information)
    keys = [cell.pool for cell in counts]
    tau_squared = _dispersions(keys, measured, tested, pools, config)
    spread = inflation(measured.information, np.array([tau_squared[key] for key in keys], dtype=np.float64))
    verdicts = _judge(counts, measured, tested, spread, config)
    results = tuple(_result(counts[i], measured, verdicts, i) for i in range(len(counts)))
    return RunResult(results, tau_squared)


def strongest(results: Iterable[TestResult]) -> dict[CellKey, TestResult]:
    """The significant test that speaks for each cell: the smallest q, then adjusted p, then the longer window."""
    best: dict[CellKey, TestResult] = {}
    for result in results:
        rival = best.get(result.cell)
        if result.significant and (rival is None or _rank(result) < _rank(rival)):
            best[result.cell] = result
    return best


def judged_cells(results: Iterable[TestResult]) -> frozenset[CellKey]:
    """The cells that a run could judge in at least one window: elsewhere the absence of a signal means nothing."""
    return frozenset(result.cell for result in results if result.tested)


def _rank(result: TestResult) -> tuple[float, float, int]:
    return (result.q_value, 1.0 if result.p_adjusted is None else result.p_adjusted, -result.window_days)


def _dispersions(
    keys: Sequence[PoolKey],
    measured: CellStatistics,
    tested: Bools,
    pools: Mapping[PoolKey, PoolSample],
    config: Config,
) -> dict[PoolKey, float]:
    members: defaultdict[PoolKey, list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        members[key]  # a pool whose cells are all untested is judged with the default
        if tested[i]:
            members[key].append(i)
    found = {}
    for key, indexes in members.items():
        earlier = pools.get(key)
        z, information = measured.z[indexes], measured.information[indexes]
        if earlier is not None:
            z = np.concatenate([z, earlier.z])
            information = np.concatenate([information, earlier.information])
        if len(z) < config.pool_min_tests:
            found[key] = config.types[key.drift_type].default_tau_squared
        else:
            found[key] = median_tau_squared(z, information)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Verdicts:
    """Parallel arrays over the cells of a run."""

    p_raw: Floats
    p_adjusted: Floats
    q: Floats
    ci_low: Floats
    ci_high: Floats
    tiers: list[Tier | None]
    reasons: list[ReasonNotFlagged | None]


def _judge(
    counts: Sequence[CellCounts], measured: CellStatistics, tested: Bools, spread: Floats, config: Config
) -> _Verdicts:
    p_raw = 2.0 * special.ndtr(-np.abs(measured.z))
    p_adjusted = 2.0 * special.ndtr(-np.abs(measured.z) / spread)
    q = np.ones(len(counts))
    q[tested] = q_values(p_adjusted[tested])
    q_undispersed = np.ones(len(counts))
    q_undispersed[tested] = q_values(p_raw[tested])
    half = special.ndtri((1.0 + config.confidence_level) / 2.0) * measured.effect_se * spread
    floors = np.array([config.types[cell.drift_type].min_effect for cell in counts], dtype=np.float64)
    large = np.abs(measured.effect) >= floors
    reasons: list[ReasonNotFlagged | None] = []
    for i in range(len(counts)):
        if not measured.enough[i]:
            reasons.append(ReasonNotFlagged.MIN_SAMPLE)
        elif not tested[i]:
            reasons.append(ReasonNotFlagged.INFORMATION)
        elif q[i] <= config.q_open:
            reasons.append(None if large[i] else ReasonNotFlagged.EFFECT_FLOOR)
        elif q_undispersed[i] <= config.q_open and large[i]:
            reasons.append(ReasonNotFlagged.DISPERSION)
        else:
            reasons.append(ReasonNotFlagged.FDR)
    tiers = [
        None if reason else Tier.CONFIRMED if q_value <= config.q_confirmed else Tier.OPEN
        for reason, q_value in zip(reasons, q, strict=True)
    ]
    return _Verdicts(p_raw, p_adjusted, q, measured.effect - half, measured.effect + half, tiers, reasons)


def _result(cell: CellCounts, measured: CellStatistics, verdicts: _Verdicts, i: int) -> TestResult:
    reason = verdicts.reasons[i]
    tested = reason not in {ReasonNotFlagged.MIN_SAMPLE, ReasonNotFlagged.INFORMATION}
    return TestResult(
        drift_type=cell.drift_type,
        level=cell.level,
        payer=cell.payer,
        group=cell.group,
        window_days=cell.window_days,
        n0=int(measured.n0[i]),
        n1=int(measured.n1[i]),
        x0=int(measured.x0[i]),
        x1=int(measured.x1[i]),
        baseline_value=_known(measured.baseline[i]),
        current_value=_known(measured.current[i]),
        effect=_known(measured.effect[i]),
        ci_low=_known(verdicts.ci_low[i]),
        ci_high=_known(verdicts.ci_high[i]),
        statistic=float(measured.z[i]) if tested else None,
        information=float(measured.information[i]),
        p_raw=float(verdicts.p_raw[i]) if tested else None,
        p_adjusted=float(verdicts.p_adjusted[i]) if tested else None,
        q_value=float(verdicts.q[i]),
        significant=reason is None,
        tier=verdicts.tiers[i],
        reason_not_flagged=reason,
    )


def _known(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)
