"""Dispersion, q values, severity, revenue, windows and configuration: each formula against its definition."""

import hashlib
import json
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from backend.detection.assessment import assess
from backend.detection.config import CLAIMS_CONFIG, PERIODS_CONFIG, Config, InvalidConfig
from backend.detection.dispersion import NULL_MEDIAN, inflation, median_tau_squared
from backend.detection.drift_type import DriftType
from backend.detection.fdr import q_values
from backend.detection.revenue import RevenueAtRisk, monthly_exposure_cents, revenue_at_risk
from backend.detection.severity import severity_band, severity_score
from backend.detection.types import HARMFUL_DIRECTION, RATE_TYPES, Direction, Level, PoolKey, Severity, TestResult, Tier
from backend.detection.windows import Windows, windows_for

finite = st.floats(-30, 30, allow_nan=False)
pool = st.lists(st.tuples(finite, st.floats(0.8, 500)), min_size=1, max_size=60)


@settings(max_examples=150)
@given(pool)
def test_tau_squared_brings_the_median_to_that_of_chi_squared_or_is_zero(tests):
    z, information = np.array(tests).T

    tau_squared = median_tau_squared(z, information)

    median = np.median(z**2 / (1 + tau_squared * information))
    assert tau_squared >= 0
    if tau_squared == 0:
        assert median <= NULL_MEDIAN
    else:
        assert median == pytest.approx(NULL_MEDIAN, rel=1e-6)


def test_null_median_is_that_of_chi_squared_with_one_degree():
    assert pytest.approx(stats.chi2.median(1), rel=1e-12) == NULL_MEDIAN


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(-0.67, 0.67), st.floats(0.8, 500)), min_size=1, max_size=40))
def test_tau_squared_is_zero_when_statistics_wander_no_more_than_chance(tests):
    z, information = np.array(tests).T

    assert median_tau_squared(z, information) == 0.0


def test_tau_squared_is_recovered_and_a_minority_of_drifts_has_little_pull():
    rng = np.random.default_rng(11)
    information = rng.uniform(2, 80, 4000)
    z = rng.normal(0, np.sqrt(1 + 0.05 * information))
    drifted = z.copy()
    drifted[:200] += 12

    assert median_tau_squared(z, information) == pytest.approx(0.05, rel=0.12)
    moments = (np.mean(drifted**2) - 1) / np.mean(information)
    assert median_tau_squared(drifted, information) < 0.07
    assert moments > 0.2
    assert inflation(np.array([20.0]), 0.05)[0] == pytest.approx(np.sqrt(2))


p_values = st.lists(st.floats(0, 1), min_size=1, max_size=80)


@settings(max_examples=150)
@given(p_values)
def test_q_values_are_those_of_statsmodels(p):
    np.testing.assert_allclose(q_values(np.array(p)), multipletests(p, method="fdr_bh")[1], rtol=1e-8, atol=1e-12)


@settings(max_examples=100)
@given(p_values)
def test_q_values_rise_with_p_and_never_lie_below_it(p):
    q = q_values(np.array(p))

    assert (np.diff(q[np.argsort(p, kind="stable")]) >= 0).all()
    assert (q >= np.array(p) * (1 - 1e-12)).all()
    assert (q <= 1).all()


def test_no_tests_have_no_q_values():
    assert q_values(np.empty(0)).tolist() == []


@pytest.mark.parametrize(
    ("low", "high", "score"),
    [(-0.01, 0.2, 0), (0, 0.2, 0), (0.03, 0.9, 0.2), (-0.9, -0.06, 0.4), (0.15, 0.2, 1), (0.4, 0.5, 1)],
)
def test_severity_scores_the_bound_nearest_zero(low, high, score):
    assert severity_score(low, high, 0.15) == pytest.approx(score)


@pytest.mark.parametrize(
    ("score", "band"),
    [
        (0, Severity.LOW),
        (0.2499, Severity.LOW),
        (0.25, Severity.MEDIUM),
        (0.4999, Severity.MEDIUM),
        (0.5, Severity.HIGH),
        (0.75, Severity.CRITICAL),
        (1, Severity.CRITICAL),
    ],
)
def test_severity_bands_and_their_lift_by_revenue(score, band):
    assert severity_band(score) is band
    assert severity_band(score, revenue_cents=100, lift_above_cents=100) is band
    lifted = severity_band(score, revenue_cents=101, lift_above_cents=100)
    assert lifted == min(band + 1, Severity.CRITICAL)


def test_exposure_is_the_allowed_amount_of_thirty_days_at_baseline_medians():
    assert monthly_exposure_cents([10, 4], [20_000, 5_000], 14) == pytest.approx(220_000 * 30 / 14)


def test_revenue_at_risk_follows_the_harmful_direction():
    bounds = {"exposure_cents": 1_000_000, "lost_share": 0.8}

    denials = revenue_at_risk(DriftType.DENIAL_RATE, effect=0.1, ci_low=-0.02, ci_high=0.2, **bounds)
    approvals = revenue_at_risk(DriftType.APPROVAL_RATE, effect=-0.1, ci_low=-0.2, ci_high=-0.05, **bounds)
    better = revenue_at_risk(DriftType.AUTH_FAILURE_RATE, effect=-0.1, ci_low=-0.2, ci_high=-0.05, **bounds)

    assert denials == RevenueAtRisk(80_000, 0, 160_000)
    assert approvals == RevenueAtRisk(80_000, 40_000, 160_000)
    assert better == RevenueAtRisk(0, 0, 0)


