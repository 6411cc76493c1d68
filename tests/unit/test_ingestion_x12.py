"""X12 835: claims of real public files, the meaning of statuses and adjustments, and broken envelopes."""

from datetime import date
from pathlib import Path

import pytest

from backend.core.errors import AppError, LimitExceeded
from backend.ingestion import x12_835
from backend.ingestion.errors import BrokenEnvelope, EmptyFile, FileRefused, UnsupportedTransaction
from backend.ingestion.files import FileKind, inspect_file
from backend.ingestion.keys import ClaimHasher
from backend.ingestion.records import WHOLE_CLAIM_CODE, ReadOptions
from backend.ingestion.x12_835 import parse_835
from backend.ingestion.x12_claims import read_remittances
from tests.shared_data import shared_file

TODAY = date(2025, 6, 30)
HASHER = ClaimHasher(b"k" * 32)
PAYER = ("N1*PR*Acme Health*XV*AC01",)
DATES = ("BPR*I*100*C*ACH************20250310", "DTM*405*20250305")


def interchange(
    *body: str, head: tuple[str, ...] = (*DATES, *PAYER), control: str = "000000001", element="*", end="~\n"
):
    """An 835 of one transaction with right counts."""
    transaction = ["ST*835*0001", *head, *body]
    segments = [
        f"ISA*00*          *00*          *ZZ*SENDER         *ZZ*RECEIVER       *250101*1200*^*00501*{control}*0*P*:",
        "GS*HP*A*B*20250101*1200*1*X*005010X221A1",
        *transaction,
        f"SE*{len(transaction) + 1}*0001",
        "GE*1*1",
        f"IEA*1*{control}",
    ]
    return "".join(segment.replace("*", element) + end for segment in segments)


def read_text(tmp_path: Path, text: str, **options):
    path = tmp_path / "file.835"
    path.write_bytes(text.encode())
    return read_path(path, **options)


def read_path(path: Path, **options):
    profile = inspect_file(path, max_bytes=10_000_000)
    assert profile.kind is FileKind.X12_835
    reader = read_remittances(path, profile=profile, hasher=HASHER, options=ReadOptions(today=TODAY, **options))
    return reader, list(reader)


def only(tmp_path: Path, *body: str, **options):
    _, [row] = read_text(tmp_path, interchange(*body), **options)
    return row


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("lfh_835_005010X221A1_cob-contractural-adjustment.835", [("55669", "PAID", 54100, 55000, 3400)]),
        (
            "lfh_835_005010X221A1_managed-care.835",
            [("99211", "PAID", 80000, 75000, 50000), ("93555", "PAID", 120000, 109500, 55000)],
        ),
        (
            "lfh_835_005010X221A1_medicare-part-a.835",
            [("CLAIM", "PAID", 21136697, 13801840, 13801840), ("CLAIM", "PAID", 1500000, 1198033, 1198033)],
        ),
        (
            "lfh_835_005010X221A1_secondary-payment.835",
            [
                ("CLAIM", "PAID", 1032364, 1032364, 91200),
                ("12345", "PAID", 16650, 15000, 3000),
                ("66543", "PAID", 58500, 50000, 28000),
            ],
        ),
        ("lfh_835_005010X221A1_tertiary-payment.835", [("CLAIM", "PAID", 176650, 176650, 18750)]),
        (
            "lfh_demo.835",
            [("CLAIM", "PAID", 21136697, 13801840, 13801840), ("CLAIM", "PAID", 1500000, 1198033, 1198033)],
        ),
        (
            "pyx12_mult_loops.835",
            [
                ("T1005", "DENIED", 50004, 0, 0),
                ("T1005", "DENIED", 12780, 0, 0),
                ("T1005", "DENIED", 28755, 0, 0),
            ],
        ),
    ],
)
def test_public_files(name, lines):
    _, rows = read_path(shared_file(f"x12/{name}"))

    got = [(c.procedure_code, c.outcome, c.billed_cents, c.allowed_cents, c.paid_cents) for c, _ in rows]
    assert got == lines
    assert all(c.submitted_on is None and c.decided_on is not None for c, _ in rows)


