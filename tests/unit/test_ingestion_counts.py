"""Outcome counts: mapping, row rules, repeats, conflicts and overlaps, and a regulator's real report."""

from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from backend.core.errors import LimitExceeded
from backend.ingestion import outcome_counts_csv
from backend.ingestion.errors import DuplicateHeader, MissingColumn, UnknownField, UnknownMeasure, UnmappedHeader
from backend.ingestion.files import inspect_file
from backend.ingestion.outcome_counts_csv import CountsOptions, read_outcome_counts
from backend.ingestion.records import DateFormat
from tests.shared_data import REPORT, REPORT_COLUMNS, shared_file

TODAY = date(2025, 6, 30)
HEADER = "payer,procedure_code,procedure_group,period_start,period_end,measure,total,favourable"
ROW = {
    "payer": "Acme",
    "procedure_code": "e0784",
    "procedure_group": "DME",
    "period_start": "2024-01-01",
    "period_end": "2024-03-31",
    "measure": "claim denial",
    "total": "1,041",
    "favourable": "85",
}


def read_text(tmp_path: Path, text: str, **options):
    path = tmp_path / "counts.csv"
    path.write_text(text)
    profile = inspect_file(path, max_bytes=10_000_000)
    reader = read_outcome_counts(path, profile=profile, options=CountsOptions(**{"today": TODAY, **options}))
    return reader, list(reader)


def read_row(tmp_path: Path, changes: dict[str, str], **options):
    cells = {**ROW, **changes}
    _, [row] = read_text(
        tmp_path, ",".join(cells) + "\n" + ",".join(f'"{cell}"' for cell in cells.values()) + "\n", **options
    )
    return row


def yearly(*rows: str) -> str:
    return "payer,procedure_code,year,total,rate\n" + "".join(f"{row}\n" for row in rows)


def codes(rows) -> list[list[str]]:
    return [[found.rule_code for found in issues] for _, issues in rows]


def test_a_whole_row_is_read(tmp_path):
    count, issues = read_row(tmp_path, {})

    assert issues == ()
    assert (count.row_no, count.payer_raw, count.payer_name) == (2, "acme", "Acme")
    assert (count.procedure_code, count.procedure_group, count.measure) == ("E0784", "DME", "CLAIM_DENIAL")
    assert (count.period_start, count.period_end) == (date(2024, 1, 1), date(2024, 3, 31))
    assert (count.total, count.favourable) == (1041, 85)
    assert len(count.row_sha256) == 32


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"payer": ""}, "E004"),
        ({"procedure_code": "NA"}, "C005"),
        ({"procedure_code": "123456789"}, "C005"),
        ({"procedure_group": "x" * 51}, "W102"),
        ({"total": "0"}, "C001"),
        ({"total": ""}, "C001"),
        ({"total": "1.5"}, "C001"),
        ({"total": "9999999999"}, "C001"),
        ({"favourable": "1042"}, "C002"),
        ({"favourable": "-1"}, "C002"),
        ({"favourable": "", "rate": "1.01"}, "C002"),
        ({"favourable": "", "rate": "high"}, "C002"),
        ({"favourable": "", "rate": "101%"}, "C002"),
        ({"favourable": "", "rate": ""}, "C103"),
        ({"measure": "appeals"}, "C003"),
        ({"period_end": "2023-12-31"}, "C004"),
        ({"period_start": "2025-07-01", "period_end": "2025-09-30"}, "C004"),
        ({"period_start": "01/01/2024"}, "C004"),
        ({"period_start": "", "period_end": "", "year": "24"}, "C004"),
    ],
)
def test_each_rule(tmp_path, changes, code):
    count, issues = read_row(tmp_path, changes)

    assert [found.rule_code for found in issues] == [code]
    assert (count is None) == (code != "W102")


@pytest.mark.parametrize(
    ("total", "rate", "favourable"),
    [
        ("9", "0.89", 8),
        ("1", "0.5", 1),
        ("3", "0.5", 2),
        ("200", "0.0025", 1),
        ("50", "50%", 25),
        ("7", "0", 0),
        ("7", "1.", 7),
    ],
)
def test_a_rate_is_turned_into_a_count(tmp_path, total, rate, favourable):
    count, _ = read_row(tmp_path, {"total": total, "favourable": "", "rate": rate})

    assert count.favourable == favourable


def test_a_year_is_a_period(tmp_path):
    _, [(count, _)] = read_text(tmp_path, yearly("A,99213,2024,10,0.5"), measure="CLAIM_DENIAL")

    assert (count.period_start, count.period_end) == (date(2024, 1, 1), date(2024, 12, 31))


def test_dates_follow_the_declared_format(tmp_path):
    changes = {"period_start": "31/01/2024", "period_end": "01/02/2024"}

    count, _ = read_row(tmp_path, changes, date_format=DateFormat.DMY)

    assert (count.period_start, count.period_end) == (date(2024, 1, 31), date(2024, 2, 1))


def test_one_measure_for_the_file_takes_the_place_of_the_column(tmp_path):
    count, _ = read_row(tmp_path, {"measure": "whatever"}, measure="AUTHORIZATION_APPROVAL")

    assert count.measure == "AUTHORIZATION_APPROVAL"


