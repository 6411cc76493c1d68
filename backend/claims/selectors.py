"""Reads of claims, batches, issues and quality reports; row-level security keeps them to one organization."""

import uuid

from django.db.models import QuerySet

from backend.claims.models import Claim, ImportBatch, ImportIssue, OutcomeCount, QualityReport


def claims_current() -> QuerySet[Claim]:
    """The newest version of every claim line."""
    return Claim.objects.filter(superseded_at=None)


def claim_versions_of(claim: Claim) -> QuerySet[Claim]:
    """Every version of a claim line, oldest first."""
    return Claim.objects.filter(payer_id=claim.payer_id, claim_key=claim.claim_key, line_no=claim.line_no).order_by(
        "version"
    )


def outcome_counts_current() -> QuerySet[OutcomeCount]:
    """The newest version of every published figure."""
    return OutcomeCount.objects.filter(superseded_at=None)


def batches_all() -> QuerySet[ImportBatch]:
    """Every import, newest first."""
    return ImportBatch.objects.order_by("-id")


def issues_of(batch_id: uuid.UUID) -> QuerySet[ImportIssue]:
    """The kept issues of a batch, in row order."""
    return ImportIssue.objects.filter(batch_id=batch_id).order_by("row_no", "id")


def quality_reports_all() -> QuerySet[QualityReport]:
    """The quality report of every batch that has one."""
    return QualityReport.objects.all()
