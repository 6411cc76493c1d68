"""Carries out detection runs, each in one transaction. The mathematics is in backend.detection; runs.py starts them."""

import uuid
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from django.db import connection
from django.utils import timezone

from backend.core.actor import Actor, Right
from backend.core.jobs import can_be_tried_again
from backend.core.tenancy import write
from backend.detection.config import Config
from backend.detection.drift_type import DriftType
from backend.detection.engine import evaluate, strongest
from backend.detection.episodes import TransitionKind, advance
from backend.detection.types import CellKey, Level, PoolKey, PoolSample, TestResult
from backend.drift.aggregation import Counted, count_claims, count_periods
from backend.drift.details import Details, Signal, describe_claims, describe_periods
from backend.drift.episodes_store import LiveEpisodes, load_live, store_step
from backend.drift.models import DetectionRun, RunKind, RunStatus, Source
from backend.drift.results_store import store_tests
from backend.drift.runs import mark_failed, mark_running
from backend.drift.selectors import decisive_runs

Progress: TypeAlias = Callable[[str], None]
"""Is told the name of each step of a run as it begins: counting, testing, describing, storing, done."""

_NOTHING_LIVE = LiveEpisodes((), {})
_ENDS = {TransitionKind.RESOLVE, TransitionKind.END, TransitionKind.EXPIRE}

_POOLS = """
SELECT drift_type, level, window_days, array_agg(statistic ORDER BY id), array_agg(information ORDER BY id)
  FROM drift_test
 WHERE run_id = ANY(%(runs)s) AND statistic IS NOT NULL
 GROUP BY drift_type, level, window_days
"""


def detection_run_execute(*, actor: Actor, run_id: uuid.UUID, progress: Progress | None = None) -> DetectionRun:
    """The run in its final state, carried out by this call unless another has done it.

    Runs of one organization follow one another under an advisory lock. Everything that a run finds appears at once;
    a run that fails leaves nothing but its status and the code of its error. Where the database failed it stays as it
    is, for another attempt.

    Raises:
        Forbidden: the actor may not run detection.
        NotFound: there is no such run.
    """
    actor.require(Right.DETECT)
    with write(actor):
        mark_running(run_id)
    try:
        with write(actor):
            _one_at_a_time(actor)
            run = DetectionRun.objects.get(id=run_id)
            if run.status == RunStatus.RUNNING:
                _carry_out(run, progress or _silently)
    except Exception as error:
        if not can_be_tried_again(error):
            with write(actor):
                mark_failed(actor, run_id, error)
        raise
    return run


def _silently(_step: str) -> None:
    """Tells nobody."""


def _one_at_a_time(actor: Actor) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [_lock_name(actor)])


def is_detecting(actor: Actor) -> bool:
    """Whether a run of the organization is being carried out; if not, none begins before this transaction has ended.

    SQL: 1.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [_lock_name(actor)])
        return not cursor.fetchone()[0]


def _lock_name(actor: Actor) -> str:
    return f"detection:{actor.organization_id}"


def _carry_out(run: DetectionRun, progress: Progress) -> None:
    config, source = Config.from_json(run.config), Source(run.source)
    is_current = _is_current(run)
    decides = is_current and not run.what_if
    # A what-if measures against the same baselines as the run that it will be compared with.
    live = load_live(source, lock=decides) if is_current else _NOTHING_LIVE
    progress("counting")
    if source is Source.CLAIMS:
        counted = count_claims(run.as_of, config=config, frozen=live.frozen)
    else:
        counted = count_periods(run.as_of)
    progress("testing")
    result = evaluate(counted.counts, pools=_earlier_samples(run, config), config=config)
    store_tests(run, result.results)
    if decides:
        _advance_episodes(run, live, counted, result.results, progress)
    run.tests_total, run.tests_significant = result.tests_total, result.tests_significant
    run.dispersion = {str(pool): tau for pool, tau in result.tau_squared.items()}
    run.status, run.finished_at = RunStatus.SUCCEEDED, timezone.now()
    run.save()
    progress("done")


def _is_current(run: DetectionRun) -> bool:
    """Whether the run looks at what is live: it is no back-test, and none of a later day has decided."""
    if run.kind == RunKind.BACKTEST:
        return False
    return not decisive_runs(Source(run.source)).filter(as_of__gt=run.as_of).exists()


def _earlier_samples(run: DetectionRun, config: Config) -> dict[PoolKey, PoolSample]:
    """Statistics of the runs before, one run per day: what the dispersion of this one is judged by.

    SQL: 2.
    """
    earlier = decisive_runs(Source(run.source)).filter(as_of__lt=run.as_of).distinct("as_of")
    ids = list(earlier.values_list("id", flat=True)[: config.pool_runs - 1])
    with connection.cursor() as cursor:
        cursor.execute(_POOLS, {"runs": ids})
        return {
            PoolKey(DriftType(drift_type), Level(level), days): PoolSample(np.array(z), np.array(information))
            for drift_type, level, days, z, information in cursor.fetchall()
        }


def _advance_episodes(
    run: DetectionRun, live: LiveEpisodes, counted: Counted, results: Sequence[TestResult], progress: Progress
) -> None:
    config = Config.from_json(run.config)
    step = advance(live.episodes, results, as_of=run.as_of, config=config)
    progress("describing")
    described = _describe(run, strongest(results), counted)
    progress("storing")
    store_step(run, live, step, described, config=config)
    run.events_opened = sum(transition.kind is TransitionKind.OPEN for transition in step.transitions)
    run.events_closed = sum(transition.kind in _ENDS for transition in step.transitions)


def _describe(
    run: DetectionRun, best: dict[CellKey, TestResult], counted: Counted
) -> dict[CellKey, tuple[Signal, Details]]:
    signals = [Signal(test, counted.windows[cell, test.window_days]) for cell, test in best.items()]
    if run.source == Source.CLAIMS:
        details = describe_claims(signals, run.as_of)
    else:
        details = describe_periods(signals, counted.figures)
    return {cell: pair for cell, *pair in zip(best, signals, details, strict=True)}  # type: ignore[misc]  # a starred pair is a list to mypy
