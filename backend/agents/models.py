"""Tables of automated auditors, their runs, findings and metrics, and the triage that outlives runs."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from backend.core.constraints import OrderIndex, check, one_of
from backend.core.tenant_models import TenantForeignKey, TenantModel


class CurrentTransactionNumber(models.Func):
    """The 64-bit id of the transaction that writes the row, as a number."""

    template = "pg_current_xact_id()::text::bigint"
    output_field = models.BigIntegerField()


class AgentKind(models.TextChoices):
    """What an auditor looks at."""

    CODE_QUALITY = "CODE_QUALITY"
    DB_PERFORMANCE = "DB_PERFORMANCE"
    TEST_COVERAGE = "TEST_COVERAGE"
    MIGRATION_SAFETY = "MIGRATION_SAFETY"
    HIPAA_COMPLIANCE = "HIPAA_COMPLIANCE"
    EXTERNAL = "EXTERNAL"


class Agent(TenantModel):
    """An automated auditor."""

    kind = models.TextField(choices=AgentKind.choices)
    name = models.TextField()
    version = models.TextField(default="")

    class Meta:
        db_table = "agent"
        constraints = [
            models.UniqueConstraint(fields=["organization", "kind", "name"], name="agent_name_uq"),
            one_of("agent", "kind", AgentKind),
            check("agent", "name", ~Q(name="")),
        ]
        indexes = [OrderIndex(fields=["organization", "name", "id"], name="agent_name_asc_idx")]


class Trigger(models.TextChoices):
    """What started an agent run."""

    MANUAL = "MANUAL"
    PRE_COMMIT = "PRE_COMMIT"
    CI = "CI"
    PRE_DEPLOY = "PRE_DEPLOY"
    SCHEDULED = "SCHEDULED"
    IMPORT = "IMPORT"


class AgentRunStatus(models.TextChoices):
    """How far an agent run has come."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"


class Conclusion(models.TextChoices):
    """What a finished agent run says."""

    PASS = "PASS"  # noqa: S105 - a verdict
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


class FindingSeverity(models.IntegerChoices):
    """How much a finding matters."""

    INFO = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


class AgentRun(TenantModel):
    """One execution of an auditor."""

    signs_of_life = ("heartbeat_at",)

    agent = TenantForeignKey(Agent)
    trigger = models.TextField(choices=Trigger.choices)
    status = models.TextField(choices=AgentRunStatus.choices, default=AgentRunStatus.RUNNING)
    conclusion = models.TextField(choices=Conclusion.choices, null=True)
    commit = models.CharField(max_length=40, default="")
    branch = models.TextField(default="")
    tools = models.JSONField(default=list)  # name, version, exit code, skipped
    critical_count = models.IntegerField(default=0)
    high_count = models.IntegerField(default=0)
    medium_count = models.IntegerField(default=0)
    low_count = models.IntegerField(default=0)
    info_count = models.IntegerField(default=0)
    started_at = models.DateTimeField(db_default=Now())
    heartbeat_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    duration_ms = models.BigIntegerField(null=True)
    baseline_run = TenantForeignKey("self", null=True)
    sarif_sha256 = models.BinaryField(null=True)
    sarif_run_index = models.SmallIntegerField(null=True)
    idempotency_key = models.TextField(null=True)
    external_trace_url = models.TextField(default="")

    class Meta:
        db_table = "agent_run"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "agent", "idempotency_key"], name="agent_run_idempotency_uq"
            ),
            models.UniqueConstraint(
                fields=["organization", "agent", "sarif_sha256", "sarif_run_index", "commit", "branch"],
                condition=Q(sarif_sha256__isnull=False),
                name="agent_run_sarif_uq",
            ),
            one_of("agent_run", "trigger", Trigger),
            one_of("agent_run", "status", AgentRunStatus),
            one_of("agent_run", "conclusion", Conclusion),
            check(
                "agent_run",
                "finished",
                Q(status__in=["QUEUED", "RUNNING"], finished_at=None)
                | ~Q(status__in=["QUEUED", "RUNNING"]) & ~Q(finished_at=None),
            ),
            check("agent_run", "concluded", ~Q(status="SUCCEEDED") | ~Q(conclusion=None)),
        ]
        indexes = [
            OrderIndex(fields=["organization", "-started_at", "-id"], name="agent_run_started_at_desc_idx"),
            OrderIndex(
                fields=["organization", "agent", "-started_at", "-id"],
                name="agent_run_agent_started_desc_idx",
            ),
            models.Index(
                fields=["heartbeat_at"],
                condition=Q(status__in=["QUEUED", "RUNNING"]),
                name="agent_run_heartbeat_idx",
            ),
        ]