def test_the_837_is_refused_by_name():
    path = shared_file("x12/lfh_837_005010X222A2_demo.example1.837")

    with pytest.raises(UnsupportedTransaction, match="837") as refusal:
        inspect_file(path, max_bytes=10_000)

    assert refusal.value.code == "BAD_USER_INPUT"


def test_a_whole_line_is_read(tmp_path):
    body = (
        "CLP*ab-1*1*200*90*10*12*PCN*11",
        "NM1*QC*1*DOE*JANE****MI*M77",
        "NM1*82*1*SMITH*ANN****XX*1234567893",
        "MOA***MA01",
        "SVC*HC:99213:25:rt*200*90",
        "DTM*472*20250101",
        "CAS*CO*45*100",
        "CAS*PR*1*4**2*6",
        "LQ*HE*N14",
        "AMT*B6*100",
    )

    claim, issues = only(tmp_path, *body, keep_patient_ref=True)

    assert issues == ()
    assert (claim.row_no, claim.line_no, claim.claim_key) == (1, 1, HASHER.claim_key("AB-1"))
    assert (claim.payer_raw, claim.payer_name, claim.payer_code) == ("acme health", "Acme Health", "ac01")
    assert (claim.procedure_code, claim.modifiers, claim.place_of_service) == ("99213", ("25", "RT"), "11")
    assert (claim.decided_on, claim.paid_on) == (date(2025, 3, 5), date(2025, 3, 10))
    assert (claim.outcome, claim.denial_carc, claim.auth_required) == ("PAID", None, None)
    assert (claim.billed_cents, claim.allowed_cents, claim.paid_cents) == (20000, 10000, 9000)
    assert claim.rarc == ("N14", "MA01")
    assert claim.patient_ref == HASHER.patient_ref("M77")
    assert claim.provider_ref == HASHER.provider_ref("1234567893")


@pytest.mark.parametrize(
    ("status", "paid", "adjustments", "outcome", "reason"),
    [
        ("1", "60", "CAS*CO*45*40", "PAID", None),
        ("1", "0", "CAS*CO*45*100", "PAID", None),
        ("1", "0", "CAS*PR*1*100", "PAID", None),
        ("1", "0", "CAS*PR*2*60**3*40", "PAID", None),
        ("2", "0", "CAS*OA*23*100", "PAID", None),
        ("1", "98", "CAS*CO*253*2", "PAID", None),
        ("1", "0", "CAS*CO*50*100", "DENIED", ("CO", "50")),
        ("1", "0", "CAS*PI*204*100", "DENIED", ("PI", "204")),
        ("1", "0", "CAS*CO*45*40**197*60", "DENIED", ("CO", "197")),
        ("1", "0", "CAS*CO*16*10**50*90", "DENIED", ("CO", "50")),
        ("1", "0", "CAS*PR*96*100", "PAID", None),
        ("4", "0", "CAS*PR*96*100", "DENIED", ("PR", "96")),
        ("4", "0", "CAS*CO*45*100", "DENIED", None),
        ("1", "60", "CAS*CO*97*40", "PARTIAL", None),
        ("1", "100", "CAS*OA*94*-9", "PAID", None),
        ("19", "60", "CAS*CO*45*40", "PAID", None),
        ("20", "0", "CAS*CO*50*100", "DENIED", ("CO", "50")),
        ("21", "60", "CAS*CO*45*40", "PAID", None),
        ("22", "-60", "CAS*CO*45*-40", "REVERSED", None),
        ("23", "0", "CAS*OA*109*100", "OTHER", None),
        ("25", "0", "CAS*CO*101*100", "OTHER", None),
        ("13", "0", "CAS*OA*133*100", "PENDING", None),
        ("99", "60", "CAS*CO*45*40", "PAID", None),
    ],
)
def test_outcomes_of_a_line(tmp_path, status, paid, adjustments, outcome, reason):
    billed = "-100" if status == "22" else "100"

    claim, issues = only(tmp_path, f"CLP*C1*{status}*{billed}*{paid}", f"SVC*HC:99213*{billed}*{paid}", adjustments)

    assert claim.outcome == outcome
    assert (claim.denial_group, claim.denial_carc) == (reason or (None, None))
    assert claim.auth_denial == (reason == ("CO", "197"))
    assert claim.is_reversal == (status == "22")
    assert (claim.decided_on is None) == (outcome == "PENDING")
    assert claim.billed_cents == 10000
    expected = {"99": ["W152"], "4": [] if reason else ["W131"]}.get(status, [])
    assert [found.rule_code for found in issues] == expected


