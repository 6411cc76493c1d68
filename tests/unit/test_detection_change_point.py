"""The change date against brute force over every split, with simulated changes for its interval."""

import math
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from backend.detection.change_point import LIKELIHOOD_DROP, binomial_change
from backend.detection.types import Direction

FIRST = date(2025, 1, 6)

series = st.lists(
    st.integers(0, 12).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=2, max_size=40
)


def brute_splits(days):
    """Log likelihood and direction of every split with claims on both sides, by scipy's binomial."""
    found = {}
    for k in range(1, len(days)):
        sides = [(sum(x for x, _ in part), sum(n for _, n in part)) for part in (days[:k], days[k:])]
        if min(n for _, n in sides) == 0:
            continue
        rates = [x / n for x, n in sides]
        # The binomial coefficient of each day is the same for every split and drops out.
        likelihood = sum(
            stats.binom.logpmf(x, n, rate) - math.log(math.comb(n, x))
            for (x, n), rate in zip(sides, rates, strict=True)
        )
        found[k] = (likelihood, rates[1] - rates[0])
    return found


@settings(max_examples=120)
@given(series, st.sampled_from([None, Direction.UP, Direction.DOWN]))
def test_the_scan_finds_the_likeliest_split_and_all_that_are_not_excluded(days, direction):
    splits = brute_splits(days)
    sign = {None: 0, Direction.UP: 1, Direction.DOWN: -1}[direction]
    allowed = {k: like for k, (like, rise) in splits.items() if not sign or rise * sign > 1e-12}

    change = binomial_change(FIRST, [x for x, _ in days], [n for _, n in days], direction=direction)

    if not allowed:
        assert change is None
        return
    top = max(allowed.values())
    at = (change.change_on - FIRST).days
    assert allowed[at] == pytest.approx(top, abs=1e-8)
    kept = [k for k, like in allowed.items() if like >= top - LIKELIHOOD_DROP]
    assert (change.low_on - FIRST).days == kept[0] or edge(allowed, kept[0], top)
    assert (change.high_on - FIRST).days == kept[-1] or edge(allowed, kept[-1], top)
    x, n = sum(x for x, _ in days), sum(n for _, n in days)
    whole = stats.binom.logpmf(x, n, x / n) - math.log(math.comb(n, x))
    assert change.log_likelihood_ratio == pytest.approx(max(top - whole, 0), abs=1e-7)
    assert change.low_on <= change.change_on <= change.high_on


def edge(allowed, k, top):
    """Whether a split lies within rounding of the border of the interval."""
    return math.isclose(allowed[k], top - LIKELIHOOD_DROP, abs_tol=1e-7)


def test_a_clean_step_is_dated_to_its_first_day():
    change = binomial_change(FIRST, [0] * 20 + [5] * 10, [10] * 30, direction=Direction.UP)

    assert change.change_on == FIRST + timedelta(days=20)
    assert change.low_on == change.high_on == change.change_on


def test_the_date_is_a_day_with_claims():
    outcomes, totals = [0] * 10 + [0, 0] + [8] * 5, [10] * 10 + [0, 0] + [10] * 5

    change = binomial_change(FIRST, outcomes, totals)

    assert change.change_on == FIRST + timedelta(days=12)
    assert change.low_on == FIRST + timedelta(days=10)
    assert change.high_on == change.change_on


@pytest.mark.parametrize(
    ("outcomes", "totals", "direction"),
    [
        ([], [], None),
        ([1], [4], None),
        ([0, 0], [0, 4], None),
        ([3, 1], [4, 4], Direction.UP),
        ([1, 1], [4, 4], Direction.UP),
    ],
)
def test_there_is_no_date_without_a_split_in_the_direction(outcomes, totals, direction):
    assert binomial_change(FIRST, outcomes, totals, direction=direction) is None


def test_simulated_changes_are_dated_within_days_and_lie_in_the_interval():
    rng = np.random.default_rng(5)
    changed = FIRST + timedelta(days=84)
    errors, held = [], 0
    for _ in range(300):
        totals = rng.poisson(10, 112)
        outcomes = rng.binomial(totals, np.where(np.arange(112) < 84, 0.1, 0.22))
        change = binomial_change(FIRST, outcomes, totals, direction=Direction.UP)
        errors.append(abs((change.change_on - changed).days))
        held += change.low_on <= changed <= change.high_on

    assert np.median(errors) <= 4
    assert np.mean(np.array(errors) <= 7) >= 0.74
    assert 0.92 <= held / 300 <= 0.99
