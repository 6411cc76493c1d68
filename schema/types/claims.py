"""Object types of imports, their issues and quality, and claim lines."""

import datetime
from decimal import Decimal
from typing import Any

import strawberry
import strawberry_django

from backend.claims import models
from backend.claims.models import BatchKind, BatchStatus, ClaimOutcome, IssueSeverity
from backend.core.actor import Right
from backend.payers.models import Payer as PayerRow
from backend.payers.models import ProcedureCode as ProcedureCodeRow
from backend.payers.models import ProcedureGroup as ProcedureGroupRow
from schema.declarations import Conversion
from schema.declare import child_page, column, figure, global_id, hexadecimal, money, orders, suppressed, to_one
from schema.phi import PhiKind
from schema.relay.connection import Connection
from schema.relay.keyset import Order
from schema.relay.node import Node
from schema.relay.pages import ListSource
from schema.scalars import BigIntValue
from schema.small_cells import Cells
from schema.types.payers import Payer, ProcedureCode, ProcedureGroup

IMPORTS_READ = frozenset({Right.READ, Right.IMPORT})
"""Who imports sees what became of the files."""


@strawberry_django.type(
    models.ImportIssue, name="ImportIssue", description="A rule that a row of a file broke; never repeats a value."
)
class ImportIssue(Node):
    id: strawberry.ID = global_id("II", models.ImportIssue, "ImportIssue", right=Right.IMPORT)
    row_no: int = column("Number of the row, the header being 1.", "row_no")
    rule: str = column("Code of the rule, such as E010.", "rule_code")
    column_name: str = column("Column at fault; empty for the row as a whole.", "column", name="column")
    severity: IssueSeverity = column("What it means for the row.", "severity")
    message: str = column("What the rule demands.", "message")


ImportIssueOrder = orders(
    "ImportIssueOrder", Order("ROW_NO_ASC", ("row_no",), descending=False, description="As in the file.")
)
BATCH_ISSUES = ListSource(
    "batch.issues",
    models.ImportIssue,
    models.ImportIssue.objects.all,
    ImportIssueOrder,
    ImportIssueOrder.ROW_NO_ASC,
    parent="batch_id",
)


BATCH_CELLS = Cells(("rows_total",))  # the dates of a file of one row are those of a claim
_STEM = Conversion(lambda name: name.split(".")[0], lambda name: f"split_part({name}, '.', 1)")


@strawberry_django.type(
    models.ImportBatch, name="ImportBatch", description="One file that was sent, and what became of its rows."
)
class ImportBatch(Node):
    id: strawberry.ID = global_id("IB", models.ImportBatch, "ImportBatch", right=IMPORTS_READ)
    kind: BatchKind = column("What the file holds.", "kind")
    status: BatchStatus = column("How far the import has come.", "status")
    filename: str = column("Hash and extension of the file's name: names of files can name patients.", "filename")
    filename_hash: str = column("Hash of the file's name, without its extension.", "filename", _STEM)
    file_sha256: str = column("SHA-256 of the file, 64 hexadecimal digits.", "file_sha256", hexadecimal)
    file_bytes: BigIntValue = column("Size of the file in bytes.", "file_bytes")
    rows_total: int = column("Rows in the file, without the header.", "rows_total")
    rows_accepted: int = column("Rows that became new claim lines or counts.", "rows_accepted")
    rows_duplicate: int = column("Rows that were known already.", "rows_duplicate")
    rows_updated: int = column("Rows that became a newer version of a known claim line.", "rows_updated")
    rows_rejected: int = column("Rows that were left out.", "rows_rejected")
    rows_warned: int = column("Rows that were taken with a doubt.", "rows_warned")
    suppressed: bool = suppressed(BATCH_CELLS)
    date_min: datetime.date | None = figure(
        "Earliest date in the file: of submission or decision, or the start of a period; null without one.",
        "date_min",
        BATCH_CELLS,
    )
    date_max: datetime.date | None = figure(
        "Latest date in the file: of submission or decision, or the end of a period; null without one.",
        "date_max",
        BATCH_CELLS,
    )
    created_at: datetime.datetime = column("When the file was received.", "created_at")
    finished_at: datetime.datetime | None = column("When the import ended; null while it runs.", "finished_at")
    error_code: str = column("Why the import failed, as a code; empty if it did not.", "error_code")
    issues: Connection[ImportIssue] = child_page(
        "Rules that rows broke; at most 1,000 are kept per rule.", BATCH_ISSUES, right=Right.IMPORT
    )


@strawberry.type(description="How many rows broke a rule.")
class RuleCount:
    rule: str = strawberry.field(description="Code of the rule.")
    n: int = strawberry.field(description="Rows, 1 or more.")


@strawberry.type(description="How often a column has a value.")
class ColumnCompleteness:
    column: str = strawberry.field(description="Name of the column.")
    share: float = strawberry.field(description="Share of the rows, 0 to 1.")


def _rule_counts(found: dict[str, int]) -> list[RuleCount]:
    return [RuleCount(rule=rule, n=n) for rule, n in sorted(found.items())]


def _completeness(found: dict[str, float]) -> list[ColumnCompleteness]:
    return [ColumnCompleteness(column=name, share=share) for name, share in sorted(found.items())]