def test_what_is_no_denial_is_an_option(tmp_path):
    body = ("CLP*C1*1*100*0", "SVC*HC:99213*100*0", "CAS*CO*50*100")

    claim, _ = only(tmp_path, *body, not_denial_carcs=frozenset({"50"}))

    assert claim.outcome == "PAID"


def test_reasons_of_the_claim_hold_for_its_lines_but_amounts_do_not(tmp_path):
    body = ("CLP*C1*1*300*50", "CAS*CO*197*100", "CAS*CO*45*150", "SVC*HC:99213*100*0", "SVC*HC:99214*200*50")

    _, [(denied, _), (cut, _)] = read_text(tmp_path, interchange(*body))

    assert (denied.line_no, denied.outcome, denied.denial_carc, denied.auth_denial) == (1, "DENIED", "197", True)
    assert (cut.line_no, cut.outcome, cut.allowed_cents) == (2, "PARTIAL", 20000)


def test_allowed_is_the_charge_less_contractual_adjustments_without_b6(tmp_path):
    claim, _ = only(tmp_path, "CLP*C1*1*100*50", "SVC*HC:99213*100*50", "CAS*CO*45*30", "CAS*PR*1*20")

    assert claim.allowed_cents == 7000


def test_a_line_keeps_the_code_that_was_billed_and_down_coding_is_partial(tmp_path):
    claim, _ = only(tmp_path, "CLP*C1*1*100*50", "SVC*HC:99213*100*50***HC:99215:25")

    assert (claim.procedure_code, claim.modifiers, claim.outcome) == ("99215", ("25",), "PARTIAL")


def test_a_claim_without_lines_is_one_line(tmp_path):
    claim, issues = only(tmp_path, "CLP*C1*4*100*0****PCN*11", "CAS*CO*50*100")

    assert issues == ()
    assert (claim.procedure_code, claim.outcome, claim.denial_carc) == (WHOLE_CLAIM_CODE, "DENIED", "50")
    assert claim.place_of_service is None


def test_a_claim_with_an_unusable_line_is_taken_as_a_whole(tmp_path):
    body = ("CLP*C1*1*100*60", "SVC*HC:99213*50*30", "SVC*HC*50*30", "CAS*CO*45*20", "LQ*HE*N14")

    claim, issues = only(tmp_path, *body)

    assert (claim.procedure_code, claim.billed_cents, claim.allowed_cents) == (WHOLE_CLAIM_CODE, 10000, 8000)
    assert claim.rarc == ("N14",)
    assert [found.rule_code for found in issues] == ["W151"]


def test_lines_beyond_the_limit_are_left_out(tmp_path):
    _, rows = read_text(tmp_path, interchange("CLP*C1*1*1*1", *["SVC*HC:99213*1*1"] * 1001))

    assert len(rows) == 999
    assert [[found.rule_code for found in issues] for _, issues in rows[:2]] == [["W153"], []]


