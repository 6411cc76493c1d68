"""Detection runs as records: what makes two requests the same run, and how a run is started, claimed or failed.

What carries a run out is in services.py: the server only starts them, and does without the libraries of mathematics.
"""

import hashlib
import json
import logging
import uuid
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.db import connection
from django.db.models import Max
from django.db.models.functions import Now
from django.utils import timezone

from backend.accounts.models import Organization
from backend.claims.models import BatchKind, Claim, OutcomeCount
from backend.core.actor import Actor, Right
from backend.core.errors import AppError, BadUserInput, NotFound, Unavailable
from backend.core.ids import uuid7
from backend.core.jobs import enqueue
from backend.core.tenancy import write
from backend.detection.config import CLAIMS_CONFIG, PERIODS_CONFIG, Config
from backend.drift.models import DetectionRun, RunError, RunKind, RunStatus, Source

log = logging.getLogger("driftgraph.drift")

DETECT_JOB = "drift.detect"

EARLIEST_AS_OF = date(2000, 1, 1)
"""No import takes a claim from before that day, and no run compares a period that began before it."""
LONGEST_PERIOD = timedelta(days=366)
"""Counts can be published for a period that has begun and not ended: as of its end, which is at most so far away."""

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


class AsOfOutOfRange(BadUserInput):
    """A detection run looks back from a day between {earliest} and {latest}."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a caller wants otherwise than the settings: q, window lengths in days, effect floor (a fraction)."""

    q: float | None = None
    window_days: tuple[int, ...] | None = None
    min_effect: float | None = None


def run_config(organization_id: uuid.UUID, source: Source, overrides: Overrides) -> tuple[Config, bool]:
    """The source's config with the organization's settings and then the caller's, and whether these made a what-if.

    Standard is the source's config under the organization's settings: its threshold of the watch list, its amount that
    lifts severity. A run that was asked for otherwise must not decide what everybody sees; one that was asked for
    explicitly as the standard has it is standard.

    Raises:
        InvalidConfig: a value that the caller gave is outside its range; the database lets the organization have none.

    SQL: 1.
    """
    organization = Organization.objects.only("fdr_q", "severity_lift_cents").get(id=organization_id)
    base = CLAIMS_CONFIG if source is Source.CLAIMS else PERIODS_CONFIG
    standard = base.overridden(q=organization.fdr_q, revenue_lift_cents=organization.severity_lift_cents)
    asked = standard.overridden(q=overrides.q, window_days=overrides.window_days, min_effect=overrides.min_effect)
    return asked, asked != standard


def require_as_of(day: date, source: Source) -> None:
    """Lets a day pass that a run of the source can look back from.

    Raises:
        AsOfOutOfRange: it lies before any data, or in the future.
    """
    latest = _latest_as_of(source)
    if not EARLIEST_AS_OF <= day <= latest:
        raise AsOfOutOfRange(path=("asOf",), earliest=EARLIEST_AS_OF, latest=latest)


def _latest_as_of(source: Source) -> date:
    return timezone.now().date() + (LONGEST_PERIOD if source is Source.OUTCOME_COUNTS else timedelta())


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

    A period that ends further ahead than a run can be asked for is not the latest of anything.

    SQL: 1.
    """
    if source is Source.CLAIMS:
        found = Claim.objects.filter(superseded_at=None).aggregate(last=Max("decided_on"))
    else:
        usable = OutcomeCount.objects.filter(superseded_at=None, period_end__lte=_latest_as_of(source))
        found = usable.aggregate(last=Max("period_end"))
    return found["last"] or timezone.now().date()


def find_or_insert(
    actor: Actor, *, as_of: date, kind: RunKind, source: Source, config: Config, what_if: bool
) -> tuple[DetectionRun, bool]:
    """The one run of these inputs that has not failed, and whether this call made it.

    A back-test or a what-if never counts as the run of record of its inputs, nor the other way round: what was a
    what-if is asked for anew once the organization has made that configuration its own.

    SQL: 3.
    """
    mark = (b"BACKTEST" if kind is RunKind.BACKTEST else b"") + (b"WHAT_IF" if what_if else b"")
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
            what_if=what_if,
            **inputs,
        )
        # ON CONFLICT DO NOTHING waits for a concurrent insertion, so the row that is looked up next exists; it can only
        # be missing where that run failed in between.
        DetectionRun.objects.bulk_create([run], ignore_conflicts=True)
        found = DetectionRun.objects.filter(**inputs).exclude(status__in=ENDED_WITHOUT_RESULT).first()
        if found is not None:
            return found, found.id == run.id
    raise Unavailable


def detection_run_start(
    *,
    actor: Actor,
    as_of: date | None = None,
    kind: RunKind = RunKind.MANUAL,
    source: Source = Source.CLAIMS,
    overrides: Overrides | None = None,
    queue: bool = True,
) -> tuple[DetectionRun, bool]:
    """The run of these inputs and whether it is new; a new one is queued for the worker unless `queue` is false.

    The inputs are the source, the as-of date (by default the last date of the data), the configuration and the data
    as it is now: asking twice gives the same run, also from several workers at once. Overrides that differ from the
    organization's settings make the run a what-if: it keeps its tests, and changes no episode and no alert.

    Raises:
        Forbidden: the actor may not run detection.
        AsOfOutOfRange: the as-of date lies before any data, or in the future.
        InvalidConfig: an override is outside its range.

    SQL: 5 to 7.
    """
    actor.require(Right.DETECT)
    with write(actor):
        config, what_if = run_config(actor.organization_id, source, overrides or Overrides())
        day = as_of or latest_data_date(source)
        require_as_of(day, source)
        run, created = find_or_insert(actor, as_of=day, kind=kind, source=source, config=config, what_if=what_if)
        if created and queue:
            enqueue(DETECT_JOB, actor, run_id=run.id)
    return run, created


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


def mark_failed(actor: Actor, run_id: uuid.UUID, error: Exception) -> None:
    """Records the kind of failure, never its text, which could repeat data; the log has the place of an unforeseen one.

    SQL: 1.
    """
    code = _failure_code(error)
    if code is RunError.INTERNAL:
        # Without the error's own text and causes: those of the database quote the row that they failed on.
        shown = Exception(type(error).__name__).with_traceback(error.__traceback__)
        log.error(
            "detection run %s failed (request %s): %s", run_id, actor.request_id, type(error).__name__, exc_info=shown
        )
    DetectionRun.objects.filter(id=run_id, status=RunStatus.RUNNING).update(
        status=RunStatus.FAILED, finished_at=Now(), error_code=code
    )


def _failure_code(error: Exception) -> RunError:
    if isinstance(error, AppError) and error.code in RunError.values:
        return RunError(error.code)
    return RunError.INTERNAL
