"""What claim lines and imports can be filtered by."""

import strawberry

from backend.claims.models import BatchKind, BatchStatus, ClaimOutcome
from backend.drift.selectors import counted_by
from schema.filters.lookups import (
    BooleanComparison,
    DateComparison,
    Equality,
    IdComparison,
    MoneyComparison,
    TextComparison,
    cents,
    condition,
    key_of,
    lookup,
    nested,
)
from schema.filters.payers import GroupOfFilter, PayerOfFilter


@strawberry.input(description="Conditions on a claim line; all that are given must hold.")
class ClaimFilter:
    payer: PayerOfFilter | None = nested("The payer.")
    group: GroupOfFilter | None = nested("The procedure group.")
    outcome: Equality[ClaimOutcome] | None = lookup("outcome", "How it was decided.")
    decided_on: DateComparison | None = lookup("decided_on", "When it was decided.")
    submitted_on: DateComparison | None = lookup("submitted_on", "When it was submitted.")
    billed: MoneyComparison | None = lookup("billed_cents", "Amount billed, USD.", cents)
    denial_carc: TextComparison | None = lookup("denial_carc", "Claim adjustment reason code of the denial.")
    authorization_denial: BooleanComparison | None = lookup("auth_denial", "Denied for the lack of authorization.")
    batch: IdComparison | None = lookup("batch_id", "The import that brought it.", key_of("IB", "ImportBatch"))
    drift_event_id: strawberry.ID | None = condition(
        "claim.counted_by",
        counted_by,
        "Only lines that this drift event counts in its current window.",
        key_of("DE", "DriftEvent"),
    )
    and_: list["ClaimFilter"] | None = strawberry.field(
        name="and", default=strawberry.UNSET, description="All of these hold; at most 100."
    )
    or_: list["ClaimFilter"] | None = strawberry.field(
        name="or", default=strawberry.UNSET, description="At least one of these holds; an empty list matches nothing."
    )
    not_: "ClaimFilter | None" = strawberry.field(
        name="not", default=strawberry.UNSET, description="This does not hold."
    )


@strawberry.input(description="Conditions on an import; all that are given must hold.")
class ImportBatchFilter:
    kind: Equality[BatchKind] | None = lookup("kind", "What the file holds.")
    status: Equality[BatchStatus] | None = lookup("status", "How far the import has come.")
