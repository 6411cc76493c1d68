"""What audit entries can be filtered by."""

import uuid

import strawberry

from backend.audit.models import Outcome
from backend.audit.selectors import about_object, of_field
from schema.filters.lookups import (
    BooleanComparison,
    DateTimeComparison,
    Equality,
    IdComparison,
    TextComparison,
    condition,
    key_of,
    lookup,
)
from schema.relay.ids import decode_id


def _key(text: str) -> uuid.UUID:
    """The key of an object of any type."""
    return decode_id(text)[1]


@strawberry.input(description="Conditions on an audit entry; all that are given must hold. Give `at` to be quick.")
class AuditEntryFilter:
    at: DateTimeComparison | None = lookup("at", "When it was done.")
    actor: IdComparison | None = lookup("actor_id", "The person, as in `actor`.", key_of("US", "User"))
    token: IdComparison | None = lookup("token_id", "The API token, as in `token`.", key_of("TK", "ApiToken"))
    action: TextComparison | None = lookup("action", "What was done, such as read or update.")
    object_type: TextComparison | None = lookup("object_type", "The table, such as claim.")
    object: strawberry.ID | None = condition(
        "audit.about_object",
        about_object,
        "Opaque id of an object that the entry names; entries about more than 100 name none.",
        _key,
    )
    field: str | None = condition(
        "audit.of_field", of_field, "A field or column that the entry names, such as Claim.billed or payer.name."
    )
    claim_level: BooleanComparison | None = lookup("fields_phi", "Whether claim lines were shown or asked for.")
    outcome: Equality[Outcome] | None = lookup("outcome", "How it ended.")
    operation_name: TextComparison | None = lookup("operation_name", "Name of the GraphQL operation.")
    request_id: TextComparison | None = lookup("request_id", "The request, as in the header X-Request-Id.")
    and_: list["AuditEntryFilter"] | None = strawberry.field(
        name="and", default=strawberry.UNSET, description="All of these hold; at most 100."
    )
    or_: list["AuditEntryFilter"] | None = strawberry.field(
        name="or", default=strawberry.UNSET, description="At least one of these holds; an empty list matches nothing."
    )
    not_: "AuditEntryFilter | None" = strawberry.field(
        name="not", default=strawberry.UNSET, description="This does not hold."
    )
