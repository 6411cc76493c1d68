"""Tables of detection runs, the tests they made, and the drift events (episodes) with their observations."""

from django.db import models
from django.db.models import F, Q

from backend.core.constraints import OrderIndex, check, one_of
from backend.core.tenant_models import TenantForeignKey, TenantModel


class DriftType(models.TextChoices):
    """What changed."""

    DENIAL_RATE = "DENIAL_RATE"
    APPROVAL_RATE = "APPROVAL_RATE"
    AUTH_FAILURE_RATE = "AUTH_FAILURE_RATE"
    PAYMENT_AMOUNT = "PAYMENT_AMOUNT"
    DECISION_TIME = "DECISION_TIME"
    PROCESSING_DELAY = "PROCESSING_DELAY"


class RunKind(models.TextChoices):
    """Why a detection run was started."""

    SCHEDULED = "SCHEDULED"
    MANUAL = "MANUAL"
    BACKTEST = "BACKTEST"


class Source(models.TextChoices):
    """What a detection run looks at."""

    CLAIMS = "CLAIMS"
    OUTCOME_COUNTS = "OUTCOME_COUNTS"


class RunStatus(models.TextChoices):
    """How far a detection run has come."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class RunError(models.TextChoices):
    """Why a detection run failed; what is not foreseen is INTERNAL."""

    BAD_USER_INPUT = "BAD_USER_INPUT"
    TIMEOUT = "TIMEOUT"
    ABANDONED = "ABANDONED"
    INTERNAL = "INTERNAL"


class DetectionRun(TenantModel):
    """One execution of the detectors as of a date, over a known set of batches."""

    as_of = models.DateField()
    kind = models.TextField(choices=RunKind.choices)
    source = models.TextField(choices=Source.choices, default=Source.CLAIMS)
    config = models.JSONField()
    config_hash = models.BinaryField()
    data_watermark = models.TextField()  # hash of the batches and mappings that the run sees
    status = models.TextField(choices=RunStatus.choices, default=RunStatus.QUEUED)
    tests_total = models.IntegerField(default=0)
    tests_significant = models.IntegerField(default=0)
    events_opened = models.IntegerField(default=0)
    events_closed = models.IntegerField(default=0)
    q = models.FloatField()
    what_if = models.BooleanField(default=False, db_default=False)  # configured otherwise than the organization
    dispersion = models.JSONField(default=dict)  # pool -> tau squared
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    error_code = models.TextField(choices=RunError.choices, default="", blank=True)  # empty: it has not failed

    class Meta:
        db_table = "detection_run"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "source", "as_of", "config_hash", "data_watermark"],
                condition=~Q(status__in=["FAILED", "CANCELLED"]),
                name="detection_run_inputs_uq",
            ),
            one_of("detection_run", "kind", RunKind),
            one_of("detection_run", "source", Source),
            one_of("detection_run", "status", RunStatus),
            check("detection_run", "q", Q(q__gt=0, q__lt=1)),
        ]
        indexes = [OrderIndex(fields=["organization", "-as_of", "-id"], name="detection_run_as_of_desc_idx")]


class Level(models.TextChoices):
    """How finely a test looks."""

    PAYER = "PAYER"
    PAYER_GROUP = "PAYER_GROUP"


class ReasonNotFlagged(models.TextChoices):
    """Why a test made no drift event."""

    MIN_SAMPLE = "MIN_SAMPLE"
    INFORMATION = "INFORMATION"
    FDR = "FDR"
    DISPERSION = "DISPERSION"
    EFFECT_FLOOR = "EFFECT_FLOOR"


class DriftTest(TenantModel):
    """One test of one cell by one run; kept 90 days to answer "why was this not flagged"."""

    run = TenantForeignKey(DetectionRun, models.CASCADE)
    drift_type = models.TextField(choices=DriftType.choices)
    level = models.TextField(choices=Level.choices)
    payer = TenantForeignKey("payers.Payer")
    group = TenantForeignKey("payers.ProcedureGroup", null=True)
    window_days = models.SmallIntegerField()
    n0 = models.IntegerField()
    n1 = models.IntegerField()
    x0 = models.IntegerField()
    x1 = models.IntegerField()
    baseline_value = models.FloatField(null=True)
    current_value = models.FloatField(null=True)
    effect = models.FloatField(null=True)
    ci_low = models.FloatField(null=True)
    ci_high = models.FloatField(null=True)
    statistic = models.FloatField(null=True)
    information = models.FloatField(default=0)
    p_raw = models.FloatField(null=True)
    p_adjusted = models.FloatField(null=True)
    q_value = models.FloatField(default=1)  # 1 where nothing could be tested
    significant = models.BooleanField(default=False)
    reason_not_flagged = models.TextField(choices=ReasonNotFlagged.choices, null=True)

    class Meta:
        db_table = "drift_test"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "run", "drift_type", "payer", "group", "window_days"],
                nulls_distinct=False,
                name="drift_test_cell_uq",
            ),
            one_of("drift_test", "drift_type", DriftType),
            one_of("drift_test", "level", Level),
            check(
                "drift_test",
                "level_group",
                Q(level="PAYER", group=None) | Q(level="PAYER_GROUP") & ~Q(group=None),
            ),
            check("drift_test", "counts", Q(n0__gte=0, n1__gte=0, x0__gte=0, x1__gte=0)),
            check("drift_test", "q_value", Q(q_value__gte=0, q_value__lte=1)),
            check(
                "drift_test",
                "reason",
                Q(significant=True, reason_not_flagged=None) | Q(significant=False) & ~Q(reason_not_flagged=None),
            ),
        ]
        indexes = [OrderIndex(fields=["organization", "run", "q_value", "id"], name="drift_test_q_value_asc_idx")]


class Direction(models.TextChoices):
    """Which way a value moved."""

    UP = "UP"
    DOWN = "DOWN"


class EventStatus(models.TextChoices):
    """Where a drift event stands."""

    OPEN = "OPEN"
    CONFIRMED = "CONFIRMED"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    RESOLVED = "RESOLVED"
    DISMISSED = "DISMISSED"
    EXPIRED = "EXPIRED"


class Unit(models.TextChoices):
    """What baseline, current value and delta are measured in."""

    RATE = "RATE"
    DAYS = "DAYS"
    RATIO = "RATIO"


class Severity(models.IntegerChoices):
    """How much a drift event matters, from the cautious end of its confidence interval."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


