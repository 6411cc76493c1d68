"""The type of the usage ledger's lines, and how they are asked for."""

import datetime
from collections.abc import Mapping
from functools import cache

import strawberry
from graphql import GraphQLSchema

from backend.usage.selectors import Asked, Used, first_day
from schema.changes import Deprecation, deprecations
from schema.context import Context
from schema.scalars import BigIntValue

MAX_LINES = 100


@strawberry.type(description="How often a client used a part of the schema: a line for each version of each client.")
class SchemaUse:
    coordinate: str = strawberry.field(
        description="The field, argument, input field or enum value, such as Query.payers, Query.payers(first:),"
        " PayerFilter.code or Severity.LOW."
    )
    client_name: str | None = strawberry.field(
        description="The client, as its header GraphQL-Client-Name or apollographql-client-name says; null if it did"
        " not say, other if that is no name of up to 64 letters, digits, dots, hyphens and underscores."
    )
    client_version: str | None = strawberry.field(
        description="Its version, by GraphQL-Client-Version or apollographql-client-version; null if it did not say."
    )
    uses: BigIntValue = strawberry.field(description="Requests that used it and were answered.")
    first_on: datetime.date = strawberry.field(description="First of these days with a use, in UTC.")
    last_on: datetime.date = strawberry.field(description="Last of these days with a use, in UTC.")
    deprecation_reason: str | None = strawberry.field(description="Why it is deprecated; null if it is not.")
    removal_on: datetime.date | None = strawberry.field(
        description="The day from which it may be removed; null if it is not deprecated."
    )


async def schema_uses(
    schema: GraphQLSchema, context: Context, days: int, part: str | None, deprecated_only: bool
) -> list[SchemaUse]:
    """The lines of the organization, deprecated parts first, then the most used; at most 100.

    Raises:
        DaysOutOfRange: no day, or too many.
    SQL: 1.
    """
    reasons = _reasons(schema)
    asked = Asked(first_day(days), part or "", sorted(reasons), deprecated_only)
    rows = await context.snapshot.rows(*asked.statement(MAX_LINES))
    return [_line(Used(*row), reasons) for row in rows]


@cache
def _reasons(schema: GraphQLSchema) -> Mapping[str, Deprecation]:
    return {one.coordinate: one for one in deprecations(schema)}


def _line(row: Used, reasons: Mapping[str, Deprecation]) -> SchemaUse:
    deprecation = reasons.get(row.coordinate)
    return SchemaUse(
        coordinate=row.coordinate,
        client_name=row.client_name or None,
        client_version=row.client_version or None,
        uses=BigIntValue(row.uses),
        first_on=row.first_on,
        last_on=row.last_on,
        deprecation_reason=deprecation.reason if deprecation else None,
        removal_on=deprecation.removal if deprecation else None,
    )
