"""Detection runs as records: what makes two requests the same run, and how a run is claimed, finished or failed."""

import hashlib
import json
import uuid
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db import connection
from django.db.models import Max
from django.db.models.functions import Now
from django.utils import timezone

from backend.accounts.models import Organization
from backend.claims.models import BatchKind, Claim, OutcomeCount
from backend.core.actor import Actor
from backend.core.errors import AppError, BadUserInput, NotFound, Unavailable
from backend.core.ids import uuid7
from backend.detection.config import CLAIMS_CONFIG, PERIODS_CONFIG, Config
from backend.drift.models import DetectionRun, RunKind, RunStatus, Source

ENDED_WITHOUT_RESULT = (RunStatus.FAILED, RunStatus.CANCELLED)
_ATTEMPTS = 3

_BATCH_KINDS = {
    Source.CLAIMS: [BatchKind.CSV, BatchKind.X12_835],
    Source.OUTCOME_COUNTS: [BatchKind.OUTCOME_COUNTS],
}
_WATERMARK = """
SELECT encode(sha256(convert_to(coalesce(string_agg(line, ';' ORDER BY line COLLATE "C"), ''), 'UTF8')), 'hex')
  FROM (SELECT concat_ws(',', 'batch', id, status) AS line
          FROM import_batch
         WHERE status IN ('LOADED', 'PARTIAL') AND kind = ANY(%(kinds)s)
         UNION ALL
        SELECT concat_ws(',', 'alias', raw_name, payer_id) FROM payer_alias) AS seen
"""


class FutureDate(BadUserInput):
    """A detection run looks back from today or an earlier day, not from a later one."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a caller wants otherwise than the settings: q, window lengths in days, effect floor (a fraction)."""

    q: float | None = None
    window_days: tuple[int, ...] | None = None
    min_effect: float | None = None


def run_config(organization_id: uuid.UUID, source: Source, overrides: Overrides) -> Config:
    """The source's config with the organization's settings and then the caller's.

    Raises:
        InvalidConfig: a value is outside its range.

    SQL: 1.
    """
    organization = Organization.objects.only("fdr_q", "severity_lift_cents").get(id=organization_id)
    base = CLAIMS_CONFIG if source is Source.CLAIMS else PERIODS_CONFIG
    return base.overridden(
        q=organization.fdr_q if overrides.q is None else overrides.q,
        window_days=overrides.window_days,
        min_effect=overrides.min_effect,
        revenue_lift_cents=organization.severity_lift_cents,
    )


def data_watermark(source: Source) -> str:
    """A hash of the batches and payer aliases that a run of this source sees now; other data, other run.

    SQL: 1.
    """
    with connection.cursor() as cursor:
        cursor.execute(_WATERMARK, {"kinds": [kind.value for kind in _BATCH_KINDS[source]]})
        row = cursor.fetchone()
    return str(row[0]) if row else ""


def latest_data_date(source: Source) -> date:
    """The last date that the source's data knows, today where there is none: the default as-of date.

    SQL: 1.
    """
    if source is Source.CLAIMS:
        found = Claim.objects.filter(superseded_at=None).aggregate(last=Max("decided_on"))
    else:
        found = OutcomeCount.objects.filter(superseded_at=None).aggregate(last=Max("period_end"))
    return found["last"] or timezone.now().date()


def find_or_insert(
    actor: Actor, *, as_of: date, kind: RunKind, source: Source, config: Config
) -> tuple[DetectionRun, bool]:
    """The one run of these inputs that has not failed, and whether this call made it.

    A back-test never counts as the run of record of its inputs, nor the other way round.

    SQL: 3.
    """
    mark = b"BACKTEST" if kind is RunKind.BACKTEST else b""
    inputs: dict[str, Any] = {
        "source": source,
        "as_of": as_of,
        "config_hash": hashlib.sha256(config.digest() + mark).digest(),
        "data_watermark": data_watermark(source),
    }
    for _ in range(_ATTEMPTS):
        run = DetectionRun(
            id=uuid7(),
            organization_id=actor.organization_id,
            kind=kind,
            config=json.loads(config.canonical_json()),
            q=config.q_open,
            **inputs,
        )
        # ON CONFLICT DO NOTHING waits for a concurrent insertion, so the row that is looked up next exists; it can only
        # be missing where that run failed in between.
        DetectionRun.objects.bulk_create([run], ignore_conflicts=True)
        found = DetectionRun.objects.filter(**inputs).exclude(status__in=ENDED_WITHOUT_RESULT).first()
        if found is not None:
            return found, found.id == run.id
    raise Unavailable


def mark_running(run_id: uuid.UUID) -> None:
    """Takes a queued run up; one that another worker has taken up is left as it is.

    Raises:
        NotFound: there is no such run.

    SQL: 1 or 2.
    """
    taken = DetectionRun.objects.filter(id=run_id, status=RunStatus.QUEUED).update(
        status=RunStatus.RUNNING, started_at=Now()
    )
    if not taken and not DetectionRun.objects.filter(id=run_id).exists():
        raise NotFound


def mark_failed(run_id: uuid.UUID, error: Exception) -> None:
    """Records the kind of failure, never its text, which could repeat data.

    SQL: 1.
    """
    code = error.code if isinstance(error, AppError) else type(error).__name__
    DetectionRun.objects.filter(id=run_id, status=RunStatus.RUNNING).update(
        status=RunStatus.FAILED, finished_at=Now(), error_code=code
    )
