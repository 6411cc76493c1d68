"""The life of a drift event from run to run: opened, confirmed, resolved, ended or expired, and under which parent."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from typing import NamedTuple, Self

from backend.detection.config import Config
from backend.detection.drift_type import DriftType
from backend.detection.engine import judged_cells, strongest
from backend.detection.types import CellKey, Direction, Key, TestResult, Tier


class EpisodeStatus(StrEnum):
    """Where an episode stands. People set ACKNOWLEDGED and DISMISSED, the machine sets the others."""

    OPEN = "OPEN"
    CONFIRMED = "CONFIRMED"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    RESOLVED = "RESOLVED"
    DISMISSED = "DISMISSED"
    EXPIRED = "EXPIRED"


ACTIVE = frozenset({EpisodeStatus.OPEN, EpisodeStatus.CONFIRMED, EpisodeStatus.ACKNOWLEDGED})
"""Statuses of an episode that somebody may still have to deal with; a dismissed one is only remembered."""


class TransitionKind(StrEnum):
    """What one run does to one episode.

    OPEN: a new episode (its status says whether on the watch list or confirmed at once). CONFIRM: from the
    watch list. OBSERVE: seen again. HOLD: the change is still there, but this run alone does not prove it. MISS: it
    is not there, once. RESOLVE: it is gone. END: the change of a dismissed episode is gone, so that the next one is
    news. EXPIRE: nothing could be tested for too long.
    """

    OPEN = "OPEN"
    CONFIRM = "CONFIRM"
    OBSERVE = "OBSERVE"
    HOLD = "HOLD"
    MISS = "MISS"
    RESOLVE = "RESOLVE"
    END = "END"
    EXPIRE = "EXPIRE"


class EpisodeKey(NamedTuple):
    """What makes two sightings the same episode; `group` is None at payer level."""

    drift_type: DriftType
    payer: Key
    group: Key | None
    direction: Direction

    @property
    def cell(self) -> CellKey:
        """The cell of both directions."""
        return CellKey(self.drift_type, self.payer, self.group)

    @property
    def payer_level(self) -> Self:
        """The key of the payer-level episode that this one nests under."""
        return self._replace(group=None)


@dataclass(frozen=True, slots=True)
class Episode:
    """A live episode (its sign was there and has not been gone for `resolve_misses` runs), before or after a run.

    `ref` is the caller's own identity, None for one that this run opened. `streak_started_on` is the as-of
    date of the first of the latest sightings in a row, of which there are `consecutive_runs` (0 once a run has tested
    the cell without seeing it); `last_run_on` that of the last run that could test the cell, seen or not.
    `period_days` is the nominal length of the period that it was last seen in, None where the data has no periods.
    """

    key: EpisodeKey
    status: EpisodeStatus
    first_seen_on: date
    last_seen_on: date
    last_run_on: date
    streak_started_on: date
    consecutive_runs: int = 1
    misses: int = 0
    ended_on: date | None = None
    period_days: int | None = None
    ref: Key | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """What a run does to an episode: the episode afterwards, and the test that showed it (None without a sign)."""

    kind: TransitionKind
    episode: Episode
    signal: TestResult | None


@dataclass(frozen=True, slots=True)
class Step:
    """What a run does to all episodes.

    `transitions` come in the order of the episodes, then of the signals that opened new ones. `parents`
    names, for every group episode that is active afterwards, the payer-level episode it nests under, or None.
    """

    transitions: tuple[Transition, ...]
    parents: Mapping[EpisodeKey, EpisodeKey | None]


def freezes_baseline(status: EpisodeStatus) -> bool:
    """Whether an episode of that status keeps its baseline from before the change.

    A dismissed one does not: what a person called normal becomes the baseline, and its sign fades.
    """
    return status in ACTIVE


def advance(episodes: Sequence[Episode], results: Iterable[TestResult], *, as_of: date, config: Config) -> Step:
    """What a run as of a date does to the live episodes, given all its results.

    A significant test of a cell opens an episode in its direction, and confirms it at q <= q_confirmed or when
    it recurs in `recur_runs` runs in a row at least `recur_days` apart. The sign of an episode is gone when no test of
    its cell shows a change of at least the effect floor in its direction, and has been for `resolve_misses` runs in a
    row when it resolves. In between, a test that is large enough but not significant, the usual fate of a lasting
    change in a week with few claims, holds the episode: it counts neither as a sighting nor as a miss. So does a cell
    that the run could not test.

    An acknowledged episode is observed and resolved like a confirmed one. A dismissed one stays dismissed,
    swallows its sightings, and ends when its sign has gone. A run as of a date that an episode has already
    been through, such as the repetition after a late file, refreshes it without counting as another run; an
    older run leaves it alone.
    """
    judged = list(results)
    tested = judged_cells(judged)
    standing = _standing(judged, config)
    signals = {_key(signal): signal for signal in strongest(judged).values()}
    transitions = []
    for episode in episodes:
        signal = signals.pop(episode.key, None)
        if as_of < episode.last_run_on:
            continue
        if signal is not None:
            transition: Transition | None = _seen(episode, signal, as_of, config)
        elif episode.key.cell in tested:
            transition = _unseen(episode, as_of, config, stands=episode.key in standing)
        else:
            transition = _untested(episode, as_of, config)
        if transition is not None:
            transitions.append(transition)
    transitions += [_open(key, signal, as_of) for key, signal in signals.items()]
    after = {episode.key: episode for episode in episodes}
    after |= {transition.episode.key: transition.episode for transition in transitions}
    return Step(tuple(transitions), _parents(after))


def _key(signal: TestResult) -> EpisodeKey:
    return EpisodeKey(signal.drift_type, signal.payer, signal.group, signal.direction)


def _standing(results: Iterable[TestResult], config: Config) -> frozenset[EpisodeKey]:
    """Episodes whose change some test still shows, significant or not."""
    return frozenset(
        _key(result)
        for result in results
        if result.tested and abs(result.effect or 0.0) >= config.types[result.drift_type].min_effect
    )


def _open(key: EpisodeKey, signal: TestResult, as_of: date) -> Transition:
    status = EpisodeStatus.CONFIRMED if signal.tier is Tier.CONFIRMED else EpisodeStatus.OPEN
    episode = Episode(
        key=key,
        status=status,
        first_seen_on=as_of,
        last_seen_on=as_of,
        last_run_on=as_of,
        streak_started_on=as_of,
    )
    return Transition(TransitionKind.OPEN, episode, signal)


def _seen(episode: Episode, signal: TestResult, as_of: date, config: Config) -> Transition:
    unbroken = episode.consecutive_runs > 0
    again = as_of > episode.last_run_on
    seen = replace(
        episode,
        last_seen_on=as_of,
        last_run_on=as_of,
        streak_started_on=episode.streak_started_on if unbroken else as_of,
        consecutive_runs=episode.consecutive_runs + again if unbroken else 1,
        misses=0,
    )
    if seen.status is EpisodeStatus.OPEN and (signal.tier is Tier.CONFIRMED or _recurs(seen, config)):
        return Transition(TransitionKind.CONFIRM, replace(seen, status=EpisodeStatus.CONFIRMED), signal)
    return Transition(TransitionKind.OBSERVE, seen, signal)


def _recurs(episode: Episode, config: Config) -> bool:
    streak_days = (episode.last_seen_on - episode.streak_started_on).days
    return episode.consecutive_runs >= config.recur_runs and streak_days >= config.recur_days


def _unseen(episode: Episode, as_of: date, config: Config, *, stands: bool) -> Transition | None:
    if as_of == episode.last_run_on:
        return None
    if stands:
        held = replace(episode, last_run_on=as_of, consecutive_runs=0, misses=0)
        return Transition(TransitionKind.HOLD, held, None)
    missed = replace(episode, last_run_on=as_of, consecutive_runs=0, misses=episode.misses + 1)
    if missed.misses >= config.resolve_misses:
        return _end(missed, TransitionKind.RESOLVE, EpisodeStatus.RESOLVED, as_of)
    return Transition(TransitionKind.MISS, missed, None)


def _untested(episode: Episode, as_of: date, config: Config) -> Transition | None:
    days = (as_of - episode.last_run_on).days
    if episode.period_days is None:
        too_long = days > config.expire_days
    else:
        # Months and years differ by days from their nominal length.
        too_long = round(days / episode.period_days) >= config.expire_periods
    return _end(episode, TransitionKind.EXPIRE, EpisodeStatus.EXPIRED, as_of) if too_long else None


def _end(episode: Episode, kind: TransitionKind, status: EpisodeStatus, as_of: date) -> Transition:
    if episode.status is EpisodeStatus.DISMISSED:
        kind, status = TransitionKind.END, EpisodeStatus.DISMISSED
    return Transition(kind, replace(episode, status=status, ended_on=as_of), None)


def _parents(after: Mapping[EpisodeKey, Episode]) -> dict[EpisodeKey, EpisodeKey | None]:
    active = {key for key, episode in after.items() if episode.ended_on is None and episode.status in ACTIVE}
    return {key: key.payer_level if key.payer_level in active else None for key in active if key.group is not None}