class Measured(TenantModel):
    """What a run measured of an episode; the event carries the latest, each observation its own."""

    baseline_value = models.FloatField()
    current_value = models.FloatField()
    delta = models.FloatField()
    ci_low = models.FloatField()
    ci_high = models.FloatField()
    q_value = models.FloatField()
    confidence = models.FloatField()
    severity = models.SmallIntegerField(choices=Severity.choices)
    severity_score = models.FloatField()
    n0 = models.IntegerField()
    n1 = models.IntegerField()
    baseline_start = models.DateField()
    baseline_end = models.DateField()
    current_start = models.DateField()
    current_end = models.DateField()
    revenue_at_risk_30d_cents = models.BigIntegerField(default=0)
    revenue_low_cents = models.BigIntegerField(default=0)
    revenue_high_cents = models.BigIntegerField(default=0)

    class Meta:
        abstract = True


def _measured(table: str) -> list[models.CheckConstraint]:
    return [
        one_of(table, "severity", Severity),
        check(table, "q_value", Q(q_value__gte=0, q_value__lte=1)),
        check(table, "confidence", Q(confidence__gte=0, confidence__lte=1)),
        check(table, "severity_score", Q(severity_score__gte=0, severity_score__lte=1)),
        check(
            table,
            "windows",
            Q(baseline_start__lte=F("baseline_end"), current_start__lte=F("current_end"))
            & Q(baseline_end__lt=F("current_start")),
        ),
    ]


