"""Claims CSV: the row rules one by one, what happens to broken records, and what never leaves a file."""

from datetime import date
from pathlib import Path

import pytest

from backend.core.errors import AppError
from backend.ingestion.claims_csv import COLUMNS, REQUIRED_COLUMNS, read_claims
from backend.ingestion.errors import ChangedFile, DuplicateHeader, EmptyFile, MissingColumn
from backend.ingestion.files import inspect_file
from backend.ingestion.keys import ClaimHasher
from backend.ingestion.records import DateFormat, ReadOptions, Severity, StagedClaim
from backend.ingestion.rules import RULES

TODAY = date(2025, 6, 30)
HASHER = ClaimHasher(b"k" * 32)
GOOD = {
    "claim_id": "C-1",
    "payer": "Acme  Health",
    "procedure_code": "99012",
    "submitted_date": "2025-01-06",
    "decided_date": "2025-02-07",
    "outcome": "PAID",
}


def read_text(tmp_path: Path, text: str, **options):
    path = tmp_path / "claims.csv"
    path.write_bytes(text.encode())
    profile = inspect_file(path, max_bytes=10_000_000)
    reader = read_claims(path, profile=profile, hasher=HASHER, options=ReadOptions(today=TODAY, **options))
    return reader, list(reader)


def read_row(tmp_path: Path, changes: dict[str, str] | None = None, **options):
    cells = {**GOOD, **(changes or {})}
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells.values()]
    _, [row] = read_text(tmp_path, ",".join(cells) + "\n" + ",".join(quoted) + "\n", **options)
    return row


def test_a_whole_row_is_read(tmp_path):
    changes = {
        "line_no": "2",
        "procedure_group": " Imaging ",
        "modifiers": "25;rt",
        "payment_date": "2025-02-10",
        "outcome": "partially paid",
        "billed_amount": "200",
        "allowed_amount": "150.5",
        "paid_amount": "100.25",
        "denial_code": "PR-003",
        "authorization_required": "yes",
        "authorization_present": "0",
        "patient_id": "P-77",
    }

    claim, issues = read_row(tmp_path, changes)

    assert issues == ()
    assert claim == StagedClaim(
        row_no=2,
        claim_key=HASHER.claim_key("c-1"),
        line_no=2,
        payer_raw="acme health",
        payer_name="Acme Health",
        payer_code=None,
        procedure_code="99012",
        procedure_group="Imaging",
        modifiers=("25", "RT"),
        submitted_on=date(2025, 1, 6),
        decided_on=date(2025, 2, 7),
        paid_on=date(2025, 2, 10),
        outcome="PARTIAL",
        billed_cents=20000,
        allowed_cents=15050,
        paid_cents=10025,
        auth_required=True,
        auth_present=False,
        denial_carc="3",
        denial_group="PR",
        rarc=(),
        auth_denial=False,
        patient_ref=None,
        provider_ref=None,
        place_of_service=None,
        row_sha256=claim.row_sha256,
        is_reversal=False,
    )
    assert len(claim.row_sha256) == 32


