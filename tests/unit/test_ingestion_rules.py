"""The table of rules as the one source of codes, and the COPY lines that carry claims to the database."""

import re
from datetime import date
from pathlib import Path

import pytest

from backend.ingestion import errors
from backend.ingestion.copy_format import copy_line
from backend.ingestion.records import Issue, Severity, StagedClaim
from backend.ingestion.rules import RULES, issue

PACKAGE = Path(errors.__file__).parent
CLAIM = StagedClaim(
    row_no=2,
    claim_key=b"\x00" * 16,
    line_no=1,
    payer_raw="a\\b",
    payer_name="A\\B",
    payer_code=None,
    procedure_code="99012",
    procedure_group=None,
    modifiers=("25", "RT"),
    submitted_on=date(2025, 1, 6),
    decided_on=date(2025, 1, 7),
    paid_on=None,
    outcome="PAID",
    billed_cents=100,
    allowed_cents=None,
    paid_cents=0,
    auth_required=True,
    auth_present=None,
    denial_carc=None,
    denial_group=None,
    rarc=(),
    auth_denial=False,
    patient_ref=None,
    provider_ref=None,
    place_of_service=None,
    row_sha256=b"\xff" * 32,
    is_reversal=False,
)


def test_every_code_that_is_used_is_a_rule_with_the_severity_of_its_letter():
    letters = {"E": {Severity.ERROR}, "W": {Severity.WARNING}, "I": {Severity.INFO}, "C": set(Severity)}
    used = set()
    for path in PACKAGE.glob("*.py"):
        if path.name != "rules.py":
            used.update(re.findall(r'"([EWIC]\d{3})"', path.read_text()))

    assert used <= RULES.keys()
    assert RULES.keys() - used <= {"W101", "E901", "E906", "C102", "C101"}
    for code, rule in RULES.items():
        assert rule.code == code
        assert rule.severity in letters[code[0]]
        assert rule.message.endswith(".")


def test_every_refusal_of_a_file_has_a_rule():
    refusals = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.FileRefused)
    ]

    assert len(refusals) >= 12
    assert {kind.rule for kind in refusals} <= RULES.keys()
    assert {kind.code for kind in refusals} == {"BAD_USER_INPUT"}


def test_an_issue_takes_severity_and_text_from_its_rule():
    rule = RULES["E010"]

    assert issue("E010", 7, "submitted_date") == Issue(7, "E010", "submitted_date", rule.severity, rule.message)
    with pytest.raises(KeyError):
        issue("E777", 1)


def test_copy_lines_are_in_the_text_format_of_postgresql():
    line = copy_line(CLAIM)

    cells = line.removesuffix("\n").split("\t")
    by_name = dict(zip(StagedClaim._fields, cells, strict=True))
    assert by_name["claim_key"] == "\\\\x" + "00" * 16
    assert by_name["payer_name"] == "A\\\\B"
    assert (by_name["modifiers"], by_name["rarc"]) == ("{25,RT}", "{}")
    assert (by_name["submitted_on"], by_name["paid_on"]) == ("2025-01-06", "\\N")
    assert (by_name["billed_cents"], by_name["paid_cents"], by_name["allowed_cents"]) == ("100", "0", "\\N")
    assert (by_name["auth_required"], by_name["is_reversal"]) == ("t", "f")


def test_copy_lines_escape_what_would_end_a_cell_or_line():
    line = copy_line(CLAIM._replace(payer_name="a\tb\nc\rd\\N"))

    assert line.count("\n") == 1
    assert line.split("\t")[StagedClaim._fields.index("payer_name")] == "a\\tb\\nc\\rd\\\\N"