@pytest.mark.parametrize(
    ("head", "body", "code"),
    [
        ((*DATES, *PAYER), ("CLP**1*1*1", "SVC*HC:99213*1*1", "SVC*HC:99214*1*1"), "E001"),
        (DATES, ("CLP*C1*1*1*1", "SVC*HC:99213*1*1", "SVC*HC:99214*1*1"), "E930"),
        (PAYER, ("CLP*C1*1*1*1", "SVC*HC:99213*1*1", "SVC*HC:99214*1*1"), "E931"),
        (("DTM*405*20250701", *PAYER), ("CLP*C1*1*1*1", "SVC*HC:99213*1*1", "SVC*HC:99214*1*1"), "E011"),
        (
            ("BPR*I*1*C*ACH************20250708", "DTM*405*20250601", *PAYER),
            ("CLP*C1*1*1*1", "SVC*HC:99213*1*1", "SVC*HC:99214*1*1"),
            "E013",
        ),
    ],
)
def test_an_error_of_the_claim_refuses_all_its_lines(tmp_path, head, body, code):
    _, rows = read_text(tmp_path, interchange(*body, head=head))

    assert [(claim, [(i.rule_code, i.row_no) for i in issues]) for claim, issues in rows] == [
        (None, [(code, 1)]),
        (None, [(code, 2)]),
    ]


@pytest.mark.parametrize(
    "line", ["SVC*HC:99213*x*1", "SVC*HC:99213*1*-1", "SVC*HC:99213*99999999*1", "SVC*HC:99213**1"]
)
def test_an_amount_that_is_none_refuses_its_line_alone(tmp_path, line):
    _, rows = read_text(tmp_path, interchange("CLP*C1*1*2*2", line, "SVC*HC:99214*1*1"))

    assert [claim is None for claim, _ in rows] == [True, False]
    assert [found.rule_code for found in rows[0][1]] == ["E932"]


def test_a_bad_allowed_amount_is_an_error(tmp_path):
    claim, issues = only(tmp_path, "CLP*C1*1*2*2", "SVC*HC:99213*2*2", "AMT*B6*-2")

    assert claim is None
    assert [found.rule_code for found in issues] == ["E932"]


def test_production_after_the_effective_date_is_no_decision_after_the_payment(tmp_path):
    head = ("BPR*I*1*C*ACH************20250301", "DTM*405*20250305", *PAYER)

    _, [(claim, _)] = read_text(tmp_path, interchange("CLP*C1*1*1*1", "SVC*HC:99213*1*1", head=head))

    assert claim.decided_on == claim.paid_on == date(2025, 3, 1)


def test_a_payer_is_known_by_its_reference_when_n1_has_no_id(tmp_path):
    head = (*DATES, "N1*PR*Acme", "REF*2U*AC9", "REF*NF*123", "N1*PE*Clinic*XX*999", "REF*2U*NOT")

    _, [(claim, _)] = read_text(tmp_path, interchange("CLP*C1*1*1*1", "SVC*HC:99213*1*1", head=head))

    assert (claim.payer_raw, claim.payer_code) == ("acme", "ac9")
    assert claim.provider_ref == HASHER.provider_ref("999")


def test_provider_level_adjustments_are_tolerated_and_remarked_on(tmp_path):
    reader, rows = read_text(tmp_path, interchange("CLP*C1*1*1*1", "SVC*HC:99213*1*1", "PLB*999*20251231*CV:CP*-1.27"))

    assert rows[0][0].outcome == "PAID"
    assert [found.rule_code for found in reader.file_issues] == ["I160"]


def test_several_interchanges_with_their_own_separators(tmp_path):
    claim = ("CLP*C1*1*1*1", "SVC*HC:99213*1*1")
    text = interchange(*claim) + interchange(*claim, control="000000002", element="|", end="'") + "\r\n\x1a"

    reader, rows = read_text(tmp_path, text)

    assert [(c.row_no, c.procedure_code, c.outcome) for c, _ in rows] == [(1, "99213", "PAID"), (2, "99213", "PAID")]
    assert rows[0][0].row_sha256 == rows[1][0].row_sha256
    assert reader.rows_read == 2
    assert reader.bytes_read > 500


