"""What single cells mean."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.ingestion.records import DateFormat
from backend.ingestion.values import (
    MAX_CENTS,
    MEMO_ENTRIES,
    Memo,
    date_parser,
    outcome_parser,
    parse_cents,
    parse_claim_id,
    parse_denial,
    parse_flag,
    parse_group,
    parse_line_no,
    parse_modifiers,
    parse_payer,
    parse_procedure,
)

SPELLINGS = {
    DateFormat.ISO: "{0:%Y-%m-%d}",
    DateFormat.MDY: "{0:%m/%d/%Y}",
    DateFormat.DMY: "{0:%d/%m/%Y}",
    DateFormat.YMD_COMPACT: "{0:%Y%m%d}",
}


@given(day=st.dates(min_value=date(1000, 1, 1)), date_format=st.sampled_from(DateFormat))
def test_a_date_in_its_declared_format_is_read_back(day, date_format):
    assert date_parser(date_format)(SPELLINGS[date_format].format(day)) == day


@given(
    day=st.dates(min_value=date(2000, 1, 1)), written=st.sampled_from(DateFormat), declared=st.sampled_from(DateFormat)
)
def test_a_date_of_another_form_is_never_guessed(day, written, declared):
    text = SPELLINGS[written].format(day)

    parsed = date_parser(declared)(text)

    by_order = {DateFormat.MDY, DateFormat.DMY}
    if written == declared:
        assert parsed == day
    elif {written, declared} == by_order and day.day <= 12:
        assert parsed == day.replace(month=day.day, day=day.month)
    else:
        assert parsed is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2025-02-30",
        "2025-1-5",
        "25-01-05",
        "2025-01-05T10:00",
        "2025-01-05Z",
        "٢٠٢٥-01-05",
        "2025-W01-1",
        "0000-01-01",
    ],
)
def test_what_is_no_iso_date_is_refused(text):
    assert date_parser(DateFormat.ISO)(text) is None


def test_midnight_of_a_database_export_is_its_day():
    assert date_parser(DateFormat.ISO)("2025-01-05 00:00:00.000") == date(2025, 1, 5)
    assert date_parser(DateFormat.ISO)("2025-01-05T00:00") == date(2025, 1, 5)


@given(cents=st.integers(min_value=0, max_value=MAX_CENTS))
def test_every_amount_is_read_back_exactly(cents):
    assert parse_cents(f"{cents // 100}.{cents % 100:02d}") == cents
    assert parse_cents(f"${cents // 100:,}.{cents % 100:02d}") == cents
    assert parse_cents(f"{cents // 100}.{cents % 100:02d}0000") == cents


@given(amount=st.decimals(min_value=0, max_value=9_999_999, places=7))
def test_long_decimals_are_rounded_half_to_even(amount):
    assert parse_cents(f"{amount:f}") == int(round(amount, 2) * 100)


@pytest.mark.parametrize(
    ("text", "cents"),
    [
        ("0", 0),
        ("7", 700),
        (".5", 50),
        ("984.7", 98470),
        ("$12.30", 1230),
        ("$ 12.30", 1230),
        ("1,234.56", 123456),
        ("0.125000", 12),
        ("10000000", MAX_CENTS),
    ],
)
def test_amounts(text, cents):
    assert parse_cents(text) == cents


@pytest.mark.parametrize(
    "text",
    [
        "-1", "+1", "(5.00)", "1.234", "1,23", "1.234,56", "1,234", "1e3", "NaN", "Infinity", "5.", "", "$", "abc",
        "10000000.01", "99999999999999", "1 000.00", "=1+1", "12,34.56", "\uff11\uff12",
    ],
)  # fmt: skip
def test_amounts_that_could_mean_something_else_are_refused(text):
    assert parse_cents(text) is None


@given(text=st.text(max_size=30))
def test_no_text_makes_an_amount_outside_its_range(text):
    cents = parse_cents(text)

    assert cents is None or 0 <= cents <= MAX_CENTS


def test_amounts_are_not_computed_with_floats():
    assert parse_cents("1001.15") == 100115  # 1001.15 * 100 is 100114.99999999999 as a float
    assert Decimal("1001.15") * 100 == 100115


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("99213", "99213"),
        (" x9901 ", "X9901"),
        ("0213T", "0213T"),
        ("0450", "0450"),
        ("d0120", "D0120"),
        ("A0428X", "A0428X"),
    ],
)
def test_procedure_codes(text, code):
    assert parse_procedure(text) == code


@pytest.mark.parametrize("text", ["", "123", "9921345", "99-13", "99213;", "\uff19\uff19213", "\u017f9213"])
def test_what_is_no_procedure_code(text):
    assert parse_procedure(text) is None


@pytest.mark.parametrize(
    ("text", "codes", "complete"),
    [
        ("", (), True),
        ("25", ("25",), True),
        (" 25 ; rt;", ("25", "RT"), True),
        ("25;LONG;59", ("25", "59"), False),
        ("25;59;RT;LT;XE", ("25", "59", "RT", "LT"), False),
        ("25,59", (), False),
    ],
)
def test_modifiers(text, codes, complete):
    assert parse_modifiers(text) == (codes, complete)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("CO-50", ("CO", "50")),
        ("co50", ("CO", "50")),
        ("CO 197", ("CO", "197")),
        ("CO-045", ("CO", "45")),
        ("50", (None, "50")),
        ("-50", (None, "50")),
        ("OA-A1", ("OA", "A1")),
        ("B7", (None, "B7")),
        ("PI-B007", ("PI", "B7")),
    ],
)
def test_denial_codes(text, parsed):
    assert parse_denial(text) == parsed


@pytest.mark.parametrize("text", ["", "CO", "CO-", "XX-50", "CO-5000", "CO-0", "medical necessity", "CO-AB1", "N130X"])
def test_what_is_no_denial_code(text):
    assert parse_denial(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("Y", True),
        ("1", True),
        (" YES ", True),
        ("f", False),
        ("0", False),
        ("No", False),
        ("", None),
        ("x", None),
    ],
)
def test_flags(text, value):
    assert parse_flag(text) is value


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("PAID", "PAID"),
        ("approved", "PAID"),
        ("Partially_Paid", "PARTIAL"),
        ("in-process", "PENDING"),
        (" void ", "REVERSED"),
        ("Denied", "DENIED"),
        ("REJECTED", None),
        ("", None),
    ],
)
def test_outcomes(text, outcome):
    assert outcome_parser(None)(text) == outcome


def test_an_organization_adds_its_own_words_for_outcomes():
    parse = outcome_parser({"Rejected": "DENIED", "paid": "OTHER", "odd": "NONSENSE"})

    assert parse("rejected") == "DENIED"
    assert parse("PAID") == "OTHER"
    assert parse("odd") is None


def test_names_are_folded_and_their_blanks_collapsed():
    assert parse_payer("  Straße \u00a0 Health\tPlan ") == ("strasse health plan", "Straße Health Plan")
    assert parse_group(" a  b ") == "a b"
    assert parse_claim_id(" A-1 ") == "A-1"


@pytest.mark.parametrize("text", ["", "   ", "a\x07b", "x" * 201])
def test_names_that_are_refused(text):
    assert parse_payer(text) is None
    assert parse_group(text) is None
    assert parse_claim_id(text) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1), ("007", 7), ("999", 999), ("0", None), ("1000", None), ("1.0", None), ("-1", None), ("²", None)],
)
def test_line_numbers(text, number):
    assert parse_line_no(text) == number


def test_a_memo_stays_bounded_and_right():
    calls: list[str] = []

    def parse(text: str) -> int:
        calls.append(text)
        return len(text)

    memo = Memo(parse)

    assert [memo["ab"], memo["ab"], memo["x" * 500], memo["x" * 500]] == [2, 2, 500, 500]
    assert calls.count("ab") == 1
    assert calls.count("x" * 500) == 2
    for number in range(MEMO_ENTRIES + 100):
        assert memo[f"v{number}"] == len(f"v{number}")
    assert len(memo) == MEMO_ENTRIES