@pytest.mark.parametrize(
    ("changes", "code", "column"),
    [
        ({"claim_id": " "}, "E001", "claim_id"),
        ({"claim_id": "x" * 51}, "E001", "claim_id"),
        ({"claim_id": "a\x07b"}, "E001", "claim_id"),
        ({"line_no": "0"}, "E002", "line_no"),
        ({"line_no": "1000"}, "E002", "line_no"),
        ({"procedure_code": ""}, "E003", "procedure_code"),
        ({"procedure_code": "knee"}, None, None),
        ({"procedure_code": "99-12"}, "E003", "procedure_code"),
        ({"payer": ""}, "E004", "payer"),
        ({"submitted_date": ""}, "E010", "submitted_date"),
        ({"submitted_date": "01/06/2025"}, "E010", "submitted_date"),
        ({"submitted_date": "1999-12-31"}, "E010", "submitted_date"),
        ({"submitted_date": "2025-07-02", "decided_date": "", "outcome": "PENDING"}, "E010", "submitted_date"),
        ({"submitted_date": "2025-07-01", "decided_date": "", "outcome": "PENDING"}, None, None),
        ({"decided_date": "2025-01-05"}, "E011", "decided_date"),
        ({"decided_date": "2025-07-01"}, "E011", "decided_date"),
        ({"decided_date": "soon"}, "E011", "decided_date"),
        ({"decided_date": "2025-06-30"}, None, None),
        ({"decided_date": ""}, "E012", "decided_date"),
        ({"outcome": "PENDING"}, "E012", "decided_date"),
        ({"payment_date": "2025-02-06"}, "E013", "payment_date"),
        ({"payment_date": "2025-07-08"}, "E013", "payment_date"),
        ({"payment_date": "2025-07-07"}, None, None),
        ({"payment_date": "x"}, "E013", "payment_date"),
        ({"payment_date": "2025-02-06", "decided_date": "", "outcome": "PENDING"}, "E013", "payment_date"),
        ({"billed_amount": "-1"}, "E020", "billed_amount"),
        ({"allowed_amount": "10000000.01"}, "E020", "allowed_amount"),
        ({"paid_amount": "1,5"}, "E020", "paid_amount"),
        ({"procedure_group": "x" * 51}, "W102", "procedure_group"),
        ({"modifiers": "25;LONG"}, "W103", "modifiers"),
        ({"outcome": "REJECTED"}, "W104", "outcome"),
        ({"allowed_amount": "100", "paid_amount": "101"}, None, None),
        ({"allowed_amount": "100", "paid_amount": "101.01"}, "W121", "paid_amount"),
        ({"allowed_amount": "0", "paid_amount": "1"}, "W121", "paid_amount"),
        ({"denial_code": "because"}, "W130", "denial_code"),
        ({"outcome": "DENIED"}, "W131", "denial_code"),
        ({"outcome": "DENIED", "denial_code": "CO-50"}, None, None),
        ({"outcome": "DENIED", "denial_code": "because"}, "W130", "denial_code"),
        ({"authorization_required": "maybe"}, "W140", "authorization_required"),
        ({"authorization_present": "maybe"}, "W140", "authorization_present"),
    ],
)
def test_each_rule(tmp_path, changes, code, column):
    claim, issues = read_row(tmp_path, changes)

    if code is None:
        assert issues == ()
        assert claim is not None
        return
    [found] = issues
    assert (found.rule_code, found.column, found.row_no) == (code, column, 2)
    assert (found.severity, found.message) == (RULES[code].severity, RULES[code].message)
    assert (claim is None) == (found.severity is Severity.ERROR)


def test_all_broken_rules_of_a_row_are_reported(tmp_path):
    claim, issues = read_row(tmp_path, {"claim_id": "", "line_no": "x", "billed_amount": "x", "modifiers": "LONG"})

    assert claim is None
    assert {found.rule_code for found in issues} == {"E001", "E002", "E020", "W103"}


def test_an_unknown_outcome_is_other_and_a_bad_detail_is_left_out(tmp_path):
    changes = {"outcome": "escheated", "denial_code": "n/a", "authorization_required": "?", "modifiers": "LONG;25"}

    claim, _ = read_row(tmp_path, changes)

    assert (claim.outcome, claim.denial_carc, claim.auth_required) == ("OTHER", None, None)
    assert claim.modifiers == ("25",)


@pytest.mark.parametrize(
    ("outcome", "code", "denial"),
    [("DENIED", "CO-197", True), ("DENIED", "15", True), ("DENIED", "CO-50", False), ("PARTIAL", "CO-197", False)],
)
def test_an_auth_denial_is_a_denial_for_a_reason_of_the_set(tmp_path, outcome, code, denial):
    claim, _ = read_row(tmp_path, {"outcome": outcome, "denial_code": code})

    assert claim.auth_denial is denial


def test_the_set_of_auth_reasons_is_an_option(tmp_path):
    claim, _ = read_row(tmp_path, {"outcome": "DENIED", "denial_code": "50"}, auth_carcs=frozenset({"50"}))

    assert claim.auth_denial


@pytest.mark.parametrize(("text", "day"), [("03/04/2025", date(2025, 3, 4)), ("3/4/2025", date(2025, 3, 4))])
def test_dates_follow_the_declared_order(tmp_path, text, day):
    changes = {"submitted_date": text, "decided_date": "04/20/2025"}

    claim, issues = read_row(tmp_path, changes, date_format=DateFormat.MDY)

    assert issues == ()
    assert claim.submitted_on == day


