"""What drift events, tests and runs can be filtered by."""

import strawberry

from backend.drift.models import Direction, DriftType, EventStatus, Level, ReasonNotFlagged, RunStatus, Severity, Source
from schema.filters.lookups import (
    BooleanComparison,
    Comparison,
    DateComparison,
    Equality,
    IdComparison,
    MoneyComparison,
    cents,
    key_of,
    lookup,
    nested,
)
from schema.filters.payers import GroupOfFilter, PayerOfFilter

_AND = "All of these hold; at most 100."
_OR = "At least one of these holds; at most 100. An empty list matches nothing."
_NOT = "This does not hold."


@strawberry.input(description="Conditions on a drift event; all that are given must hold.")
class DriftEventFilter:
    id: IdComparison | None = lookup("id", "Opaque id.", key_of("DE", "DriftEvent"))
    drift_type: Equality[DriftType] | None = lookup("drift_type", "What changed.")
    source: Equality[Source] | None = lookup("source", "What it was found in.")
    payer: PayerOfFilter | None = nested("The payer.")
    group: GroupOfFilter | None = nested("The procedure group.")
    direction: Equality[Direction] | None = lookup("direction", "Which way the value moved.")
    harmful: BooleanComparison | None = lookup("harmful", "Whether it costs the provider money.")
    status: Equality[EventStatus] | None = lookup("status", "Where the episode stands.")
    severity: Comparison[Severity] | None = lookup("severity", "How much it matters; LOW is the least.")
    first_seen: DateComparison | None = lookup("first_seen_on", "As-of day of the first run that saw it.")
    last_seen: DateComparison | None = lookup("last_seen_on", "As-of day of the latest run that saw it.")
    change_on: DateComparison | None = lookup("change_on", "The likeliest day of the change.")
    revenue_at_risk_30d: MoneyComparison | None = lookup(
        "revenue_at_risk_30d_cents", "Money at risk in 30 days, USD.", cents
    )
    parent: IdComparison | None = lookup(
        "parent_id", "The event it is part of; isNull: true leaves out the parts.", key_of("DE", "DriftEvent")
    )
    and_: list["DriftEventFilter"] | None = strawberry.field(name="and", default=strawberry.UNSET, description=_AND)
    or_: list["DriftEventFilter"] | None = strawberry.field(name="or", default=strawberry.UNSET, description=_OR)
    not_: "DriftEventFilter | None" = strawberry.field(name="not", default=strawberry.UNSET, description=_NOT)


@strawberry.input(description="Conditions on a test of a detection run; all that are given must hold.")
class DriftTestFilter:
    drift_type: Equality[DriftType] | None = lookup("drift_type", "What was tested.")
    level: Equality[Level] | None = lookup("level", "How finely.")
    payer: PayerOfFilter | None = nested("The payer.")
    group: GroupOfFilter | None = nested("The procedure group.")
    significant: BooleanComparison | None = lookup("significant", "Whether it made or kept a drift event.")
    reason_not_flagged: Equality[ReasonNotFlagged] | None = lookup("reason_not_flagged", "Why it made none.")


@strawberry.input(description="Conditions on a detection run; all that are given must hold.")
class DetectionRunFilter:
    as_of: DateComparison | None = lookup("as_of", "The last day that it looks at.")
    status: Equality[RunStatus] | None = lookup("status", "How far it has come.")
    source: Equality[Source] | None = lookup("source", "What it looks at.")
