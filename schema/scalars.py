"""The custom scalars, each with its specification. Units are in field names, never in scalars."""

import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NewType

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

BigIntValue = NewType("BigIntValue", int)
UploadValue = NewType("UploadValue", object)  # a schema.http.upload.UploadedFile

_RFC3339 = "https://www.rfc-editor.org/rfc/rfc3339"
_INT64 = 2**63
_DECIMAL_PLACES = 15  # before and after the point; bigint cents hold no more


def _parse_bigint(value: Any) -> int:
    is_text = isinstance(value, str) and len(value) <= len(str(-_INT64))
    try:
        number = int(value) if is_text or (isinstance(value, int) and not isinstance(value, bool)) else None
    except ValueError:
        number = None
    if number is None:
        raise GraphQLError("BigInt is a whole number of 64 bits, as a string or a number.")
    if not -_INT64 <= number < _INT64:
        raise GraphQLError("BigInt has 64 bits.")
    return number


def _parse_date(value: Any) -> datetime.date:
    try:
        found = datetime.date.fromisoformat(value)
    except (TypeError, ValueError):
        found = None
    if found is None or found.isoformat() != value:  # Python reads weeks and dates without hyphens too
        raise GraphQLError("Date is a calendar date such as 2026-01-31.")
    return found


def _parse_datetime(value: Any) -> datetime.datetime:
    try:
        moment = datetime.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise GraphQLError("DateTime is a moment such as 2026-01-31T12:00:00Z.") from None
    if moment.tzinfo is None:
        raise GraphQLError("DateTime needs a time zone, such as Z.")
    try:
        return moment.astimezone(datetime.UTC)
    except OverflowError:
        raise GraphQLError("DateTime lies between the years 1 and 9999 in UTC.") from None


def _serialize_datetime(value: datetime.datetime) -> str:
    """The moment as PostgreSQL writes it too: fractions of a second without zeros at the end."""
    text = value.astimezone(datetime.UTC).replace(tzinfo=None).isoformat()
    return f"{text.rstrip('0') if value.microsecond else text}Z"


def _parse_decimal(value: Any) -> Decimal:
    try:
        number = Decimal(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or abs(number.adjusted()) > _DECIMAL_PLACES:
        raise GraphQLError("Decimal is a number as a string, such as 12.34.")
    return number


def _upload(value: Any) -> Any:
    return value


SCALARS: dict[object, ScalarDefinition] = {
    BigIntValue: strawberry.scalar(
        name="BigInt",
        description="A whole number of up to 64 bits, as a string, because JSON readers lose digits beyond 53 bits.",
        specified_by_url="https://graphql.org/learn/schema/#scalar-types",
        serialize=str,
        parse_value=_parse_bigint,
    ),
    Decimal: strawberry.scalar(
        name="Decimal",
        description="A decimal number as a string, exact. Money is in US dollars with two places.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc8259#section-6",
        serialize=str,
        parse_value=_parse_decimal,
    ),
    datetime.date: strawberry.scalar(
        name="Date",
        description="A calendar date as YYYY-MM-DD, in the payer's local calendar.",
        specified_by_url=_RFC3339,
        serialize=datetime.date.isoformat,
        parse_value=_parse_date,
    ),
    datetime.datetime: strawberry.scalar(
        name="DateTime",
        description="A moment in UTC as YYYY-MM-DDTHH:MM:SS[.f]Z, with up to six decimals and no zero at their end.",
        specified_by_url=_RFC3339,
        serialize=_serialize_datetime,
        parse_value=_parse_datetime,
    ),
    UploadValue: strawberry.scalar(
        name="Upload",
        description="A file of a multipart request, mapped by the GraphQL multipart request specification. Input only.",
        specified_by_url="https://github.com/jaydenseric/graphql-multipart-request-spec",
        serialize=_upload,
        parse_value=_upload,
    ),
}