class DriftEvent(Measured):
    """An episode: one payer (and group), one drift type, one direction, from first sight to resolution."""

    drift_type = models.TextField(choices=DriftType.choices)
    source = models.TextField(choices=Source.choices)
    payer = TenantForeignKey("payers.Payer")
    group = TenantForeignKey("payers.ProcedureGroup", null=True)
    direction = models.TextField(choices=Direction.choices)
    harmful = models.BooleanField()
    status = models.TextField(choices=EventStatus.choices)
    unit = models.TextField(choices=Unit.choices)
    first_run = TenantForeignKey(DetectionRun)
    last_run = TenantForeignKey(DetectionRun)
    first_seen_on = models.DateField()
    last_seen_on = models.DateField()
    ended_on = models.DateField(null=True)  # null while the sign is there, also for a dismissed event
    misses = models.SmallIntegerField(default=0)  # runs in a row that did not see it
    consecutive_runs = models.IntegerField(default=1)
    streak_started_on = models.DateField(null=True)  # first of those runs; null: as last_seen_on
    change_on = models.DateField(null=True)
    change_low_on = models.DateField(null=True)
    change_high_on = models.DateField(null=True)
    parent = TenantForeignKey("self", null=True)
    evidence = models.JSONField(default=dict)  # top reason and procedure codes, no cell under 11

    class Meta:
        db_table = "drift_event"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "source", "drift_type", "payer", "group", "direction"],
                condition=Q(ended_on__isnull=True),
                nulls_distinct=False,
                name="drift_event_live_uq",
            ),
            # A run opens an episode once. The foreign key to first_run is looked up here too when runs are deleted.
            models.UniqueConstraint(
                fields=["organization", "first_run", "drift_type", "payer", "group", "direction"],
                nulls_distinct=False,
                name="drift_event_opened_uq",
            ),
            *_measured("drift_event"),
            one_of("drift_event", "drift_type", DriftType),
            one_of("drift_event", "source", Source),
            one_of("drift_event", "direction", Direction),
            one_of("drift_event", "status", EventStatus),
            one_of("drift_event", "unit", Unit),
            check("drift_event", "seen", Q(first_seen_on__lte=F("last_seen_on"))),
            check(
                "drift_event",
                "ended",
                Q(status__in=["OPEN", "CONFIRMED", "ACKNOWLEDGED"], ended_on=None)
                | Q(status__in=["RESOLVED", "EXPIRED"]) & ~Q(ended_on=None)
                | Q(status="DISMISSED"),
            ),
            check("drift_event", "runs", Q(consecutive_runs__gte=0, misses__gte=0)),
        ]
        indexes = [
            OrderIndex(
                fields=["organization", "-revenue_at_risk_30d_cents", "-id"],
                name="drift_event_revenue_at_risk_desc_idx",
            ),
            OrderIndex(fields=["organization", "-severity", "-id"], name="drift_event_severity_desc_idx"),
            OrderIndex(fields=["organization", "-first_seen_on", "-id"], name="drift_event_first_seen_desc_idx"),
            OrderIndex(fields=["organization", "-last_seen_on", "-id"], name="drift_event_last_seen_desc_idx"),
            OrderIndex(fields=["organization", "parent", "-severity", "-id"], name="drift_event_parent_severity_idx"),
            models.Index(fields=["organization", "payer"], name="drift_event_payer_idx"),
        ]


class DriftObservation(Measured):
    """One run that saw an episode."""

    event = TenantForeignKey(DriftEvent, models.CASCADE)
    run = TenantForeignKey(DetectionRun)
    as_of = models.DateField()

    class Meta:
        db_table = "drift_observation"
        constraints = [
            models.UniqueConstraint(fields=["organization", "event", "run"], name="drift_observation_run_uq"),
            *_measured("drift_observation"),
        ]
        indexes = [
            OrderIndex(fields=["organization", "event", "-as_of", "-id"], name="drift_observation_as_of_desc_idx"),
            models.Index(fields=["organization", "run"], name="drift_observation_run_idx"),
        ]
