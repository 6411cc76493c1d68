"""Episodes in the database: live ones out, what a run did to them in. Detection decides which transition applies."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, NamedTuple

from django.db import connection

from backend.core.ids import uuid7
from backend.detection.assessment import assess
from backend.detection.config import Config
from backend.detection.drift_type import DriftType
from backend.detection.episodes import Episode, EpisodeKey, EpisodeStatus, Step, Transition, freezes_baseline
from backend.detection.periods import nominal_days
from backend.detection.types import CellKey, Direction, TestResult
from backend.drift.details import Details, Signal
from backend.drift.models import DetectionRun, Source, Unit
from backend.drift.rows import execute_rows, insert_sorted

_LIVE = """
SELECT e.id, e.drift_type, e.payer_id, e.group_id, e.direction, e.status, e.first_seen_on, e.last_seen_on, r.as_of,
       coalesce(e.streak_started_on, e.last_seen_on), e.consecutive_runs, e.misses, e.change_on, e.current_start,
       e.current_end
  FROM drift_event AS e
  JOIN detection_run AS r ON r.organization_id = e.organization_id AND r.id = e.last_run_id
 WHERE e.source = %(source)s AND e.ended_on IS NULL
 ORDER BY e.drift_type, e.payer_id, e.group_id, e.direction
"""
# In the order of the unique key, so that a person's decision about an event and a run never wait for each other.
_LOCK = " FOR UPDATE OF e"

_MEASURED = {
    **dict.fromkeys(
        ("baseline_value", "current_value", "delta", "ci_low", "ci_high", "q_value", "confidence", "severity_score"),
        "double precision",
    ),
    "severity": "smallint",
    "n0": "integer",
    "n1": "integer",
    **dict.fromkeys(("baseline_start", "baseline_end", "current_start", "current_end"), "date"),
    **dict.fromkeys(("revenue_at_risk_30d_cents", "revenue_low_cents", "revenue_high_cents"), "bigint"),
}
_REFRESHED = {
    **_MEASURED,
    "status": "text",
    "last_run_id": "uuid",
    "last_seen_on": "date",
    "misses": "smallint",
    "consecutive_runs": "integer",
    "streak_started_on": "date",
    "evidence": "jsonb",
}
_CHANGE = dict.fromkeys(("change_on", "change_low_on", "change_high_on"), "date")
_EVENT = {
    "id": "uuid",
    "organization_id": "uuid",
    "source": "text",
    "drift_type": "text",
    "payer_id": "uuid",
    "group_id": "uuid",
    "direction": "text",
    "harmful": "boolean",
    "unit": "text",
    "first_run_id": "uuid",
    "first_seen_on": "date",
    **_REFRESHED,
    **_CHANGE,
}
_OBSERVATION = {
    "id": "uuid",
    "organization_id": "uuid",
    "event_id": "uuid",
    "run_id": "uuid",
    "as_of": "date",
    **_MEASURED,
}
_KEY = "drift_type, payer_id, group_id, direction"


_UPSERT = (
    insert_sorted("drift_event", _EVENT, _KEY)
    + f" ON CONFLICT (organization_id, source, {_KEY}) WHERE ended_on IS NULL DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _REFRESHED)
    + ", "
    + ", ".join(f"{name} = coalesce(excluded.{name}, drift_event.{name})" for name in _CHANGE)
    + f" RETURNING id, {_KEY}"
)
_OBSERVE = (
    insert_sorted("drift_observation", _OBSERVATION, "event_id, run_id")
    + " ON CONFLICT (organization_id, event_id, run_id) DO NOTHING"
)
_UNSEEN = """
UPDATE drift_event AS e
   SET status = r.status, ended_on = r.ended_on, misses = r.misses, consecutive_runs = r.consecutive_runs,
       last_run_id = CASE WHEN r.judged THEN %(run)s ELSE e.last_run_id END
  FROM jsonb_to_recordset(%(rows)s::jsonb)
       AS r(id uuid, status text, ended_on date, misses smallint, consecutive_runs integer, judged boolean)
 WHERE e.id = r.id
"""
# A group's event nests under its payer's while both are active, and stands for itself again afterwards.
_NEST = """
UPDATE drift_event AS e
   SET parent_id = r.parent_id
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(id uuid, parent_id uuid)
 WHERE e.id = r.id AND e.parent_id IS DISTINCT FROM r.parent_id
