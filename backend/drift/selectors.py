"""Querysets over detection runs, tests, drift events and observations. Row-level security picks the organization."""

import uuid
from collections.abc import Iterable
from typing import Any

from django.db.models import BooleanField, Exists, ExpressionWrapper, OuterRef, Q, QuerySet, TextField

from backend.detection.drift_type import DriftType
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


def counted_by(event_id: Any) -> Q:
    """Claims that a drift event counts in its current window, as the condition of a queryset of claims.

    The outcomes are those of COUNT_CLAIMS in aggregation.py: approval looks at what was not denied, failed
    authorization at what needed one.
    """
    claim = {
        "claim_outcome": ExpressionWrapper(OuterRef("outcome"), output_field=TextField()),
        "claim_auth_required": ExpressionWrapper(OuterRef("auth_required"), output_field=BooleanField()),
    }
    denominator = (
        Q(drift_type=DriftType.DENIAL_RATE)
        | Q(drift_type=DriftType.APPROVAL_RATE, claim_outcome__in=("PAID", "PARTIAL"))
        | Q(drift_type=DriftType.AUTH_FAILURE_RATE, claim_auth_required=True)
    )
    event = DriftEvent.objects.annotate(**claim).filter(
        Q(group_id=None) | Q(group_id=OuterRef("group_id")),
        denominator,
        id=event_id,
        payer_id=OuterRef("payer_id"),
        current_start__lte=OuterRef("decided_on"),
        current_end__gte=OuterRef("decided_on"),
    )
    return Q(Exists(event), outcome__in=("PAID", "PARTIAL", "DENIED"))
