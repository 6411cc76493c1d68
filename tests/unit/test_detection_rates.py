"""The rate statistics against statsmodels, brute force and their own symmetries."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import StratifiedTable

from backend.detection.config import CLAIMS_CONFIG
from backend.detection.drift_type import DriftType
from backend.detection.rates import exact_z, rate_statistics, score_and_information, standardised_rates
from backend.detection.strata import InvalidCounts, stack
from backend.detection.types import CellCounts, Level


def cell(rows, *, payer="P", group=None, drift_type=DriftType.DENIAL_RATE, window_days=28):
    """Rows are (x0, n0, x1, n1) per stratum."""
    x0, n0, x1, n1 = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    level = Level.PAYER if group is None else Level.PAYER_GROUP
    return CellCounts(drift_type, level, payer, group, window_days, x0, n0, x1, n1)


@st.composite
def stratum(draw, largest=60):
    n0, n1 = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    return (draw(st.integers(0, n0)), n0, draw(st.integers(0, n1)), n1)


strata_rows = st.lists(stratum(), min_size=1, max_size=8)


def random_rows(seed, strata=7, largest=400):
    rng = np.random.default_rng(seed)
    n0, n1 = rng.integers(20, largest, strata), rng.integers(20, largest, strata)
    p = rng.uniform(0.05, 0.6, strata)
    return np.column_stack([rng.binomial(n0, p), n0, rng.binomial(n1, np.clip(p + 0.08, 0, 1)), n1])


@pytest.mark.parametrize("seed", range(12))
def test_z_squared_is_the_cochran_mantel_haenszel_statistic_without_correction(seed):
    rows = random_rows(seed)
    tables = [np.array([[x1, n1 - x1], [x0, n0 - x0]]) for x0, n0, x1, n1 in rows]

    measured = rate_statistics([cell(rows)], CLAIMS_CONFIG)

    oracle = StratifiedTable(tables).test_null_odds(correction=False)
    assert measured.z[0] ** 2 == pytest.approx(oracle.statistic, rel=1e-8)
    assert 2 * stats.norm.sf(abs(measured.z[0])) == pytest.approx(oracle.pvalue, rel=1e-8)


@settings(max_examples=60)
@given(strata_rows)
def test_information_is_the_sum_of_hypergeometric_variances(rows):
    score, information, _ = score_and_information(stack([cell(rows)]))

    mean = variance = 0.0
    for x0, n0, x1, n1 in rows:
        x = np.arange(min(x0 + x1, n1) + 1)
        mass = stats.hypergeom(n0 + n1, x0 + x1, n1).pmf(x)
        mean += x @ mass
        variance += (x - x @ mass) ** 2 @ mass
    assert information[0] == pytest.approx(variance, rel=1e-8, abs=1e-9)
    assert score[0] == pytest.approx(sum(row[2] for row in rows) - mean, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("seed", range(6))
def test_effect_is_the_mantel_haenszel_risk_difference_and_the_difference_of_the_shown_rates(seed):
    rows = random_rows(seed)
    x0, n0, x1, n1 = rows.T

    baseline, current, se = standardised_rates(stack([cell(rows)]))

    weights = n0 * n1 / (n0 + n1)
    assert current[0] - baseline[0] == pytest.approx(np.average(x1 / n1 - x0 / n0, weights=weights), rel=1e-10)
    assert baseline[0] == pytest.approx(np.average(x0 / n0, weights=weights), rel=1e-10)
    # With few large strata Sato's variance meets the one of Greenland and Robins.
    greenland_robins = (
        (x1 * (n1 - x1) * n0**3.0 + x0 * (n0 - x0) * n1**3.0) / (n1 * n0 * (n0 + n1) ** 2.0)
    ).sum() / weights.sum() ** 2
    assert se[0] ** 2 == pytest.approx(greenland_robins, rel=0.06)


def test_standard_error_is_right_where_strata_are_many_and_sparse():
    rng = np.random.default_rng(3)
    n0, n1 = np.full(80, 3), np.full(80, 2)
    p = rng.uniform(0.1, 0.4, 80)
    cells = [cell(np.column_stack([rng.binomial(n0, p), n0, rng.binomial(n1, p + 0.1), n1])) for _ in range(3000)]

    measured = rate_statistics(cells, CLAIMS_CONFIG)

    assert np.mean(measured.effect) == pytest.approx(0.1, abs=0.003)
    assert np.mean(measured.effect_se**2) == pytest.approx(np.var(measured.effect), rel=0.08)
    covered = np.abs(measured.effect - 0.1) <= 1.96 * measured.effect_se
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


def brute_mid_p(rows):
    """The one-sided mid-p by enumerating every outcome of every stratum."""
    laws = [stats.hypergeom(n0 + n1, x0 + x1, n1) for x0, n0, x1, n1 in rows]
    supports = [range(max(0, x0 + x1 - n0), min(x0 + x1, n1) + 1) for x0, n0, x1, n1 in rows]
    seen = sum(row[2] for row in rows)
    upper = lower = 0.0
    for outcome in itertools.product(*supports):
        mass = math.prod(law.pmf(x) for law, x in zip(laws, outcome, strict=True))
        upper += mass * (sum(outcome) > seen) + mass / 2 * (sum(outcome) == seen)
        lower += mass * (sum(outcome) < seen) + mass / 2 * (sum(outcome) == seen)
    return upper, lower


@settings(max_examples=80)
@given(st.lists(stratum(largest=9), min_size=1, max_size=3))
def test_exact_z_is_the_normal_quantile_of_the_brute_force_mid_p(rows):
    z = exact_z(stack([cell(rows)]), [0])[0]

    upper, lower = brute_mid_p(rows)
    assert stats.norm.sf(z) == pytest.approx(upper, rel=1e-8)
    assert stats.norm.cdf(z) == pytest.approx(lower, rel=1e-8)


def test_small_expected_counts_are_exact_and_large_ones_are_not():
    few = [(3, 200, 6, 40)]
    many = [(90, 200, 30, 40)]

    measured = rate_statistics([cell(few), cell(many)], CLAIMS_CONFIG)

    score, information, smallest = score_and_information(stack([cell(few), cell(many)]))
    assert smallest[0] < 8 <= smallest[1]
    assert measured.z[0] == pytest.approx(stats.norm.isf(brute_mid_p(few)[0]), rel=1e-8)
    assert measured.z[0] != pytest.approx(score[0] / math.sqrt(information[0]), rel=1e-2)
    assert measured.z[1] == pytest.approx(score[1] / math.sqrt(information[1]), rel=1e-12)


def test_exact_tail_keeps_its_digits():
    rows = [(0, 2000, 30, 60)]

    z = exact_z(stack([cell(rows)]), [0])[0]

    upper = stats.hypergeom(2060, 30, 60).pmf(30) / 2
    assert upper < 1e-40
    assert stats.norm.logsf(z) == pytest.approx(math.log(upper), rel=1e-6)


@settings(max_examples=80)
@given(strata_rows)
def test_swapping_the_windows_flips_the_sign(rows):
    swapped = [(x1, n1, x0, n0) for x0, n0, x1, n1 in rows]
    config = CLAIMS_CONFIG.overridden()

    measured = rate_statistics([cell(rows), cell(swapped)], config)

    assert measured.information[0] == pytest.approx(measured.information[1], rel=1e-12)
    assert measured.effect[0] == pytest.approx(-measured.effect[1], abs=1e-12)
    score, _, smallest = score_and_information(stack([cell(rows), cell(swapped)]))
    assert score[0] == pytest.approx(-score[1], abs=1e-9)
    assert smallest[0] == pytest.approx(smallest[1])
    exact = exact_z(stack([cell(rows), cell(swapped)]), [0, 1])
    assert exact[0] == pytest.approx(-exact[1], abs=1e-7)


@settings(max_examples=80)
@given(strata_rows)
def test_counting_the_other_outcome_flips_the_sign(rows):
    others = [(n0 - x0, n0, n1 - x1, n1) for x0, n0, x1, n1 in rows]

    strata = stack([cell(rows), cell(others)])
    score, information, _ = score_and_information(strata)
    baseline, _, se = standardised_rates(strata)

    assert score[0] == pytest.approx(-score[1], abs=1e-9)
    assert information[0] == pytest.approx(information[1], rel=1e-12)
    assert baseline[0] == pytest.approx(1 - baseline[1], abs=1e-12)
    assert se[0] ** 2 == pytest.approx(se[1] ** 2, abs=1e-12)


@settings(max_examples=80)
@given(strata_rows, st.integers(1, 50), st.integers(1, 50), st.integers(1, 50))
def test_strata_without_comparison_change_nothing(rows, only_before, only_now, same):
    assume(only_before >= 1)
    idle = [(only_before // 2, only_before, 0, 0), (0, 0, only_now // 2, only_now), (0, 0, 0, 0)]

    measured = rate_statistics([cell(rows), cell([*rows, *idle])], CLAIMS_CONFIG)

    for values in (measured.z, measured.effect, measured.effect_se, measured.information, measured.n0, measured.n1):
        np.testing.assert_array_equal(values[0], values[1])


@settings(max_examples=40)
@given(strata_rows, st.integers(1, 50), st.integers(1, 50))
def test_a_stratum_without_outcomes_adds_no_score_and_no_information(rows, n0, n1):
    score, information, _ = score_and_information(stack([cell(rows), cell([*rows, (0, n0, 0, n1)])]))

    assert score[0] == pytest.approx(score[1], abs=1e-9)
    assert information[0] == pytest.approx(information[1], rel=1e-12)


def test_mix_shift_alone_has_no_effect():
    # 10 % of one code and 50 % of the other are denied throughout; the current window has far more of the second.
    shifted = [(40, 400, 2, 20), (50, 100, 100, 200)]

    measured = rate_statistics([cell(shifted)], CLAIMS_CONFIG)

    assert measured.effect[0] == pytest.approx(0, abs=1e-12)
    assert measured.z[0] == pytest.approx(0, abs=1e-9)


def test_a_cell_without_shared_strata_has_counts_of_zero_and_no_values():
    measured = rate_statistics([cell([(1, 9, 0, 0)]), cell([])], CLAIMS_CONFIG)

    assert measured.n0.tolist() == measured.n1.tolist() == [0, 0]
    assert np.isnan(measured.z).all()
    assert np.isnan(measured.effect).all()
    assert not measured.enough.any()


@pytest.mark.parametrize("rows", [[(5, 4, 1, 9)], [(1, 4, 10, 9)], [(-1, 4, 1, 9)]])
def test_impossible_counts_are_refused(rows):
    with pytest.raises(InvalidCounts):
        stack([cell(rows)])


def test_arrays_of_different_lengths_are_refused():
    good = cell([(1, 4, 1, 9), (1, 4, 1, 9)])
    bad = CellCounts(good.drift_type, good.level, "P", None, 28, good.x0[:1], good.n0[:1], good.x1[:1], good.n1)
    longer = CellCounts(good.drift_type, good.level, "P", None, 28, good.x0, good.n0, good.x1, good.n1[:1])

    for counts in ([bad], [bad, longer]):
        with pytest.raises(InvalidCounts):
            stack(counts)