def test_a_file_in_the_other_date_order_is_refused_row_by_row(tmp_path):
    changes = {"submitted_date": "03/25/2025", "decided_date": "04/20/2025"}

    claim, issues = read_row(tmp_path, changes, date_format=DateFormat.DMY)

    assert claim is None
    assert [found.rule_code for found in issues] == ["E010", "E011"]


def test_a_reversal_is_marked(tmp_path):
    claim, _ = read_row(tmp_path, {"outcome": "void"})

    assert (claim.outcome, claim.is_reversal) == ("REVERSED", True)


def test_patients_are_dropped_unless_the_organization_keeps_references(tmp_path):
    dropped, _ = read_row(tmp_path, {"patient_id": "P-77"})
    kept, _ = read_row(tmp_path, {"patient_id": "P-77"}, keep_patient_ref=True)
    blank, _ = read_row(tmp_path, {"patient_id": " "}, keep_patient_ref=True)

    assert dropped.patient_ref is None
    assert kept.patient_ref == HASHER.patient_ref("p-77")
    assert blank.patient_ref is None


def test_formulas_are_text(tmp_path):
    claim, issues = read_row(tmp_path, {"payer": '=HYPERLINK("http://x")', "claim_id": "@SUM(A1)"})

    assert issues == ()
    assert claim.payer_name == '=HYPERLINK("http://x")'
    assert claim.claim_key == HASHER.claim_key("@SUM(A1)")


def test_row_hashes_ignore_spelling_and_notice_meaning(tmp_path):
    one, _ = read_row(tmp_path, {"billed_amount": "100", "denial_code": "CO-045"})
    same, _ = read_row(tmp_path, {"billed_amount": "$100.00", "denial_code": "co45", "payer": "ACME HEALTH INC"})
    other, _ = read_row(tmp_path, {"billed_amount": "100.01", "denial_code": "CO-45"})

    assert one.row_sha256 == same.row_sha256
    assert one.row_sha256 != other.row_sha256


def test_unknown_columns_are_dropped_and_counted_by_name_only(tmp_path):
    header = ",".join(REQUIRED_COLUMNS) + ",member_name,Jane Doe 1970-01-01,"
    rows = "C1,A,99012,2025-01-06,2025-01-07,PAID,Jane,x,\nC2,A,99012,2025-01-06,2025-01-07,PAID, ,y,\n"

    reader, got = read_text(tmp_path, f"{header}\n{rows}")

    assert all(claim is not None for claim, _ in got)
    assert reader.dropped_columns == {"member_name": 1, "column 8": 2, "column 9": 0}
    assert "Jane" not in repr(got)
    assert reader.columns == tuple(name for name in COLUMNS if name in REQUIRED_COLUMNS)


def test_headers_are_matched_whatever_their_case_and_blanks(tmp_path):
    header = "Claim ID;PAYER; Procedure-Code ;submitted date;Decided_Date;Outcome"

    _, [(claim, issues)] = read_text(tmp_path, f"{header}\nC1;A;99012;2025-01-06;2025-01-07;PAID\n")

    assert claim is not None
    assert issues == ()


def test_a_wrong_header_names_the_missing_columns_only(tmp_path):
    with pytest.raises(MissingColumn) as refusal:
        read_text(tmp_path, "Jane Doe,MRN 12345,payer\n1,2,3\n")

    assert refusal.value.rule == "E902"
    assert "claim_id" in refusal.value.message
    assert "payer" not in refusal.value.message.split(", ")
    assert "Jane" not in refusal.value.message


@pytest.mark.parametrize(("extra", "named"), [("Claim ID", "claim_id"), ("jane,jane", "position 8")])
def test_a_header_with_a_column_twice_is_refused(tmp_path, extra, named):
    with pytest.raises(DuplicateHeader, match=named) as refusal:
        read_text(tmp_path, ",".join(REQUIRED_COLUMNS) + f",{extra}\n")

    assert "jane" not in refusal.value.message


def test_a_header_without_rows_is_an_empty_file(tmp_path):
    with pytest.raises(EmptyFile):
        read_text(tmp_path, ",".join(REQUIRED_COLUMNS) + "\n\n\n")


ROW = "C1,A,99012,2025-01-06,2025-01-07,PAID"


