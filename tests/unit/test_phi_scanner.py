"""The scanner of free text: how good it is on its corpus, and the rules of the numbers that have some."""

import pytest

from backend.phi.patterns import Identifier, is_npi
from backend.phi.scanner import Hit, redacted, scan
from benchmarks.phi import evaluation


@pytest.mark.parametrize("half", evaluation.HALVES)
def test_the_scanner_is_good_enough_on_each_half_of_the_corpus(half: str) -> None:
    figures = evaluation.measure(evaluation.read(half))

    assert figures.lines >= 150
    assert figures.labelled.total() >= 80
    assert figures.clean["payer"] >= 50
    assert figures.recall >= evaluation.MIN_RECALL
    assert figures.false_on_payers <= evaluation.MAX_FALSE_ON_PAYERS


def test_every_kind_of_identifier_is_in_the_corpus_and_no_line_twice() -> None:
    lines = [line for half in evaluation.HALVES for line in evaluation.read(half)]

    assert len({line.text for line in lines}) == len(lines) >= 300
    assert {str(label.kind) for line in lines for label in line.labels} == {kind.value for kind in Identifier}


def test_a_scanner_that_finds_nothing_or_everything_fails_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = evaluation.read("tuning")

    monkeypatch.setattr(evaluation, "scan", lambda _: ())
    assert not evaluation.measure(lines).passes
    monkeypatch.setattr(evaluation, "scan", lambda text: (Hit(Identifier.NAME, 0, len(text)),))
    assert not evaluation.measure(lines).passes


@pytest.mark.parametrize(
    "text",
    [
        "000-12-3456",  # an area that was never assigned
        "666-12-3456",
        "912-12-3456",
        "219-00-9999",  # a group
        "219-09-0000",  # a serial number
        "1219-09-99990",
        "219-09-9999-1",
        "0EG4-TE5-MK73",  # an MBI begins with 1 to 9
        "1EG4-SE5-MK73",  # and has no S
        "115-555-0132",  # no area code begins with 1
        "NPI 1234567893",
        "build 20250117",
        "3f2a1b4c-5d6e-4f70-8a9b-0c1d2e3f4a5b",
    ],
)
def test_a_number_that_breaks_its_rule_is_no_identifier(text: str) -> None:
    assert scan(text) == ()


def test_a_provider_is_no_patient_unless_the_number_is_none_of_a_provider() -> None:
    assert is_npi("1234567893")
    assert not is_npi("1234567890")
    assert not is_npi("123456789")
    assert scan("call NPI 2234567891") == ()
    assert [hit.kind for hit in scan("call NPI 2234567892")] == [Identifier.PHONE]


def test_redaction_leaves_nothing_of_what_was_found() -> None:
    text = "Roe, Jane (DOB 03/04/1961) \u2013 SSN 219\u201109\u20119999, cell (415)\u00a0555-0132"

    clean = redacted(text, scan(text))

    assert clean == "[NAME] (DOB [DATE]) \u2013 SSN [SSN], cell [PHONE]"
    assert scan(clean) == ()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("it is 219\u200b-09-\u00ad9999.", "it is [SSN]."),
        ("ssn\u200b219099999", "ssn\u200b[SSN]"),
        ("\uff12\uff11\uff19\uff0d\uff10\uff19\uff0d\uff19\uff19\uff19\uff19", "[SSN]"),
        ("219\u200109\u20019999", "[SSN]"),
        ("1EG4\u2060-TE5-MK73\ufe0f", "[MBI]\ufe0f"),
        ("Patient\u200b John\u200bSmith", "Patient\u200b [NAME]"),
        ("\ufeffjohn.smith\uff20example.com", "\ufeff[EMAIL]"),
        ("MRN \u0661\u0662\u0663\u0664\u0665\u0666", "MRN [RECORD NUMBER]"),
    ],
)
def test_no_width_and_nothing_unseen_hides_an_identifier(text: str, kept: str) -> None:
    assert redacted(text, scan(text)) == kept


def test_overlapping_finds_are_one() -> None:
    text = "patient Roe, Jane"

    assert redacted(text, scan(text)) == "patient [NAME]"


def test_names_of_payers_are_not_read_as_persons() -> None:
    assert scan("Jane Roe", with_names=False) == ()
    assert [hit.kind for hit in scan("Jane Roe 219-09-9999", with_names=False)] == [Identifier.SSN]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("patient_Jane_Roe.csv", "patient_[NAME].csv"),
        ("patient_Jane_Smith seen", "patient_[NAME] seen"),
        ("PATIENT_JANE_SMITH", "PATIENT_[NAME]"),
        ("ssn_219-09-9999", "ssn_[SSN]"),
        ("ssn 219-09-9999_x", "ssn [SSN]_x"),
        ("id 219-09-9999-retry", "id [SSN]-retry"),
        ("x219-09-9999", "x[SSN]"),
        ("item-219-09-9999y", "item-[SSN]y"),
        ("MRN_77120094 in log", "MRN_[RECORD NUMBER] in log"),
        ("dob_1980-01-02 of patient", "dob_[DATE] of patient"),
        ("back-415-555-0132-late", "back-[PHONE]-late"),
        ("card1EG4-TE5-MK73", "card[MBI]"),
        ("by jane_roe.x@example.com", "by [EMAIL]"),
    ],
)
def test_underscores_part_words_and_letters_beside_a_number_do_not_hide_it(text: str, kept: str) -> None:
    assert redacted(text, scan(text)) == kept


@pytest.mark.parametrize(
    "text",
    [
        "claim_2024-01-02",
        "claim_202601",
        "claim_20260117.csv",
        "MS_PER_DAY",
        "MIN_USUAL_ROWS",
        "PATIENT_REF_KEY",
        "patient_rows(member_id, claim_key)",
        "tests/backend/test_claims_keys.py::test_patient_ref_is_hashed",
        "commit_4f9a1c2e8b7d6a5f4e3d2c1b0a9f8e7d6c5b4a39",
        "fix_3f2a1b4c-5d6e-4f70-8a9b-0c1d2e3f4a5b",
        "v1219-09-9999",
    ],
)
def test_names_in_programs_are_no_identifiers(text: str) -> None:
    assert scan(text) == ()


def test_the_command_tells_figures_and_fails_where_the_scanner_is_bad(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks phi", "--wrong"])
    assert evaluation.main() == 0
    assert "held_out" in capsys.readouterr().out

    monkeypatch.setattr(evaluation, "scan", lambda _: ())
    assert evaluation.main() == 1