"""


class _LiveRow(NamedTuple):
    """One row of _LIVE."""

    ref: uuid.UUID
    drift_type: str
    payer: uuid.UUID
    group: uuid.UUID | None
    direction: str
    status: str
    first_seen_on: date
    last_seen_on: date
    last_run_on: date
    streak_started_on: date
    consecutive_runs: int
    misses: int
    change_on: date | None
    current_start: date
    current_end: date

    def episode(self, source: Source) -> Episode:
        """The episode before the run."""
        by_period = source is Source.OUTCOME_COUNTS
        return Episode(
            key=EpisodeKey(DriftType(self.drift_type), self.payer, self.group, Direction(self.direction)),
            status=EpisodeStatus(self.status),
            first_seen_on=self.first_seen_on,
            last_seen_on=self.last_seen_on,
            last_run_on=self.last_run_on,
            streak_started_on=self.streak_started_on,
            consecutive_runs=self.consecutive_runs,
            misses=self.misses,
            period_days=nominal_days(self.current_start, self.current_end) if by_period else None,
            ref=self.ref,
        )


@dataclass(frozen=True, slots=True, eq=False)
class LiveEpisodes:
    """The live episodes of a source and, for those whose baseline is frozen, the date of their change."""

    episodes: tuple[Episode, ...]
    frozen: Mapping[CellKey, date]


def load_live(source: Source, *, lock: bool) -> LiveEpisodes:
    """The live episodes; with `lock`, nobody else changes them until the transaction ends.

    SQL: 1.
    """
    with connection.cursor() as cursor:
        cursor.execute(_LIVE + _LOCK if lock else _LIVE, {"source": source})
        rows = [_LiveRow(*row) for row in cursor.fetchall()]
    episodes = tuple(row.episode(source) for row in rows)
    frozen: dict[CellKey, date] = {}
    for row, episode in zip(rows, episodes, strict=True):
        if row.change_on is not None and freezes_baseline(episode.status):
            cell = episode.key.cell
            frozen[cell] = min(row.change_on, frozen.get(cell, row.change_on))
    return LiveEpisodes(episodes, frozen)


def store_step(
    run: DetectionRun,
    live: LiveEpisodes,
    step: Step,
    described: Mapping[CellKey, tuple[Signal, Details]],
    *,
    config: Config,
) -> None:
    """Writes what a run did to the episodes, with an observation of each that it saw.

    `described` has the signal and details of every cell that a transition saw.

    SQL: at most 4, whatever the number of episodes.
    """
    seen = [transition for transition in step.transitions if transition.signal is not None]
    refs = {episode.key: episode.ref for episode in live.episodes}
    rows = [_event_row(run, transition, *described[transition.episode.key.cell], config=config) for transition in seen]
    refs |= _upsert(rows)
    execute_rows(_OBSERVE, [_observation_row(run, row, refs) for row in rows])
    execute_rows(_UNSEEN, [_unseen_row(t, run.as_of) for t in step.transitions if t.signal is None], run=run.id)
    _nest(step, refs)


def _upsert(rows: list[dict[str, Any]]) -> dict[EpisodeKey, Any]:
    return {
        EpisodeKey(DriftType(drift_type), payer, group, Direction(direction)): ref
        for ref, drift_type, payer, group, direction in execute_rows(_UPSERT, rows)
    }


def _nest(step: Step, refs: Mapping[EpisodeKey, Any]) -> None:
    """Sets the parents of all active group episodes."""
    rows = [{"id": refs[child], "parent_id": parent and refs[parent]} for child, parent in step.parents.items()]
    execute_rows(_NEST, rows)


def _measured(signal: TestResult, found: Signal, details: Details, config: Config) -> dict[str, Any]:
    judged = assess(signal, config=config, exposure_cents=details.exposure_cents, lost_share=details.lost_share)
    return {
        "baseline_value": judged.baseline_value,
        "current_value": judged.current_value,
        "delta": judged.delta,
        "ci_low": judged.ci_low,
        "ci_high": judged.ci_high,
        "q_value": signal.q_value,
        "confidence": judged.confidence,
        "severity": int(judged.severity),
        "severity_score": judged.severity_score,
        "n0": signal.n0,
        "n1": signal.n1,
        **asdict(found.windows),
        "revenue_at_risk_30d_cents": judged.revenue.cents,
        "revenue_low_cents": judged.revenue.low_cents,
        "revenue_high_cents": judged.revenue.high_cents,
    }


def _event_row(
    run: DetectionRun, transition: Transition, found: Signal, details: Details, *, config: Config
) -> dict[str, Any]:
    episode, change = transition.episode, details.change
    return {
        "id": uuid7() if episode.ref is None else episode.ref,
        "organization_id": run.organization_id,
        "source": run.source,
        "drift_type": episode.key.drift_type,
        "payer_id": episode.key.payer,
        "group_id": episode.key.group,
        "direction": episode.key.direction,
        "harmful": found.result.harmful,
        "unit": Unit.RATE,
        "first_run_id": run.id,
        "first_seen_on": episode.first_seen_on,
        **_measured(found.result, found, details, config),
        "status": episode.status,
        "last_run_id": run.id,
        "last_seen_on": episode.last_seen_on,
        "misses": episode.misses,
        "consecutive_runs": episode.consecutive_runs,
        "streak_started_on": episode.streak_started_on,
        "evidence": details.evidence,
        "change_on": change and change.change_on,
        "change_low_on": change and change.low_on,
        "change_high_on": change and change.high_on,
    }


def _observation_row(run: DetectionRun, row: Mapping[str, Any], refs: Mapping[EpisodeKey, Any]) -> dict[str, Any]:
    key = EpisodeKey(row["drift_type"], row["payer_id"], row["group_id"], row["direction"])
    return {
        "id": uuid7(),
        "organization_id": run.organization_id,
        "event_id": refs[key],
        "run_id": run.id,
        "as_of": run.as_of,
        **{name: row[name] for name in _MEASURED},
    }


def _unseen_row(transition: Transition, as_of: date) -> dict[str, Any]:
    episode = transition.episode
    ref: uuid.UUID = episode.ref  # type: ignore[assignment]  # what a run did not see was live before it
    return {
        "id": ref,
        "status": episode.status,
        "ended_on": episode.ended_on,
        "misses": episode.misses,
        "consecutive_runs": episode.consecutive_runs,
        "judged": episode.last_run_on == as_of,
    }
