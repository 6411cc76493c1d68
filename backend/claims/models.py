"""Tables of claim outcomes: batches, their issues and quality, claim versions, and published outcome counts."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from backend.core.constraints import OrderIndex, check, one_of
from backend.core.tenant_models import TenantForeignKey, TenantModel


class BatchKind(models.TextChoices):
    """What a file holds."""

    CSV = "CSV"
    X12_835 = "X12_835"
    OUTCOME_COUNTS = "OUTCOME_COUNTS"


class BatchStatus(models.TextChoices):
    """How far an import has come."""

    RECEIVED = "RECEIVED"
    VALIDATING = "VALIDATING"
    LOADED = "LOADED"
    PARTIAL = "PARTIAL"
    REJECTED = "REJECTED"
    FAILED = "FAILED"
    ROLLED_BACK = "ROLLED_BACK"


# A file whose batch ended so may be sent again.
ENDED_WITHOUT_ROWS = (BatchStatus.FAILED, BatchStatus.REJECTED, BatchStatus.ROLLED_BACK)


class ImportBatch(TenantModel):
    """One file that was sent, and what became of its rows."""

    kind = models.TextField(choices=BatchKind.choices)
    filename = models.TextField()  # hash and extension: names of files can name patients
    file_sha256 = models.BinaryField()
    file_bytes = models.BigIntegerField()
    status = models.TextField(choices=BatchStatus.choices, default=BatchStatus.RECEIVED)
    options = models.JSONField(default=dict)  # date format, column mapping, measure
    rows_total = models.IntegerField(default=0)
    rows_accepted = models.IntegerField(default=0)
    rows_duplicate = models.IntegerField(default=0)
    rows_updated = models.IntegerField(default=0)
    rows_rejected = models.IntegerField(default=0)
    rows_warned = models.IntegerField(default=0)
    date_min = models.DateField(null=True)
    date_max = models.DateField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    error_code = models.TextField(default="")
    uploaded_by = models.UUIDField(null=True)  # user; null: a token or a command

    class Meta:
        db_table = "import_batch"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "kind", "file_sha256"],
                condition=~Q(status__in=[status.value for status in ENDED_WITHOUT_ROWS]),
                name="import_batch_file_uq",
            ),
            one_of("import_batch", "kind", BatchKind),
            one_of("import_batch", "status", BatchStatus),
            check(
                "import_batch",
                "rows",
                Q(rows_total__gte=0, rows_accepted__gte=0, rows_duplicate__gte=0, rows_updated__gte=0)
                & Q(rows_rejected__gte=0, rows_warned__gte=0),
            ),
        ]


class IssueSeverity(models.TextChoices):
    """Whether a row was refused, taken with a doubt, or only remarked on."""

    ERROR = "ERROR"
    WARNING = "WARNING"
    INFO = "INFO"


class ImportIssue(TenantModel):
    """A rule that a row broke; the message belongs to the rule and never repeats a value."""

    batch = TenantForeignKey(ImportBatch, models.CASCADE)
    row_no = models.IntegerField()
    rule_code = models.TextField()
    column = models.TextField(default="")
    severity = models.TextField(choices=IssueSeverity.choices)
    message = models.TextField()

    class Meta:
        db_table = "import_issue"
        constraints = [one_of("import_issue", "severity", IssueSeverity)]
        indexes = [OrderIndex(fields=["organization", "batch", "row_no", "id"], name="import_issue_row_no_asc_idx")]


class QualityReport(TenantModel):
    """How far a batch can be trusted."""

    batch = TenantForeignKey(ImportBatch, models.CASCADE)
    score = models.FloatField()
    completeness = models.JSONField()  # column -> share of rows with a value
    rule_counts = models.JSONField()  # rule code -> rows
    duplicate_rate = models.FloatField()
    lag_stats = models.JSONField()  # decision days: p10, p50, p90; share pending by age
    volume_changes = models.JSONField(
        default=list
    )  # payers whose volume differs from earlier batches by more than half
    outliers = models.IntegerField(default=0)  # amounts with a log-MAD over 6
    payer_unmapped = models.IntegerField(default=0)
    dropped_cells = models.IntegerField(default=0, db_column="phi_hits")  # filled ones of unknown columns, never read

    class Meta:
        db_table = "quality_report"
        constraints = [
            models.UniqueConstraint(fields=["organization", "batch"], name="quality_report_batch_uq"),
            check("quality_report", "score", Q(score__gte=0, score__lte=1)),
            check("quality_report", "duplicate_rate", Q(duplicate_rate__gte=0, duplicate_rate__lte=1)),
        ]


class ClaimOutcome(models.TextChoices):
    """How a payer decided a claim line."""

    PENDING = "PENDING"
    PAID = "PAID"
    PARTIAL = "PARTIAL"
    DENIED = "DENIED"
    REVERSED = "REVERSED"
    OTHER = "OTHER"


class HashKey(TenantModel):
    """A key under which the references of an organization's claims are hashed; the first makes them of the identifiers
    themselves, each later one of what the one before made.
    """

    ordinal = models.SmallIntegerField()  # from 1
    key_id = models.TextField()  # of DRIFTGRAPH_CLAIM_KEYS, or 1: DRIFTGRAPH_CLAIM_KEY
    finished_at = models.DateTimeField(null=True)  # null: stored claims are still being hashed under it

    class Meta:
        db_table = "hash_key"
        constraints = [
            models.UniqueConstraint(fields=["organization", "ordinal"], name="hash_key_ordinal_uq"),
            models.UniqueConstraint(fields=["organization", "key_id"], name="hash_key_key_id_uq"),
            check("hash_key", "ordinal", Q(ordinal__gte=1)),
            check("hash_key", "first", Q(ordinal__gt=1) | ~Q(finished_at=None)),
        ]


class Claim(TenantModel):
    """One version of one claim line. PHI: dates and amounts of a person's care, although no name is stored."""

    claim_key = models.BinaryField()  # HMAC of the claim number, 16 bytes
    key_no = models.SmallIntegerField(default=1, db_default=1)  # HashKey.ordinal of the last key over the references
    line_no = models.SmallIntegerField()
    payer = TenantForeignKey("payers.Payer")
    procedure_code = TenantForeignKey("payers.ProcedureCode")
    group = TenantForeignKey("payers.ProcedureGroup")
    modifiers = ArrayField(models.CharField(max_length=2), default=list)
    submitted_on = models.DateField(null=True)  # null while only a remittance is known
    decided_on = models.DateField(null=True)
    paid_on = models.DateField(null=True)
    outcome = models.TextField(choices=ClaimOutcome.choices)
    billed_cents = models.BigIntegerField(null=True)
    allowed_cents = models.BigIntegerField(null=True)
    paid_cents = models.BigIntegerField(null=True)
    auth_required = models.BooleanField(null=True)
    auth_present = models.BooleanField(null=True)
    denial_carc = models.CharField(max_length=4, null=True)
    denial_group = models.CharField(max_length=2, null=True)
    rarc = ArrayField(models.TextField(), default=list)
    auth_denial = models.BooleanField(default=False)
    patient_ref = models.BinaryField(null=True)
    provider_ref = models.BinaryField(null=True)
    place_of_service = models.CharField(max_length=2, null=True)
    batch = TenantForeignKey(ImportBatch)
    source_row_no = models.IntegerField()
    row_sha256 = models.BinaryField()
    version = models.IntegerField(default=1)
    superseded_at = models.DateTimeField(null=True)
    # Orders need columns without NULL: unknown amounts come after all known ones, undecided claims before all decided.
    billed_order = models.GeneratedField(
        expression=Coalesce(F("billed_cents"), -1), output_field=models.BigIntegerField(), db_persist=True
    )
    decided_order = models.GeneratedField(
        expression=Coalesce(F("decided_on"), models.Value("9999-12-31", output_field=models.DateField())),
        output_field=models.DateField(),
        db_persist=True,
    )

    class Meta:
        db_table = "claim"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "payer", "claim_key", "line_no"],
                condition=Q(superseded_at__isnull=True),
                name="claim_current_uq",
            ),
            models.UniqueConstraint(
                fields=["organization", "payer", "claim_key", "line_no", "version"], name="claim_version_uq"
            ),
            one_of("claim", "outcome", ClaimOutcome),
            check("claim", "line_no", Q(line_no__gte=1, line_no__lte=999)),
            check(
                "claim",
                "decided",
                Q(outcome="PENDING", decided_on=None) | ~Q(outcome="PENDING") & ~Q(decided_on=None),
            ),
            check(
                "claim",
                "dates",
                (Q(submitted_on=None) | Q(decided_on=None) | Q(decided_on__gte=F("submitted_on")))
                & (Q(decided_on=None) | Q(paid_on=None) | Q(paid_on__gte=F("decided_on"))),
            ),
            check(
                "claim",
                "amounts",
                (Q(billed_cents=None) | Q(billed_cents__gte=0))
                & (Q(allowed_cents=None) | Q(allowed_cents__gte=0))
                & (Q(paid_cents=None) | Q(paid_cents__gte=0)),
            ),
            check("claim", "auth_denial", Q(auth_denial=False) | Q(outcome="DENIED")),
            check("claim", "version", Q(version__gte=1)),
        ]
        indexes = [
            OrderIndex(
                fields=["organization", "-billed_order", "-id"],
                condition=Q(superseded_at__isnull=True),
                name="claim_billed_desc_idx",
            ),
            OrderIndex(
                fields=["organization", "-decided_order", "-id"],
                condition=Q(superseded_at__isnull=True),
                name="claim_decided_on_desc_idx",
            ),
            models.Index(fields=["organization", "batch"], name="claim_batch_idx"),
            models.Index(
                fields=["organization", "claim_key"],
                condition=Q(superseded_at__isnull=True),
                name="claim_key_idx",
            ),
            models.Index(
                fields=["organization", "payer", "decided_on"],
                condition=Q(superseded_at__isnull=True),
                name="claim_payer_decided_idx",
            ),
        ]