def test_columns_are_mapped_by_header(tmp_path):
    text = "Carrier;Year;Code;Number of requests;Approval rate;Note;Jane Doe\nAcme;2023;99213;10;0.5;x;y\n"
    columns = {
        "payer": "carrier",
        "procedure_code": "Code",
        "total": "Number of requests",
        "rate": "Approval-Rate",
    }

    reader, [(count, _)] = read_text(tmp_path, text, columns=columns, measure="AUTHORIZATION_APPROVAL")

    assert (count.payer_name, count.total, count.favourable) == ("Acme", 10, 5)
    assert reader.columns == ("payer", "procedure_code", "year", "total", "rate")
    assert reader.dropped_columns == ("note", "column 7")
    assert reader.rows_read == 1
    assert reader.bytes_read == len(text)
    assert reader.file_issues == []


@pytest.mark.parametrize(
    ("options", "failure", "named"),
    [
        ({"columns": {"carrier": "payer"}}, UnknownField, "procedure_code"),
        ({"columns": {"payer": "SECRET"}}, UnmappedHeader, "payer"),
        ({"skip": {"SECRET": "x"}}, UnmappedHeader, "skip"),
        ({"measure": "SECRET"}, UnknownMeasure, "CLAIM_DENIAL"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(tmp_path, options, failure, named):
    with pytest.raises(failure, match=named) as refusal:
        read_text(tmp_path, f"{HEADER}\n", **options)

    assert "SECRET" not in refusal.value.message


def test_a_header_that_lacks_fields_names_all_of_them(tmp_path):
    with pytest.raises(MissingColumn) as refusal:
        read_text(tmp_path, "payer,period_start\nA,2024-01-01\n")

    for name in ("procedure_code", "total", "year (or", "favourable (or", "measure (or"):
        assert name in refusal.value.message


def test_a_header_with_a_column_twice_is_refused(tmp_path):
    with pytest.raises(DuplicateHeader, match="payer"):
        read_text(tmp_path, "payer,Payer\n")


def test_repeats_collapse_and_of_conflicting_figures_the_largest_stays(tmp_path):
    rows = yearly(
        "A,99213,2023,10,0.8",
        "A,99213,2023,10,0.8",
        "B,99213,2023,10,0",
        "B,99213,2023,10,0.7",
        "C,99213,2023,5,1",
        "C,99213,2023,50,0.2",
        "c ,99213,2023,5,1",
    )

    _, got = read_text(tmp_path, rows, measure="CLAIM_DENIAL")

    assert codes(got) == [[], ["C102"], ["C101"], [], ["C101"], [], ["C101"]]
    assert [(count.total, count.favourable) for count, _ in got if count] == [(10, 8), (10, 7), (50, 10)]


def test_overlapping_periods_are_an_error_at_the_later_row(tmp_path):
    rows = [
        "A,99213,,2024-01-01,2024-03-31,CLAIM_DENIAL,10,5",
        "A,99213,,2024-03-31,2024-06-30,CLAIM_DENIAL,10,5",
        "A,99213,,2024-04-01,2024-06-30,CLAIM_DENIAL,10,5",
        "A,99214,,2024-03-31,2024-06-30,CLAIM_DENIAL,10,5",
        "A,99213,,2024-03-31,2024-06-30,AUTHORIZATION_APPROVAL,10,5",
    ]

    _, got = read_text(tmp_path, "\n".join([HEADER, *rows]) + "\n")

    assert codes(got) == [[], ["C006"], [], [], []]
    assert got[1][0] is None


def test_rows_can_be_skipped_by_the_text_of_a_cell(tmp_path):
    text = "payer,procedure_code,year,total,rate,list\nA,99213,2023,10,0,On APPEAL only\nA,99213,2023,10,0.9,all\n"

    reader, got = read_text(tmp_path, text, measure="CLAIM_DENIAL", skip={"List": "on appeal"})

    assert [(count.favourable, issues) for count, issues in got] == [(9, ())]
    assert (reader.rows_skipped, reader.rows_read) == (1, 2)


def test_broken_rows_are_errors_and_the_others_go_on(tmp_path):
    _, got = read_text(
        tmp_path, yearly("A,99213,2023,10,0.8", "A,99213", "B,99213,2023,10,0.8"), measure="CLAIM_DENIAL"
    )

    assert codes(got) == [[], ["E901"], []]


def test_row_hashes_ignore_the_spelling(tmp_path):
    one, _ = read_row(tmp_path, {})
    same, _ = read_row(tmp_path, {"total": "1041", "procedure_code": "E0784", "payer": "ACME INC"})
    other, _ = read_row(tmp_path, {"favourable": "86"})

    assert one.row_sha256 == same.row_sha256 != other.row_sha256


def test_too_many_rows_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(outcome_counts_csv, "MAX_ROWS", 2)

    with pytest.raises(LimitExceeded, match="3, more than 2"):
        read_text(tmp_path, yearly(*["A,99213,2023,10,0.8"] * 3), measure="CLAIM_DENIAL")


@pytest.mark.parametrize(("skip", "figures", "zeros"), [({}, 4759, 1001), ({"Request": "initially denied"}, 4098, 330)])
def test_the_report_of_washington_state(skip, figures, zeros):
    report = shared_file(REPORT)
    options = CountsOptions(today=TODAY, columns=REPORT_COLUMNS, measure="AUTHORIZATION_APPROVAL", skip=skip)

    profile = inspect_file(report, max_bytes=10_000_000)
    reader = read_outcome_counts(report, profile=profile, options=options)
    got = list(reader)

    kept = [count for count, _ in got if count is not None]
    found = Counter(item.rule_code for _, issues in got for item in issues)
    assert reader.rows_read == 7151 == len(got) + reader.rows_skipped
    assert len(kept) == figures
    assert sum(count.favourable == 0 for count in kept) == zeros
    assert found.keys() == {"C001", "C005", "C101", "C102"}
    assert len({(c.payer_raw, c.procedure_code, c.period_start) for c in kept}) == figures