def test_a_row_with_other_cells_is_an_error_and_the_others_go_on(tmp_path):
    text = "\n".join([",".join(REQUIRED_COLUMNS), ROW, "C2,too,short", "", f"{ROW},long", ROW]) + "\n"

    reader, got = read_text(tmp_path, text)

    assert [(claim and claim.row_no, [(i.rule_code, i.row_no) for i in issues]) for claim, issues in got] == [
        (2, []),
        (None, [("E901", 3)]),
        (None, [("E901", 5)]),
        (6, []),
    ]
    assert reader.rows_read == 4
    assert reader.file_issues == []


@pytest.mark.parametrize("ending", ["C2,A,990", '"C2,A,99012,2025-01-06'])
def test_a_truncated_last_row_is_told_apart(tmp_path, ending):
    _, got = read_text(tmp_path, "\n".join([",".join(REQUIRED_COLUMNS), ROW, ending]))

    assert [claim is not None for claim, _ in got] == [True, False]
    assert [i.rule_code for i in got[-1][1]] == ["E906"]


def test_a_short_footer_with_a_line_end_is_no_truncation(tmp_path):
    _, got = read_text(tmp_path, "\n".join([",".join(REQUIRED_COLUMNS), ROW, "Total,1"]) + "\n")

    assert [i.rule_code for i in got[-1][1]] == ["E901"]


def test_a_missing_last_line_end_is_remarked_on(tmp_path):
    reader, got = read_text(tmp_path, "\n".join([",".join(REQUIRED_COLUMNS), ROW]))

    assert got[0][0] is not None
    assert [(i.rule_code, i.severity) for i in reader.file_issues] == [("I906", Severity.INFO)]


def test_an_open_quote_costs_its_lines_and_each_is_counted(tmp_path):
    lines = [",".join(REQUIRED_COLUMNS), ROW, '"C2' + ROW[2:], ROW, '"C4"x,A,99012,2025-01-06,2025-01-07,PAID', ROW]

    reader, got = read_text(tmp_path, "\n".join(lines) + "\n")

    assert [claim is not None for claim, _ in got] == [True, False, False, False, True]
    assert [i.row_no for _, issues in got for i in issues] == [3, 4, 5]
    assert reader.rows_read == 5


def test_a_file_that_changed_since_its_inspection_is_refused(tmp_path):
    path = tmp_path / "claims.csv"
    path.write_text(f"{','.join(REQUIRED_COLUMNS)}\n{ROW}\n")
    profile = inspect_file(path, max_bytes=10_000)
    options = ReadOptions(today=TODAY)

    path.write_text("short\n")
    with pytest.raises(ChangedFile):
        list(read_claims(path, profile=profile, hasher=HASHER, options=options))

    path.write_bytes(b"\xff" * profile.size)
    with pytest.raises(ChangedFile):
        list(read_claims(path, profile=profile, hasher=HASHER, options=options))


def test_no_planted_value_leaves_a_file(tmp_path):
    planted = "Jane-Q-Planted 123-45-6789"
    header = [*COLUMNS, "note", planted, "Jane_Planted_123456789"]
    rows = []
    for position in range(len(header)):
        cells = [GOOD.get(name, "") for name in header]
        cells[position] = planted * (4 if header[position] in {"claim_id", "payer"} else 1) + "\x07"
        rows.append(",".join(cells))
    rows.append(planted)

    try:
        reader, got = read_text(tmp_path, "\n".join([",".join(header), *rows]))
    except AppError as error:
        pytest.fail(error.code)

    assert len(got) == len(rows)
    issues = [i for _, found in got for i in found] + reader.file_issues
    shown = repr(issues) + repr([claim for claim, _ in got]) + repr(reader.dropped_columns)
    assert len(issues) >= 15
    assert "Planted" not in shown
    assert "6789" not in shown


def test_progress_is_known_while_reading(tmp_path):
    path = tmp_path / "claims.csv"
    path.write_text(f"{','.join(REQUIRED_COLUMNS)}\n" + f"{ROW}\n" * 5000)
    profile = inspect_file(path, max_bytes=1_000_000)
    reader = read_claims(path, profile=profile, hasher=HASHER, options=ReadOptions(today=TODAY))

    seen = [reader.bytes_read for _ in reader]

    assert seen == sorted(seen)
    assert 0 < seen[2500] < profile.size
    assert reader.bytes_read == profile.size
    assert reader.rows_read == 5000