class Measure(models.TextChoices):
    """What an outcome count counts: its `favourable` are the approvals, or the denials."""

    AUTHORIZATION_APPROVAL = "AUTHORIZATION_APPROVAL"
    CLAIM_DENIAL = "CLAIM_DENIAL"


class OutcomeCount(TenantModel):
    """One published or aggregated figure: a payer's favourable outcomes of a code in a period."""

    payer = TenantForeignKey("payers.Payer")
    procedure_code = TenantForeignKey("payers.ProcedureCode")
    group = TenantForeignKey("payers.ProcedureGroup")
    measure = models.TextField(choices=Measure.choices)
    period_start = models.DateField()
    period_end = models.DateField()
    total = models.IntegerField()
    favourable = models.IntegerField()
    batch = TenantForeignKey(ImportBatch)
    source_row_no = models.IntegerField()
    version = models.IntegerField(default=1)
    superseded_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "outcome_count"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "payer", "procedure_code", "measure", "period_start", "period_end"],
                condition=Q(superseded_at__isnull=True),
                name="outcome_count_current_uq",
            ),
            one_of("outcome_count", "measure", Measure),
            check("outcome_count", "total", Q(total__gt=0, favourable__gte=0, favourable__lte=F("total"))),
            check("outcome_count", "period", Q(period_end__gte=F("period_start"))),
        ]
        indexes = [
            models.Index(fields=["organization", "measure", "period_end"], name="outcome_count_period_idx"),
            models.Index(fields=["organization", "batch"], name="outcome_count_batch_idx"),
        ]
