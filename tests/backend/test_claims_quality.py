"""The quality report of a batch, and the key under which an organization's claim numbers are hashed."""

from pathlib import Path

import pytest
from claim_files import HEADER, PENDING, csv_file, load, row

from backend.claims.keys import organization_key
from backend.claims.models import ImportBatch, QualityReport
from backend.claims.services import ImportOptions, import_file
from backend.core.actor import Actor
from backend.core.ids import uuid7
from backend.core.tenancy import acting_for
from backend.payers.models import PayerAlias, ProcedureCode


def report_of(actor: Actor, batch: ImportBatch) -> QualityReport:
    with acting_for(actor.organization_id):
        return QualityReport.objects.get(batch_id=batch.id)


def test_the_score_takes_errors_whole_and_warnings_half(actor: Actor, tmp_path: Path):
    rows = [row(0, line_no="x"), row(1, outcome="DENIED", payment_date="", paid_amount="0"), *map(row, range(2, 10))]

    report = report_of(actor, load(actor, csv_file(tmp_path, *rows)).batch)

    assert report.score == pytest.approx(1 - (1 + 0.5) / 10)
    assert report.rule_counts == {"E002": 1, "W101": 1, "W131": 1}


def test_a_row_counts_as_warned_once_and_only_if_it_was_taken(actor: Actor, tmp_path: Path):
    vague = {"outcome": "DENIED", "payment_date": "", "paid_amount": "0"}
    load(actor, csv_file(tmp_path, *map(row, range(20))))

    # 20 older denials without a reason, which change nothing; 3 such denials and 2 plain rows of new claims.
    stale = [row(number, decided_date="2025-01-10", **vague) for number in range(20)]
    fresh = [row(number, **vague) for number in range(30, 33)]
    batch = load(actor, csv_file(tmp_path, *stale, *fresh, row(40), row(41), name="b.csv")).batch

    report = report_of(actor, batch)
    assert (report.rule_counts["W131"], report.rule_counts["W201"]) == (23, 20)
    assert (batch.rows_accepted, batch.rows_rejected, batch.rows_warned) == (5, 20, 3)
    assert report.score == pytest.approx(1 - 23 / 2 / 25)


def test_issues_are_capped_and_counted_exactly(actor: Actor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = [row(number, authorization_required="perhaps") for number in range(1_010)]

    batch = load(actor, csv_file(tmp_path, *rows)).batch

    with acting_for(actor.organization_id):
        kept = batch.__class__.objects.raw("SELECT id FROM import_issue WHERE rule_code = 'W140'")
        assert len(list(kept)) == 1_000
    assert report_of(actor, batch).rule_counts["W140"] == 1_010
    assert batch.rows_warned == 1_010


def test_completeness_lags_and_pending_shares(actor: Actor, tmp_path: Path):
    rows = [row(1), row(2), row(3, **PENDING), row(4, **PENDING, submitted_date="2025-01-20")]

    report = report_of(actor, load(actor, csv_file(tmp_path, *rows)).batch)

    assert (report.completeness["decided_on"], report.completeness["billed_cents"]) == (0.5, 1.0)
    assert report.lag_stats == {"p10": 14, "p50": 14, "p90": 14, "pending_by_age": {"0-14": 0.5}}


def test_filled_cells_of_unknown_columns_are_counted(actor: Actor, tmp_path: Path):
    rows = [f"{row(1)},Roe,", f"{row(2)},,", f"{row(3)},Doe,x"]

    report = report_of(actor, load(actor, csv_file(tmp_path, *rows, header=f"{HEADER},member_name,note")).batch)

    assert report.dropped_cells == 3


def test_an_amount_far_from_its_code_is_an_outlier(actor: Actor, tmp_path: Path):
    rows = [row(number, billed_amount=f"{200 + number}.00") for number in range(40)]

    report = report_of(actor, load(actor, csv_file(tmp_path, *rows, row("x", billed_amount="900000.00"))).batch)

    assert report.outliers == 1


def test_a_payer_that_is_missing_from_a_later_file_is_a_volume_change(actor: Actor, tmp_path: Path):
    first = [row(f"{payer}{number}", payer=payer) for payer in ("Acme", "Beta") for number in range(30)]
    report = report_of(actor, load(actor, csv_file(tmp_path, *first)).batch)
    assert report.volume_changes == []

    later = load(actor, csv_file(tmp_path, *(row(f"n{number}", payer="Acme") for number in range(28)), name="b.csv"))

    (change,) = report_of(actor, later.batch).volume_changes
    with acting_for(actor.organization_id):
        assert change["payer_id"] == str(PayerAlias.objects.get(raw_name="beta").payer_id)
    assert (change["change"], change["rows_per_day"]) == (-1.0, 0.0)


def test_codes_get_the_system_of_their_form_and_a_group(actor: Actor, tmp_path: Path):
    codes = ["99213", "0001F", "D0120", "J1234", "0120"]

    load(actor, csv_file(tmp_path, *(row(code, procedure_code=code, procedure_group="") for code in codes)))

    with acting_for(actor.organization_id):
        found = {code.code: code.system for code in ProcedureCode.objects.all()}
        assert {code.group.code for code in ProcedureCode.objects.select_related("group")} == {"OTHER"}
    assert found == {"99213": "CPT", "0001F": "CPT", "D0120": "CDT", "J1234": "HCPCS", "0120": "REV"}


def test_progress_ends_at_the_size_of_the_file(actor: Actor, tmp_path: Path):
    path, seen = csv_file(tmp_path, row(1)), []

    import_file(actor=actor, path=path, options=ImportOptions(), progress=lambda *step: seen.append(step))

    assert seen[-1] == (path.stat().st_size, path.stat().st_size)


def test_every_organization_has_its_own_key():
    one, two = uuid7(), uuid7()

    assert organization_key(one, "1") == organization_key(one, "1")
    assert organization_key(one, "1") != organization_key(two, "1")
    assert len(organization_key(one, "1")) == 32
