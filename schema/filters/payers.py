"""What payers and procedure groups can be filtered by."""

import strawberry

from backend.payers.models import PayerKind
from schema.filters.lookups import BooleanComparison, Equality, IdComparison, TextComparison, key_of, lookup


@strawberry.input(description="Conditions on a payer; all that are given must hold.")
class PayerFilter:
    code: TextComparison | None = lookup("code", "X12 payer id or slug, compared without case.", str.casefold)
    kind: Equality[PayerKind] | None = lookup("kind", "Line of business.")
    active: BooleanComparison | None = lookup("active", "Whether claims are still sent to it.")
    mapped: BooleanComparison | None = lookup("mapped", "Whether somebody confirmed its name.")


@strawberry.input(description="Conditions on the payer of a row; all that are given must hold.")
class PayerOfFilter:
    id: IdComparison | None = lookup("payer_id", "Opaque id of the payer.", key_of("PY", "Payer"))
    code: TextComparison | None = lookup("payer__code", "X12 payer id or slug, compared without case.", str.casefold)


@strawberry.input(description="Conditions on the procedure group of a row; all that are given must hold.")
class GroupOfFilter:
    id: IdComparison | None = lookup(
        "group_id", "Opaque id of the group; isNull: rows of the payer as a whole.", key_of("PG", "ProcedureGroup")
    )
    code: TextComparison | None = lookup("group__code", "Code of the group.")