def result(**changes):
    values = {
        "drift_type": DriftType.DENIAL_RATE,
        "level": Level.PAYER,
        "payer": "P",
        "group": None,
        "window_days": 28,
        "n0": 300,
        "n1": 100,
        "x0": 30,
        "x1": 25,
        "baseline_value": 0.1,
        "current_value": 0.25,
        "effect": 0.15,
        "ci_low": 0.06,
        "ci_high": 0.24,
        "statistic": 3.8,
        "information": 11.0,
        "p_raw": 1e-4,
        "p_adjusted": 1e-3,
        "q_value": 0.008,
        "significant": True,
        "tier": Tier.CONFIRMED,
        "reason_not_flagged": None,
    }
    return TestResult(**values | changes)


def test_an_assessment_gathers_what_an_analyst_reads():
    lifting = CLAIMS_CONFIG.overridden(revenue_lift_cents=100_000)

    plain = assess(result(), config=CLAIMS_CONFIG, exposure_cents=1_000_000)
    overturned = assess(result(), config=lifting, exposure_cents=1_000_000, lost_share=0.5)
    lifted = assess(result(), config=lifting, exposure_cents=1_000_000)

    assert (plain.severity, plain.severity_score) == (Severity.MEDIUM, pytest.approx(0.4))
    assert plain.confidence == pytest.approx(0.992)
    assert plain.delta == 0.15
    assert plain.revenue == RevenueAtRisk(150_000, 60_000, 240_000)
    assert (overturned.severity, overturned.revenue.cents) == (Severity.MEDIUM, 75_000)
    assert lifted.severity is Severity.HIGH


def test_an_untested_result_cannot_be_assessed():
    with pytest.raises(ValueError, match="untested"):
        assess(result(effect=None), config=CLAIMS_CONFIG)


@pytest.mark.parametrize("window_days", [14, 28])
@pytest.mark.parametrize("as_of", [date(2025, 3, 2), date(2024, 2, 29)])
def test_windows_touch_and_hold_whole_weeks(as_of, window_days):
    windows = windows_for(as_of, window_days, config=CLAIMS_CONFIG)

    assert windows.current_end == as_of
    assert (windows.current_end - windows.current_start).days + 1 == window_days
    assert windows.current_start - windows.baseline_end == timedelta(days=1)
    assert (windows.baseline_end - windows.baseline_start).days + 1 == 84


def test_a_live_change_freezes_the_baseline_before_it():
    change_on = date(2025, 3, 10)

    later = windows_for(date(2025, 9, 7), 28, config=CLAIMS_CONFIG, change_on=change_on)
    within = windows_for(date(2025, 3, 16), 28, config=CLAIMS_CONFIG, change_on=change_on)

    assert later == Windows(date(2024, 12, 16), date(2025, 3, 9), date(2025, 8, 11), date(2025, 9, 7))
    assert within == windows_for(date(2025, 3, 16), 28, config=CLAIMS_CONFIG)


def test_config_is_restored_from_its_canonical_json_with_the_same_hash():
    config = CLAIMS_CONFIG.overridden(q=0.1, window_days=(28, 7), min_effect=0.04)

    text = config.canonical_json()

    assert Config.from_json(json.loads(text)) == config
    assert Config.from_json({}) == CLAIMS_CONFIG
    assert config.digest() == hashlib.sha256(text.encode()).digest() != CLAIMS_CONFIG.digest()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    assert PERIODS_CONFIG.digest() != CLAIMS_CONFIG.digest()


def test_overrides_change_what_they_name():
    config = CLAIMS_CONFIG.overridden(q=0.1, window_days=(28, 7), min_effect=0.04, revenue_lift_cents=5)

    assert config.q_open == 0.1
    assert config.window_days == (7, 28)
    assert {knobs.min_effect for knobs in config.types.values()} == {0.04}
    assert config.revenue_lift_cents == 5
    assert CLAIMS_CONFIG.overridden() == CLAIMS_CONFIG


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ({"q": 0.0}, "q"),
        ({"q": 0.6}, "q"),
        ({"window_days": ()}, "windows"),
        ({"window_days": (10,)}, "windows"),
        ({"window_days": (0,)}, "windows"),
        ({"window_days": (91,)}, "windows"),
        ({"window_days": (14, 28, 14)}, "windows"),
        ({"min_effect": -0.1}, "minEffect"),
        ({"min_effect": 1.0}, "minEffect"),
        ({"revenue_lift_cents": 0}, "revenueLift"),
    ],
)
def test_overrides_outside_their_range_are_refused_by_name(override, path):
    with pytest.raises(InvalidConfig) as refused:
        CLAIMS_CONFIG.overridden(**override)

    assert refused.value.path == ("config", path)
    assert path in refused.value.message


def test_a_longer_watch_list_confirms_nothing_sooner():
    assert [CLAIMS_CONFIG.overridden(q=q).q_confirmed for q in (0.005, 0.05, 0.5)] == [0.005, 0.01, 0.01]
    assert CLAIMS_CONFIG.overridden(q=0.005).overridden(q=0.2).q_confirmed == 0.01


def test_figures_per_period_have_no_windows_of_their_own():
    with pytest.raises(InvalidConfig, match="the periods are the windows"):
        PERIODS_CONFIG.overridden(window_days=(14,))


def test_every_type_has_a_harmful_direction_and_every_rate_has_knobs():
    assert set(HARMFUL_DIRECTION) == set(DriftType)
    assert HARMFUL_DIRECTION[DriftType.APPROVAL_RATE] is Direction.DOWN
    assert set(CLAIMS_CONFIG.types) == set(PERIODS_CONFIG.types) == RATE_TYPES
    assert str(PoolKey(DriftType.DENIAL_RATE, Level.PAYER, 14)) == "DENIAL_RATE/PAYER/14"
