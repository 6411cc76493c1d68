"""The custom scalars: what they take, what they refuse, and how they are shown."""

import datetime
from decimal import Decimal
from typing import Any

import pytest
from graphql import GraphQLError

from schema.scalars import SCALARS, BigIntValue

DATE, MOMENT = datetime.date, datetime.datetime


def _parse(scalar: object, value: Any) -> Any:
    parse = SCALARS[scalar].parse_value
    assert parse is not None
    return parse(value)


@pytest.mark.parametrize(
    ("scalar", "text", "value"),
    [
        (BigIntValue, "9223372036854775807", 2**63 - 1),
        (BigIntValue, -5, -5),
        (Decimal, "12.34", Decimal("12.34")),
        (Decimal, 7, Decimal(7)),
        (DATE, "2026-01-31", datetime.date(2026, 1, 31)),
        (MOMENT, "2026-01-31T12:00:00Z", datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)),
        (MOMENT, "2026-01-31T12:00:00+02:00", datetime.datetime(2026, 1, 31, 10, tzinfo=datetime.UTC)),
    ],
)
def test_good_values_are_taken(scalar: object, text: Any, value: Any) -> None:
    assert _parse(scalar, text) == value


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        (BigIntValue, "9223372036854775808"),
        (BigIntValue, "1" * 5000),
        pytest.param(BigIntValue, 10**5000, id="more digits than Python writes"),
        pytest.param(BigIntValue, -(10**5000), id="more digits than Python writes, negative"),
        pytest.param(Decimal, 10**5000, id="more digits than Python writes, Decimal"),
        (Decimal, "1" * 5000),
        (BigIntValue, True),
        (BigIntValue, 1.5),
        (BigIntValue, "x"),
        (Decimal, "NaN"),
        (Decimal, "Infinity"),
        (Decimal, "1,5"),
        (Decimal, 1.5),
        (Decimal, False),
        (Decimal, "1e1000000"),
        (DATE, "2026-W01-1"),
        (DATE, "20260131"),
        (MOMENT, "0001-01-01T00:00:00+14:00"),
        (DATE, "2026-02-30"),
        (DATE, 5),
        (MOMENT, "2026-01-31T12:00:00"),
        (MOMENT, "yesterday"),
        (MOMENT, None),
    ],
)
def test_bad_values_are_refused_without_repeating_them(scalar: object, value: Any) -> None:
    with pytest.raises(GraphQLError, match=r"^(BigInt|Decimal|Date)"):
        _parse(scalar, value)


def test_moments_are_shown_in_utc() -> None:
    serialize = SCALARS[MOMENT].serialize
    assert serialize is not None
    moment = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))

    assert serialize(moment) == "2026-01-31T10:00:00Z"
