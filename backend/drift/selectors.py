"""Querysets over detection runs, tests, drift events and observations. Row-level security picks the organization."""

import uuid
from collections.abc import Iterable

from django.db.models import QuerySet

from backend.drift.models import DetectionRun, DriftEvent, DriftObservation, DriftTest, RunKind, RunStatus, Source


def detection_runs(*, source: Source | None = None) -> QuerySet[DetectionRun]:
    """Runs of any state, newest as-of date first.

    SQL: 1 when evaluated.
    """
    found = DetectionRun.objects.order_by("-as_of", "-id")
    return found.filter(source=source) if source else found


def decisive_runs(source: Source) -> QuerySet[DetectionRun]:
    """The runs that may decide about episodes and set the scale for later ones.

    They finished well, are no back-tests, and have the organization's own configuration.

    SQL: 1 when evaluated.
    """
    found = detection_runs(source=source).filter(status=RunStatus.SUCCEEDED, what_if=False)
    return found.exclude(kind=RunKind.BACKTEST)


def drift_tests(run_id: uuid.UUID) -> QuerySet[DriftTest]:
    """All tests of a run, the surest first.

    SQL: 1 when evaluated.
    """
    return DriftTest.objects.filter(run_id=run_id).order_by("q_value", "id")


def drift_events() -> QuerySet[DriftEvent]:
    """Drift events of any state, the gravest first.

    SQL: 1 when evaluated.
    """
    return DriftEvent.objects.order_by("-severity", "-id")


def live_drift_events(source: Source) -> QuerySet[DriftEvent]:
    """Events whose sign has not gone, in the order of the key that the database keeps unique.

    SQL: 1 when evaluated.
    """
    return DriftEvent.objects.filter(source=source, ended_on=None).order_by(
        "drift_type", "payer_id", "group_id", "direction"
    )


def drift_observations(event_ids: Iterable[uuid.UUID]) -> QuerySet[DriftObservation]:
    """The course of events over the runs, newest first.

    SQL: 1 when evaluated.
    """
    return DriftObservation.objects.filter(event_id__in=list(event_ids)).order_by("-as_of", "-id")