@strawberry_django.type(models.QualityReport, name="QualityReport", description="How far a batch can be trusted.")
class QualityReport(Node):
    id: strawberry.ID = global_id("QR", models.QualityReport, "QualityReport", right=IMPORTS_READ)
    batch: ImportBatch = to_one("The batch.", "batch_id", models.ImportBatch)
    score: float = column("1 less the share of rows with errors and half of that with warnings; 0 to 1.", "score")
    rule_counts: list[RuleCount] = column(
        "Rows per broken rule, exact; at most one entry a rule.", "rule_counts", _rule_counts
    )
    completeness: list[ColumnCompleteness] = column(
        "Share of rows with a value, one entry a column.", "completeness", _completeness
    )
    duplicate_rate: float = column("Share of rows that were known already, 0 to 1.", "duplicate_rate")
    outliers: int = column("Amounts far from their procedure's usual (log-MAD over 6).", "outliers")
    unmapped_payers: int = column("Payers made from names that nobody has confirmed.", "payer_unmapped")
    created_at: datetime.datetime = column("When the report was made.", "created_at")


QualityReportOrder = orders(
    "QualityReportOrder", Order("NEWEST_FIRST", (), descending=True, description="The latest report first.")
)
QUALITY = ListSource(
    "dataQuality",
    models.QualityReport,
    models.QualityReport.objects.all,
    QualityReportOrder,
    QualityReportOrder.NEWEST_FIRST,
)
ImportBatchOrder = orders(
    "ImportBatchOrder", Order("NEWEST_FIRST", (), descending=True, description="The latest import first.")
)
BATCHES = ListSource(
    "importBatches",
    models.ImportBatch,
    models.ImportBatch.objects.all,
    ImportBatchOrder,
    ImportBatchOrder.NEWEST_FIRST,
)


@strawberry_django.type(
    models.Claim,
    name="Claim",
    description="The current version of one claim line. PHI: dates and amounts of a person's care, without a name.",
)
class Claim(Node):
    id: strawberry.ID = global_id("CL", models.Claim, "Claim", right=Right.CLAIMS_READ)
    reference: str = column(
        "Keyed hash of the claim number, 32 hexadecimal digits; the same for the same claim until keys are rotated.",
        "claim_key",
        hexadecimal,
        phi=PhiKind.REFERENCE,
    )
    line_no: int = column("Line of the claim, 1 to 999.", "line_no")
    payer: Payer = to_one("Who decided it.", "payer_id", PayerRow)
    procedure: ProcedureCode = to_one("What was done.", "procedure_code_id", ProcedureCodeRow)
    group: ProcedureGroup = to_one("The procedure group.", "group_id", ProcedureGroupRow)
    modifiers: list[str] = column("Modifiers, two characters each; usually none, at most 4.", "modifiers")
    submitted_on: datetime.date | None = column(
        "When it was submitted; null while only a remittance is known.", "submitted_on", phi=PhiKind.DATE
    )
    decided_on: datetime.date | None = column(
        "When it was decided; null while pending.", "decided_on", phi=PhiKind.DATE
    )
    paid_on: datetime.date | None = column("When it was paid; null if it was not.", "paid_on", phi=PhiKind.DATE)
    outcome: ClaimOutcome = column("How it was decided.", "outcome", phi=PhiKind.CLAIM)
    billed: Decimal | None = money("Amount billed in USD; null when not known.", "billed_cents", phi=PhiKind.CLAIM)
    allowed: Decimal | None = money("Amount allowed in USD; null when not known.", "allowed_cents", phi=PhiKind.CLAIM)
    paid: Decimal | None = money("Amount paid in USD; null when not known.", "paid_cents", phi=PhiKind.CLAIM)
    authorization_required: bool | None = column(
        "Whether authorization was needed; null when not known.", "auth_required", phi=PhiKind.CLAIM
    )
    authorization_present: bool | None = column(
        "Whether authorization was there; null when not known.", "auth_present", phi=PhiKind.CLAIM
    )
    denial_carc: str | None = column(
        "Claim adjustment reason code of the denial; null without one.", "denial_carc", phi=PhiKind.CLAIM
    )
    denial_group: str | None = column(
        "Claim adjustment group code (CO, PR, OA, PI, CR); null without one.", "denial_group", phi=PhiKind.CLAIM
    )
    authorization_denial: bool = column("Denied for the lack of authorization.", "auth_denial", phi=PhiKind.CLAIM)
    version: int = column("How often it has been reported differently, from 1.", "version")
    batch: ImportBatch = to_one("The import that brought this version.", "batch_id", models.ImportBatch)


def _current_claims() -> Any:
    return models.Claim.objects.filter(superseded_at__isnull=True)


ClaimOrder = orders(
    "ClaimOrder",
    Order("BILLED_DESC", ("billed_order",), descending=True, description="Largest billed amount first; unknown last."),
    Order("DECIDED_ON_DESC", ("decided_order",), descending=True, description="Pending first, then latest decision."),
)
CLAIMS = ListSource("claims", models.Claim, _current_claims, ClaimOrder, ClaimOrder.BILLED_DESC)
