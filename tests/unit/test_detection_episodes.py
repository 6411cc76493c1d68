"""The state machine of episodes: every transition, human decisions, repeated and old runs, parents."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.detection.config import CLAIMS_CONFIG, PERIODS_CONFIG
from backend.detection.drift_type import DriftType
from backend.detection.episodes import (
    ACTIVE,
    Episode,
    EpisodeKey,
    EpisodeStatus,
    TransitionKind,
    advance,
    freezes_baseline,
)
from backend.detection.types import Direction, Level, ReasonNotFlagged, TestResult, Tier

START = date(2025, 6, 1)
KEY = EpisodeKey(DriftType.DENIAL_RATE, "P", "G", Direction.UP)
ENDS = {TransitionKind.RESOLVE, TransitionKind.END, TransitionKind.EXPIRE}
HUMAN = [EpisodeStatus.ACKNOWLEDGED, EpisodeStatus.DISMISSED]


def sighting(key=KEY, *, q=0.03, window_days=28, effect=0.1):
    """A test of the key's cell; significant when q is at most 5 %, untested when q is None.

    `effect` counts in the direction of the key; the floor of the type is 0.03.
    """
    effect = effect if key.direction is Direction.UP else -effect
    significant = q is not None and q <= 0.05
    untested = ReasonNotFlagged.MIN_SAMPLE if q is None else ReasonNotFlagged.FDR
    tier = (Tier.CONFIRMED if q <= 0.01 else Tier.OPEN) if significant else None
    return TestResult(
        drift_type=key.drift_type,
        level=Level.PAYER if key.group is None else Level.PAYER_GROUP,
        payer=key.payer,
        group=key.group,
        window_days=window_days,
        n0=300,
        n1=100,
        x0=30,
        x1=20,
        baseline_value=0.1,
        current_value=0.1 + effect,
        effect=effect,
        ci_low=effect - 0.05,
        ci_high=effect + 0.05,
        statistic=None if q is None else 3.0,
        information=10.0,
        p_raw=None if q is None else q / 10,
        p_adjusted=None if q is None else q / 10,
        q_value=1.0 if q is None else q,
        significant=significant,
        tier=tier,
        reason_not_flagged=None if significant else untested,
    )


def gone(key=KEY, *, window_days=28):
    """A test that could tell, and shows no change worth the name."""
    return sighting(key, q=0.5, window_days=window_days, effect=0.01)


def live(status=EpisodeStatus.OPEN, *, key=KEY, seen=START, **changes):
    values = {"first_seen_on": seen, "last_seen_on": seen, "last_run_on": seen, "streak_started_on": seen, "ref": 7}
    return Episode(**{"key": key, "status": status} | values | changes)


def step(episodes, results, days=7, config=CLAIMS_CONFIG):
    return advance(episodes, results, as_of=START + timedelta(days=days), config=config)


def only(found):
    (transition,) = found.transitions
    return transition.kind, transition.episode


@pytest.mark.parametrize(("q", "status"), [(0.03, EpisodeStatus.OPEN), (0.01, EpisodeStatus.CONFIRMED)])
def test_a_new_sign_opens_an_episode_on_the_watch_list_or_confirmed(q, status):
    kind, episode = only(step([], [sighting(q=q)]))

    assert (kind, episode.status, episode.key, episode.ref) == (TransitionKind.OPEN, status, KEY, None)
    assert episode.first_seen_on == episode.last_seen_on == episode.streak_started_on == START + timedelta(days=7)
    assert (episode.consecutive_runs, episode.misses, episode.ended_on) == (1, 0, None)


def test_tests_that_are_not_significant_open_nothing():
    assert step([], [sighting(q=0.06), sighting(q=None)]).transitions == ()


def test_one_episode_is_opened_by_the_strongest_of_its_windows():
    found = step([], [sighting(q=0.03, window_days=14), sighting(q=0.002)])

    (transition,) = found.transitions
    assert transition.signal.window_days == 28
    assert transition.episode.status is EpisodeStatus.CONFIRMED


@pytest.mark.parametrize(
    ("days", "q", "kind", "status"),
    [
        (7, 0.03, TransitionKind.CONFIRM, EpisodeStatus.CONFIRMED),
        (6, 0.03, TransitionKind.CONFIRM, EpisodeStatus.CONFIRMED),
        (5, 0.03, TransitionKind.OBSERVE, EpisodeStatus.OPEN),
        (1, 0.009, TransitionKind.CONFIRM, EpisodeStatus.CONFIRMED),
    ],
)
def test_the_watch_list_is_confirmed_by_certainty_or_by_recurring_six_days_on(days, q, kind, status):
    found, episode = only(step([live()], [sighting(q=q)], days))

    assert (found, episode.status, episode.consecutive_runs) == (kind, status, 2)
    assert (episode.first_seen_on, episode.streak_started_on, episode.ref) == (START, START, 7)
    assert episode.last_seen_on == episode.last_run_on == START + timedelta(days=days)


def test_daily_runs_confirm_once_the_streak_spans_six_days():
    episode, kinds = live(), []
    for day in range(1, 8):
        kind, episode = only(step([episode], [sighting()], day))
        kinds.append(kind)

    assert kinds[:5] == [TransitionKind.OBSERVE] * 5
    assert kinds[5:] == [TransitionKind.CONFIRM, TransitionKind.OBSERVE]


def test_a_miss_breaks_the_streak():
    kind, missed = only(step([live()], [gone()], 7))
    back_kind, back = only(step([missed], [sighting()], 14))

    assert (kind, missed.misses, missed.consecutive_runs, missed.status) == (
        TransitionKind.MISS,
        1,
        0,
        EpisodeStatus.OPEN,
    )
    assert missed.last_seen_on == START
    assert (back_kind, back.status, back.consecutive_runs) == (TransitionKind.OBSERVE, EpisodeStatus.OPEN, 1)
    assert (back.streak_started_on, back.misses) == (START + timedelta(days=14), 0)
    assert only(step([back], [sighting()], 21))[0] is TransitionKind.CONFIRM


@pytest.mark.parametrize("status", [EpisodeStatus.OPEN, EpisodeStatus.CONFIRMED, EpisodeStatus.ACKNOWLEDGED])
def test_an_episode_resolves_when_its_sign_is_gone_for_two_runs(status):
    _, once = only(step([live(status)], [gone(), gone(window_days=14)], 7))
    kind, twice = only(step([once], [gone(), gone(window_days=14)], 14))

    assert once.status is status
    assert (kind, twice.status, twice.ended_on) == (
        TransitionKind.RESOLVE,
        EpisodeStatus.RESOLVED,
        START + timedelta(days=14),
    )


@pytest.mark.parametrize("status", [*sorted(ACTIVE), EpisodeStatus.DISMISSED])
def test_a_lasting_change_outlives_weeks_that_do_not_prove_it(status):
    episode, kinds = live(status), set()

    for week in range(1, 20):
        kind, episode = only(step([episode], [sighting(q=0.6, effect=0.05)], 7 * week))
        kinds.add(kind)

    assert kinds == {TransitionKind.HOLD}
    assert (episode.status, episode.misses, episode.ended_on) == (status, 0, None)
    assert (episode.last_seen_on, episode.last_run_on) == (START, START + timedelta(weeks=19))


@pytest.mark.parametrize(
    ("results", "kind"),
    [
        ([sighting(q=0.5, effect=0.03)], TransitionKind.HOLD),
        ([sighting(q=0.5, effect=0.0299)], TransitionKind.MISS),
        ([sighting(q=0.5, effect=-0.2)], TransitionKind.MISS),
        ([gone(), sighting(q=0.5, window_days=14)], TransitionKind.HOLD),
        ([gone(), sighting(q=None, window_days=14)], TransitionKind.MISS),
        ([sighting(KEY._replace(direction=Direction.DOWN))], TransitionKind.MISS),
    ],
)
def test_a_sign_stands_while_a_test_shows_the_effect_floor_in_its_direction(results, kind):
    (transition, *_) = step([live()], results).transitions

    assert transition.kind is kind
    assert transition.signal is None


def test_the_floor_is_that_of_the_run():
    higher = CLAIMS_CONFIG.overridden(min_effect=0.11)

    assert only(step([live()], [sighting(q=0.5)], config=higher))[0] is TransitionKind.MISS


def test_holding_breaks_the_streak_and_forgets_a_miss():
    _, missed = only(step([live(EpisodeStatus.CONFIRMED)], [gone()], 7))
    kind, held = only(step([missed], [sighting(q=0.5)], 14))
    again, missed_again = only(step([held], [gone()], 21))

    assert (kind, held.misses, held.consecutive_runs) == (TransitionKind.HOLD, 0, 0)
    assert (again, missed_again.misses, missed_again.ended_on) == (TransitionKind.MISS, 1, None)


def test_two_sightings_with_a_held_run_between_them_are_no_recurrence():
    _, held = only(step([live()], [sighting(q=0.2)], 7))
    kind, back = only(step([held], [sighting()], 14))

    assert (kind, back.status, back.consecutive_runs) == (TransitionKind.OBSERVE, EpisodeStatus.OPEN, 1)
    assert back.streak_started_on == START + timedelta(days=14)
    assert only(step([back], [sighting()], 21))[0] is TransitionKind.CONFIRM


def test_a_dismissed_episode_swallows_its_sightings_until_the_sign_is_gone():
    kind, seen = only(step([live(EpisodeStatus.DISMISSED)], [sighting(q=0.0001)], 7))
    _, once = only(step([seen], [gone()], 14))
    end, ended = only(step([once], [gone()], 21))
    news, episode = only(step([], [sighting()], 28))

    assert (kind, seen.status, seen.ended_on) == (TransitionKind.OBSERVE, EpisodeStatus.DISMISSED, None)
    assert (end, ended.status, ended.ended_on) == (
        TransitionKind.END,
        EpisodeStatus.DISMISSED,
        START + timedelta(days=21),
    )
    assert (news, episode.status) == (TransitionKind.OPEN, EpisodeStatus.OPEN)


@pytest.mark.parametrize("q", [0.03, 0.0001])
def test_an_acknowledged_episode_goes_on_being_observed(q):
    kind, episode = only(step([live(EpisodeStatus.ACKNOWLEDGED)], [sighting(q=q)]))

    assert (kind, episode.status, episode.consecutive_runs) == (
        TransitionKind.OBSERVE,
        EpisodeStatus.ACKNOWLEDGED,
        2,
    )


def test_a_cell_that_could_not_be_tested_is_neither_seen_nor_missed():
    for days in (7, 84):
        assert step([live()], [sighting(q=None)], days).transitions == ()
        assert step([live()], [], days).transitions == ()


@pytest.mark.parametrize(
    ("status", "kind", "after"),
    [
        (EpisodeStatus.CONFIRMED, TransitionKind.EXPIRE, EpisodeStatus.EXPIRED),
        (EpisodeStatus.DISMISSED, TransitionKind.END, EpisodeStatus.DISMISSED),
    ],
)
def test_an_episode_expires_when_its_cell_was_untestable_for_too_long(status, kind, after):
    found, episode = only(step([live(status)], [], 85))

    assert (found, episode.status, episode.ended_on) == (kind, after, START + timedelta(days=85))


def test_the_wait_for_a_test_begins_with_the_last_one_whatever_it_showed():
    held = live(EpisodeStatus.CONFIRMED, last_run_on=START + timedelta(days=80))

    assert step([held], [], 160).transitions == ()
    assert only(step([held], [], 165))[0] is TransitionKind.EXPIRE


@pytest.mark.parametrize(
    ("period_days", "still", "over"),
    [
        (30, ["2025-07-31", "2025-08-31"], "2025-09-30"),
        (91, ["2025-09-30", "2025-12-31"], "2026-03-31"),
        (365, ["2025-12-31", "2026-06-30", "2027-06-30"], "2028-06-30"),
    ],
)
def test_an_episode_of_period_figures_expires_by_missed_periods(period_days, still, over):
    episode = live(EpisodeStatus.CONFIRMED, seen=date(2025, 6, 30), period_days=period_days)

    for day in still:
        assert advance([episode], [], as_of=date.fromisoformat(day), config=PERIODS_CONFIG).transitions == ()
    kind, ended = only(advance([episode], [], as_of=date.fromisoformat(over), config=PERIODS_CONFIG))
    assert (kind, ended.status) == (TransitionKind.EXPIRE, EpisodeStatus.EXPIRED)


def test_the_opposite_direction_is_another_episode():
    down = KEY._replace(direction=Direction.DOWN)

    found = step([live()], [sighting(down)])

    assert [(t.kind, t.episode.key.direction) for t in found.transitions] == [
        (TransitionKind.MISS, Direction.UP),
        (TransitionKind.OPEN, Direction.DOWN),
    ]


def test_repeating_a_date_refreshes_without_counting_and_older_runs_change_nothing():
    episode = live(seen=START + timedelta(days=7), consecutive_runs=3, streak_started_on=START + timedelta(days=6))

    kind, again = only(step([episode], [sighting()], 7))

    assert (kind, again) == (TransitionKind.OBSERVE, episode)
    assert step([episode], [sighting(q=0.5)], 7).transitions == ()
    assert step([episode], [gone()], 7).transitions == ()
    assert step([episode], [sighting()], 6).transitions == ()
    assert only(step([episode], [sighting(q=0.001)], 7))[0] is TransitionKind.CONFIRM


def test_a_group_episode_nests_under_the_payer_episode_of_its_direction():
    payer = KEY.payer_level
    other = KEY._replace(payer="Q")

    both = step([live()], [sighting(), sighting(payer), sighting(other)])

    assert both.parents == {KEY: payer, other: None}


@pytest.mark.parametrize(
    ("parent", "q", "nested"),
    [
        (live(key=KEY.payer_level), 0.03, True),
        (live(EpisodeStatus.ACKNOWLEDGED, key=KEY.payer_level), 0.5, True),
        (live(EpisodeStatus.DISMISSED, key=KEY.payer_level), 0.03, False),
        (live(key=KEY.payer_level, misses=1), 0.5, False),
        (live(key=KEY.payer_level._replace(direction=Direction.DOWN)), 0.5, False),
        (live(key=KEY.payer_level._replace(drift_type=DriftType.APPROVAL_RATE)), 0.5, False),
    ],
)
def test_a_parent_must_be_active_after_the_run_and_of_the_same_kind(parent, q, nested):
    found = step([live(), parent], [sighting(), sighting(parent.key, q=q) if q < 0.05 else gone(parent.key)])

    assert found.parents == {KEY: parent.key if nested else None}


def test_only_episodes_that_somebody_may_act_on_freeze_the_baseline():
    frozen = {status for status in EpisodeStatus if freezes_baseline(status)}

    assert frozen == {EpisodeStatus.OPEN, EpisodeStatus.CONFIRMED, EpisodeStatus.ACKNOWLEDGED}


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([(None, 0.1), (0.5, 0.1), (0.5, 0.01), (0.03, 0.1), (0.001, 0.1)]),
            st.integers(0, 9),
            st.sampled_from([None, *HUMAN]),
        ),
        max_size=30,
    )
)
def test_any_history_keeps_one_live_episode_with_consistent_dates(history):
    episode, today = None, 0
    for (q, effect), gap, decision in history:
        today += gap
        if episode is not None and decision is not None:
            episode = replace(episode, status=decision)
        before = episode

        found = step([episode] if episode else [], [sighting(q=q, effect=effect)], today)

        assert len(found.transitions) <= 1
        for transition in found.transitions:
            episode = transition.episode
            assert (transition.kind is TransitionKind.OPEN) == (before is None)
            assert (transition.signal is None) == (q is None or q > 0.05)
            assert episode.first_seen_on <= episode.streak_started_on <= episode.last_seen_on <= episode.last_run_on
            assert (transition.signal is None) == (episode.consecutive_runs == 0) or transition.kind in ENDS
            assert episode.misses == 0 or episode.consecutive_runs == 0
            assert episode.misses == 0 or effect == 0.01 or transition.kind in ENDS
            ended = transition.kind in ENDS
            assert ended == (episode.ended_on is not None)
            if before is not None and before.status in HUMAN and not ended:
                assert episode.status is before.status
            if ended:
                episode = None