class AgentRunProgress(TenantModel):
    """What a run said of how far it has come: a log that subscriptions read, kept for hours.

    Nothing but the server adds to it, nothing changes it, and the audit trail has the run's own changes: entries about
    the log would say the same once more, several times a minute.
    """

    change_audit = False
    cursor = ""  # set by whoever serves it

    run = TenantForeignKey(AgentRun, models.CASCADE)
    # Orders what was written by when it can be seen, with id. As bigint, since policies keep xid8 from its index.
    transaction = models.BigIntegerField(db_default=CurrentTransactionNumber(), editable=False)
    status = models.TextField(choices=AgentRunStatus.choices)
    phase = models.TextField(default="")
    done = models.IntegerField(null=True)
    total = models.IntegerField(null=True)

    class Meta:
        db_table = "agent_run_progress"
        constraints = [one_of("agent_run_progress", "status", AgentRunStatus)]
        indexes = [
            models.Index(fields=["organization", "run", "transaction", "id"], name="agent_run_progress_order_idx")
        ]


class Finding(TenantModel):
    """One thing that a run reports."""

    run = TenantForeignKey(AgentRun, models.CASCADE)
    fingerprint = models.BinaryField()
    rule = models.TextField()
    tool = models.TextField()
    severity = models.SmallIntegerField(choices=FindingSeverity.choices)
    category = models.TextField(default="")
    title = models.TextField()
    message = models.TextField()
    path = models.TextField(default="", db_collation="C")
    start_line = models.IntegerField(null=True)
    end_line = models.IntegerField(null=True)
    start_column = models.IntegerField(null=True)
    end_column = models.IntegerField(null=True)
    cwe = ArrayField(models.IntegerField(), default=list)
    help_uri = models.TextField(default="")
    snippet_sha256 = models.BinaryField(null=True)
    suppressed = models.BooleanField(default=False)

    class Meta:
        db_table = "finding"
        constraints = [
            models.UniqueConstraint(fields=["organization", "run", "fingerprint"], name="finding_fingerprint_uq"),
            one_of("finding", "severity", FindingSeverity),
        ]
        indexes = [OrderIndex(fields=["organization", "run", "-severity", "-id"], name="finding_severity_desc_idx")]


class FindingStatus(models.TextChoices):
    """Where a finding stands across runs."""

    OPEN = "OPEN"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    FIXED = "FIXED"
    SUPPRESSED = "SUPPRESSED"
    REOPENED = "REOPENED"


class FindingState(TenantModel):
    """What is known of one fingerprint of one agent across its runs, and what people decided about it."""

    agent = TenantForeignKey(Agent)
    fingerprint = models.BinaryField()
    status = models.TextField(choices=FindingStatus.choices, default=FindingStatus.OPEN)
    severity = models.SmallIntegerField(choices=FindingSeverity.choices)
    rule = models.TextField()
    path = models.TextField(default="", db_collation="C")
    first_seen_run = TenantForeignKey(AgentRun)
    last_seen_run = TenantForeignKey(AgentRun)
    latest_finding = TenantForeignKey(Finding)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    decided_by = models.UUIDField(null=True)
    decided_at = models.DateTimeField(null=True)
    justification = models.TextField(default="")
    expires_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "finding_state"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "agent", "fingerprint"], name="finding_state_fingerprint_uq"
            ),
            one_of("finding_state", "status", FindingStatus),
            one_of("finding_state", "severity", FindingSeverity),
            check("finding_state", "justified", ~Q(status="SUPPRESSED") | ~Q(justification="")),
        ]
        indexes = [
            OrderIndex(
                fields=["organization", "-severity", "-first_seen_at", "-id"],
                name="finding_state_severity_first_seen_idx",
            ),
            models.Index(fields=["organization", "path"], name="finding_state_path_idx"),
        ]


class AgentMetric(TenantModel):
    """A number that a run measured, with its threshold."""

    run = TenantForeignKey(AgentRun, models.CASCADE)
    name = models.TextField()
    value = models.FloatField()
    threshold = models.FloatField(null=True)
    unit = models.TextField(default="")
    passed = models.BooleanField(null=True)

    class Meta:
        db_table = "agent_metric"
        constraints = [models.UniqueConstraint(fields=["organization", "run", "name"], name="agent_metric_name_uq")]
