"""The row of an import batch from its reservation to its end. What is loaded under it is in loading.py."""

from datetime import date
from enum import StrEnum
from typing import Any

from django.db import Error
from django.utils import timezone

from backend.accounts.models import Organization
from backend.audit.models import Outcome
from backend.audit.reads import AccountNotWritten, PurposeMissing
from backend.audit.services import record
from backend.claims.loading import LoadResult
from backend.claims.models import ENDED_WITHOUT_ROWS, BatchKind, BatchStatus, Claim, ImportBatch, OutcomeCount
from backend.core.actor import Actor
from backend.core.errors import AppError
from backend.core.tenancy import write


class AuditAction(StrEnum):
    """What audit entries call the acts on batches."""

    IMPORT = "claims.import"
    ENQUEUE = "claims.import_enqueue"
    ROLLBACK = "claims.import_rollback"
    DRY_RUN = "claims.import_dry_run"


def batch_reserve(batch: ImportBatch) -> tuple[ImportBatch, bool]:
    """The batch of these bytes and this kind, and whether it is the given one.

    The unique index decides: whoever comes second waits here until the first has committed, and gets its batch.

    SQL: 2.
    """
    ImportBatch.objects.bulk_create([batch], ignore_conflicts=True)
    stored = (
        ImportBatch.objects.filter(kind=batch.kind, file_sha256=batch.file_sha256)
        .exclude(status__in=ENDED_WITHOUT_ROWS)
        .get()
    )
    if stored.id == batch.id:
        batch.created_at = stored.created_at  # the database's, not the default that asks for it
    return stored, stored.id == batch.id


def batch_finish(actor: Actor, batch: ImportBatch, result: LoadResult) -> None:
    """Writes the counts and the final status, and the audit entry.

    SQL: 2.
    """
    batch.rows_total, batch.rows_accepted, batch.rows_updated = result.total, result.accepted, result.updated
    batch.rows_duplicate, batch.rows_rejected = result.duplicate, result.rejected
    batch.rows_warned = result.warned
    batch.date_min, batch.date_max = result.date_min, result.date_max
    batch.finished_at = timezone.now()
    if result.refused:
        batch.status, batch.error_code = BatchStatus.REJECTED, result.refused
    else:
        batch.status = BatchStatus.PARTIAL if result.rejected else BatchStatus.LOADED
    batch.save(force_update=True)
    record(
        actor=actor,
        action=AuditAction.IMPORT,
        object_type="import_batch",
        object_ids=[batch.id],
        object_count=result.accepted + result.updated,
        outcome=Outcome.ERROR if result.refused else Outcome.OK,
    )


def batch_fail(actor: Actor, batch: ImportBatch, error: BaseException) -> None:
    """Keeps the failure in a transaction of its own; the rows went with the one that failed.

    SQL: 2 or 3, and the transaction.
    """
    rule: Any = getattr(error, "rule", "")
    batch.error_code = rule or (error.code if isinstance(error, AppError) else "INTERNAL")
    batch.status, batch.finished_at = BatchStatus.FAILED, timezone.now()
    with write(actor):
        batch.save()
        record(
            actor=actor,
            action=AuditAction.IMPORT,
            object_type="import_batch",
            object_ids=[batch.id],
            outcome=Outcome.ERROR,
        )


def batch_dry_run_record(actor: Actor, batch: ImportBatch) -> None:
    """Records that a dry run told which lines of a file are there already; after it, for all of it was rolled back.

    Raises:
        AccountNotWritten, PurposeMissing: nothing of the dry run may be told.

    SQL: BEGIN, 1 for the organization, 1, COMMIT; 1 more of claims without a purpose.
    """
    counts = batch.kind == BatchKind.OUTCOME_COUNTS
    lacks_purpose = False
    try:
        with write(actor):
            if not counts and not actor.purpose:
                lacks_purpose = Organization.objects.filter(id=actor.organization_id, purpose_required=True).exists()
            record(
                actor=actor,
                action=AuditAction.DRY_RUN,
                object_type=(OutcomeCount if counts else Claim)._meta.db_table,
                object_count=batch.rows_total,
                outcome=Outcome.DENIED if lacks_purpose else Outcome.OK,
                claim_level=not counts,
            )
    except Error as error:
        raise AccountNotWritten from error
    if lacks_purpose:
        raise PurposeMissing


def today() -> date:
    """The calendar day against which future dates are told."""
    return timezone.now().date()
