"""Cursors: each sort key comes back as it went in, and nothing else is taken for a cursor."""

import base64
import datetime
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.agents.models import Agent, FindingState
from backend.core.errors import InvalidCursor
from backend.drift.models import DetectionRun, DriftEvent, DriftTest
from schema.relay.ids import MalformedId, WrongIdType, decode_id, decode_id_of, encode_id
from schema.relay.keyset import Keyset, Order

CASES: list[tuple[Any, str, st.SearchStrategy[Any]]] = [
    (DriftEvent, "revenue_at_risk_30d_cents", st.integers(-(2**63), 2**63 - 1)),
    (DriftEvent, "severity", st.integers(1, 4)),
    (DetectionRun, "as_of", st.dates()),
    (DriftTest, "q_value", st.floats(allow_nan=False)),
    (Agent, "name", st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300)),
    (
        FindingState,
        "first_seen_at",
        st.datetimes(timezones=st.just(datetime.UTC), min_value=datetime.datetime(1900, 1, 1)),  # noqa: DTZ001 - Hypothesis adds it
    ),
]


@pytest.mark.parametrize(("model", "column", "values"), CASES, ids=[f"{c[0].__name__}.{c[1]}" for c in CASES])
def test_a_cursor_gives_its_sort_key_back(model: Any, column: str, values: st.SearchStrategy[Any]) -> None:
    keyset = Keyset(model, Order("X", (column,), descending=True, description="."))

    @given(value=values, key=st.uuids())
    def round_trip(value: Any, key: uuid.UUID) -> None:
        assert keyset.position(keyset.cursor(model(**{column: value}, id=key))) == (value, key)

    round_trip()


@given(st.one_of(st.text(), st.binary().map(lambda raw: base64.b64encode(raw).decode())))
def test_what_is_no_cursor_is_refused_as_one(text: str) -> None:
    keyset = Keyset(Agent, Order("NAME_ASC", ("name",), descending=False, description="."))

    with pytest.raises(InvalidCursor):
        keyset.position(text)


def test_a_truncated_or_lengthened_cursor_is_refused() -> None:
    keyset = Keyset(Agent, Order("NAME_ASC", ("name",), descending=False, description="."))
    cursor = keyset.cursor(Agent(name="ruff", id=uuid.UUID(int=1)))

    for damaged in (cursor[:-4], cursor + "AAAA"):
        with pytest.raises(InvalidCursor):
            keyset.position(damaged)


def test_the_same_order_of_another_table_has_other_cursors() -> None:
    order = Order("NAME_ASC", ("name",), descending=False, description=".")
    cursor = Keyset(Agent, order).cursor(Agent(name="x", id=uuid.UUID(int=1)))

    with pytest.raises(InvalidCursor):
        Keyset(Agent, Order("NAME_DESC", ("name",), descending=True, description=".")).position(cursor)


@given(st.uuids())
def test_a_global_id_gives_its_key_back(key: uuid.UUID) -> None:
    text = encode_id("DE", key)

    assert len(text) == 24
    assert decode_id(text) == ("DE", key)
    with pytest.raises(WrongIdType):
        decode_id_of(text, "PY", expected="Payer")


@given(st.text())
def test_what_is_no_id_is_refused_as_one(text: str) -> None:
    with pytest.raises(MalformedId):
        decode_id(text)