def test_a_foreign_component_separator_is_understood_with_a_warning(tmp_path):
    claim, issues = only(tmp_path, "CLP*C1*1*1*1", "SVC*HC>99213>25*1*1")

    assert (claim.procedure_code, claim.modifiers) == ("99213", ("25",))
    assert [found.rule_code for found in issues] == ["W150"]


GOOD = interchange("CLP*SECRET1*1*1*1", "SVC*HC:99213*1*1")


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        pytest.param(GOOD[: GOOD.index("SE*")], BrokenEnvelope, id="cut before SE"),
        pytest.param(GOOD[: GOOD.index("IEA")], BrokenEnvelope, id="cut before IEA"),
        pytest.param(GOOD.replace("SE*7", "SE*8"), BrokenEnvelope, id="segment count"),
        pytest.param(GOOD.replace("SVC*HC:99213*1*1~\n", ""), BrokenEnvelope, id="lost segment"),
        pytest.param(GOOD.replace("GE*1*", "GE*2*"), BrokenEnvelope, id="transaction count"),
        pytest.param(GOOD.replace("IEA*1*000000001", "IEA*1*000000002"), BrokenEnvelope, id="control number"),
        pytest.param(GOOD.replace("SE*7*0001~\n", ""), BrokenEnvelope, id="no SE"),
        pytest.param(GOOD + "SECRET2", BrokenEnvelope, id="garbage after IEA"),
        pytest.param(GOOD + GOOD[:50], BrokenEnvelope, id="second interchange cut"),
        pytest.param("ISA*00*" + GOOD[120:], FileRefused, id="no ISA header"),
        pytest.param(interchange("PLB*1*20251231*CV*1"), EmptyFile, id="no claim"),
        pytest.param(GOOD.replace("GE*1*1", "ST*837*0002~SE*2*0002~GE*2*1"), UnsupportedTransaction, id="837 inside"),
    ],
)
def test_broken_envelopes(tmp_path, text, failure):
    with pytest.raises(failure) as refusal:
        read_text(tmp_path, text)

    assert isinstance(refusal.value, AppError)
    assert refusal.value.code == "BAD_USER_INPUT"
    assert "SECRET" not in refusal.value.message
    assert "{" not in refusal.value.message


def test_an_interchange_over_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(x12_835, "MAX_INTERCHANGE_BYTES", 100)

    with pytest.raises(LimitExceeded, match="interchange"):
        read_text(tmp_path, GOOD)


def test_an_empty_file_is_no_835(tmp_path):
    path = tmp_path / "empty.835"
    path.touch()

    with pytest.raises(BrokenEnvelope, match="empty"):
        list(parse_835(path))


def test_a_remitted_claim_does_not_show_its_content(tmp_path):
    path = tmp_path / "file.835"
    path.write_text(GOOD)

    [claim] = parse_835(path)

    assert claim.number == "SECRET1"
    assert "SECRET1" not in repr(claim)
    assert "99213" not in repr(claim.lines)


def test_no_planted_value_leaves_a_file(tmp_path):
    body = (
        "CLP*SECRETNO" + "X" * 60 + "*SECRET*SECRET*1",
        "NM1*QC*1*SECRET*SECRET****MI*SECRET",
        "MOA***SECRET",
        "SVC*HC:SECRET1:SECRET*SECRET*1",
        "CAS*SECRET*SECRET*SECRET",
        "CLP*C1*1*5*5",
        "SVC*HC:99213:SECRET*SECRET*SECRET",
        "LQ*HE*SECRET",
        "CLP*C2*1*5*5****PCN*SECRET",
        "SVC*HC:99213:SECRET*5*5",
        "CAS*CO*SECRET*5",
        "LQ*HE*SECRET",
    )

    reader, rows = read_text(tmp_path, interchange(*body), keep_patient_ref=True)

    assert [claim is None for claim, _ in rows] == [True, True, False]
    assert "SECRET" not in repr(rows) + repr(reader.file_issues)
