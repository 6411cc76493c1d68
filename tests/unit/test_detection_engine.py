"""A whole run: multiplicity against statsmodels, dispersion pools, tiers, reasons, the strongest test, its work."""

from dataclasses import replace

import numpy as np
import pytest
from counted_work import counted
from scipy import stats
from statsmodels.stats.multitest import multipletests

from backend.detection.config import CLAIMS_CONFIG, Config, InvalidConfig
from backend.detection.dispersion import median_tau_squared
from backend.detection.drift_type import DriftType
from backend.detection.engine import evaluate, judged_cells, strongest
from backend.detection.types import CellCounts, CellKey, Direction, Level, PoolKey, PoolSample, ReasonNotFlagged, Tier

NO_DISPERSION = replace(
    CLAIMS_CONFIG,
    pool_min_tests=10**9,
    types={name: replace(knobs, default_tau_squared=0.0) for name, knobs in CLAIMS_CONFIG.types.items()},
)


def cell(rows, *, payer="P", group=None, drift_type=DriftType.DENIAL_RATE, window_days=28):
    x0, n0, x1, n1 = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    level = Level.PAYER if group is None else Level.PAYER_GROUP
    return CellCounts(drift_type, level, payer, group, window_days, x0, n0, x1, n1)


def null_cells(seed, payers=10, groups=9, codes=30, types=tuple(CLAIMS_CONFIG.types), shock=0.0):
    """Cells of a run in which nothing changed, but for random shocks of each cell on the log odds scale."""
    rng = np.random.default_rng(seed)
    found = []
    for window in CLAIMS_CONFIG.window_days:
        for drift_type in types:
            for payer in range(payers):
                for group in [None, *range(groups)]:
                    strata = codes if group is None else max(codes // groups, 1)
                    n0, n1 = rng.poisson(84 * 2, strata), rng.poisson(window * 2, strata)
                    odds = rng.normal(-2, 0.3, strata)
                    now = odds + rng.normal(0, shock) if shock else odds
                    x0 = rng.binomial(n0, 1 / (1 + np.exp(-odds)))
                    x1 = rng.binomial(n1, 1 / (1 + np.exp(-now)))
                    rows = np.column_stack([x0, n0, x1, n1])
                    found.append(cell(rows, payer=payer, group=group, drift_type=drift_type, window_days=window))
    return found


def test_q_values_are_benjamini_hochberg_over_all_judged_cells_of_the_run():
    counts = [*null_cells(1, payers=3), cell([(20, 400, 60, 200)]), cell([(1, 9, 9, 9)], payer="small")]

    run = evaluate(counts, pools={}, config=CLAIMS_CONFIG)

    tested = [result for result in run.results if result.tested]
    assert run.tests_total == len(tested) == len(counts) - 1
    assert [result.cell for result in run.results] == [cell.cell for cell in counts]
    oracle = multipletests([result.p_adjusted for result in tested], method="fdr_bh")[1]
    np.testing.assert_allclose([result.q_value for result in tested], oracle, rtol=1e-8)


def test_adjusted_p_and_interval_widen_by_the_dispersion_of_the_pool():
    counts = null_cells(2, shock=0.3)

    run = evaluate(counts, pools={}, config=CLAIMS_CONFIG)

    assert all(tau_squared > 0.01 for tau_squared in run.tau_squared.values())
    for result in run.results[:50]:
        widening = np.sqrt(1 + run.tau_squared[result.pool] * result.information)
        assert result.p_raw == pytest.approx(2 * stats.norm.sf(abs(result.statistic)))
        assert result.p_adjusted == pytest.approx(2 * stats.norm.sf(abs(result.statistic) / widening))
        plain = evaluate([counts[run.results.index(result)]], pools={}, config=NO_DISPERSION).results[0]
        assert result.ci_high - result.effect == pytest.approx((plain.ci_high - plain.effect) * widening)
        assert result.ci_low < result.effect < result.ci_high


def test_dispersion_is_solved_over_this_run_and_the_runs_before():
    counts = null_cells(3, payers=12, groups=0, types=(DriftType.DENIAL_RATE,))
    key = PoolKey(DriftType.DENIAL_RATE, Level.PAYER, 28)
    rng = np.random.default_rng(0)
    earlier = PoolSample(rng.normal(0, 3, 40), np.full(40, 20.0))

    run = evaluate(counts, pools={key: earlier}, config=CLAIMS_CONFIG)

    own = [(result.statistic, result.information) for result in run.results if result.pool == key]
    z = np.concatenate([[z for z, _ in own], earlier.z])
    information = np.concatenate([[i for _, i in own], earlier.information])
    assert run.tau_squared[key] == pytest.approx(median_tau_squared(z, information))
    assert run.tau_squared[key] > run.tau_squared[PoolKey(DriftType.DENIAL_RATE, Level.PAYER, 14)]


@pytest.mark.parametrize(("payers", "default"), [(9, True), (10, False)])
def test_a_pool_of_fewer_than_ten_tests_takes_the_default(payers, default):
    counts = null_cells(4, payers=payers, groups=0, types=(DriftType.APPROVAL_RATE,))

    run = evaluate(counts, pools={}, config=CLAIMS_CONFIG)

    shipped = CLAIMS_CONFIG.types[DriftType.APPROVAL_RATE].default_tau_squared
    assert all((tau_squared == shipped) is default for tau_squared in run.tau_squared.values())


@pytest.mark.parametrize(
    ("rows", "tier", "reason"),
    [
        ([(0, 44, 8, 15)], None, ReasonNotFlagged.MIN_SAMPLE),
        ([(0, 45, 8, 14)], None, ReasonNotFlagged.MIN_SAMPLE),
        ([(0, 45, 9, 15)], Tier.CONFIRMED, None),
        ([(1, 900, 2, 300)], None, ReasonNotFlagged.INFORMATION),
        ([(0, 90_000, 300, 30_000)], None, ReasonNotFlagged.EFFECT_FLOOR),
        ([(30, 300, 10, 100)], None, ReasonNotFlagged.FDR),
        ([(30, 300, 19, 100)], Tier.OPEN, None),
        ([(30, 300, 30, 100)], Tier.CONFIRMED, None),
    ],
)
def test_every_test_has_a_tier_or_the_reason_why_not(rows, tier, reason):
    result = evaluate([cell(rows)], pools={}, config=NO_DISPERSION).results[0]

    assert (result.tier, result.reason_not_flagged) == (tier, reason)
    assert result.significant is (reason is None)
    assert (result.q_value == 1.0) or result.tested
    assert (result.p_raw is None) is (result.statistic is None) is (not result.tested)


def test_a_difference_within_the_usual_shocks_is_called_dispersion():
    counts = cell([(100, 1000, 60, 400)])
    key = counts.pool
    shocks = PoolSample(np.full(50, 4.0), np.full(50, 30.0))

    calm = evaluate([counts], pools={}, config=NO_DISPERSION).results[0]
    rough = evaluate([counts], pools={key: shocks}, config=CLAIMS_CONFIG).results[0]

    assert calm.significant
    assert rough.reason_not_flagged is ReasonNotFlagged.DISPERSION
    assert rough.p_raw == calm.p_raw < rough.p_adjusted


def test_a_difference_too_small_to_matter_is_not_blamed_on_dispersion():
    counts = cell([(1000, 100_000, 1300, 100_000)])
    shocks = PoolSample(np.full(50, 4.0), np.full(50, 30.0))

    calm = evaluate([counts], pools={}, config=NO_DISPERSION).results[0]
    rough = evaluate([counts], pools={counts.pool: shocks}, config=CLAIMS_CONFIG).results[0]

    assert calm.reason_not_flagged is ReasonNotFlagged.EFFECT_FLOOR
    assert rough.reason_not_flagged is ReasonNotFlagged.FDR


def test_a_result_shows_the_counts_that_were_compared_and_their_direction():
    rows = [(10, 100, 30, 100), (5, 50, 0, 0)]

    fewer = evaluate([cell(rows, drift_type=DriftType.APPROVAL_RATE)], pools={}, config=NO_DISPERSION).results[0]

    assert (fewer.x0, fewer.n0, fewer.x1, fewer.n1) == (10, 100, 30, 100)
    assert (fewer.baseline_value, fewer.current_value) == (pytest.approx(0.1), pytest.approx(0.3))
    assert fewer.direction is Direction.UP
    assert not fewer.harmful
    assert fewer.cell == CellKey(DriftType.APPROVAL_RATE, "P", None)


def test_an_incomparable_cell_is_a_result_without_values():
    result = evaluate([cell([(5, 50, 0, 0)])], pools={}, config=CLAIMS_CONFIG).results[0]

    assert result.reason_not_flagged is ReasonNotFlagged.MIN_SAMPLE
    assert (result.baseline_value, result.effect, result.ci_low, result.statistic) == (None, None, None, None)
    assert (result.n0, result.information, result.q_value) == (0, 0.0, 1.0)


def test_the_strongest_window_speaks_for_a_cell():
    clear, clearer = [(30, 300, 19, 100)], [(30, 300, 30, 100)]
    counts = [
        cell(clear, window_days=14),
        cell(clearer, window_days=28),
        cell([(30, 300, 10, 100)], payer="quiet"),
        cell(clear, payer="Q", window_days=14),
        cell(clear, payer="Q", window_days=28),
    ]

    run = evaluate(counts, pools={}, config=NO_DISPERSION)

    best = strongest(run.results)
    assert {key.payer: result.window_days for key, result in best.items()} == {"P": 28, "Q": 28}
    assert best == strongest(reversed(run.results))
    assert run.tests_significant == 4


def test_only_cells_that_met_the_minimums_in_some_window_are_tested():
    counts = [
        cell([(3, 40, 3, 40)], payer="small"),
        cell([(3, 40, 3, 40)], payer="late", window_days=14),
        cell([(30, 400, 3, 40)], payer="late"),
    ]

    run = evaluate(counts, pools={}, config=CLAIMS_CONFIG)

    assert {key.payer for key in judged_cells(run.results)} == {"late"}


def test_shocks_of_every_cell_are_not_mistaken_for_drift():
    found = naive = 0
    for seed in range(6):
        counts = null_cells(100 + seed, shock=0.25)
        found += evaluate(counts, pools={}, config=CLAIMS_CONFIG).tests_significant
        naive += evaluate(counts, pools={}, config=NO_DISPERSION).tests_significant

    assert found <= 3
    assert naive > 80


def test_the_work_of_a_cell_is_that_of_a_few_array_elements():
    # The statistics of a run are made for all of its cells at once: one call into scipy a cell is fifty calls.
    few, many = (null_cells(5, payers=payers, shock=0.1) for payers in (5, 10))
    assert len(many) - len(few) == 300

    _, once = counted(lambda: evaluate(few, pools={}, config=CLAIMS_CONFIG), at_most=100_000)
    run, _ = counted(lambda: evaluate(many, pools={}, config=CLAIMS_CONFIG), at_most=once + 300 * 60)

    assert len(run.results) == 600


def test_a_run_without_cells_is_empty():
    run = evaluate([], pools={}, config=CLAIMS_CONFIG)

    assert run.results == ()
    assert run.tau_squared == {}


def test_a_type_without_knobs_is_refused():
    with pytest.raises(InvalidConfig, match="every drift type"):
        evaluate([cell([(1, 9, 1, 9)], drift_type=DriftType.DECISION_TIME)], pools={}, config=Config())
