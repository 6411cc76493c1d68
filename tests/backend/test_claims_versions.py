"""Versions of a claim line: decisions, payments, reversals, and remittances joined to submitted dates."""

from datetime import date
from pathlib import Path

import pytest
from claim_files import PENDING, clp, csv_file, current, load, row, x12_file

from backend.claims.models import Claim, ImportIssue, OutcomeCount
from backend.claims.selectors import claim_versions_of, outcome_counts_current
from backend.claims.services import ImportOptions, batch_rollback, import_enqueue, import_run, spool_path
from backend.claims.tasks import import_batch_run
from backend.core.actor import Actor
from backend.core.tenancy import acting_for
from backend.payers.models import Payer, PayerAlias
from backend.payers.services import payer_map


def rules(actor: Actor) -> list[str]:
    with acting_for(actor.organization_id):
        return sorted({issue.rule_code for issue in ImportIssue.objects.exclude(rule_code="W101")})


def test_a_decision_makes_a_version_and_a_repeated_row_does_not(actor: Actor, tmp_path: Path):
    load(actor, csv_file(tmp_path, row(1, **PENDING), row(2)))

    batch = load(actor, csv_file(tmp_path, row(1), row(2), row(2), name="later.csv")).batch

    assert (batch.rows_accepted, batch.rows_updated, batch.rows_duplicate, batch.rows_rejected) == (0, 1, 2, 0)
    decided = next(claim for claim in current(actor) if claim.version == 2)
    with acting_for(actor.organization_id):
        old, new = claim_versions_of(decided)
        assert (old.outcome, old.superseded_at is None, new.outcome) == ("PENDING", False, "PAID")


def test_a_row_that_is_not_newer_is_an_issue(actor: Actor, tmp_path: Path):
    load(actor, csv_file(tmp_path, row(1)))

    batch = load(actor, csv_file(tmp_path, row(1, billed_amount="999.00"), name="later.csv")).batch

    assert (batch.rows_rejected, rules(actor)) == (1, ["W201"])
    assert [claim.billed_cents for claim in current(actor)] == [20_000]


def test_versions_inside_one_file_follow_their_dates(actor: Actor, tmp_path: Path):
    later = row(1, decided_date="2025-02-20", payment_date="2025-02-21")

    load(actor, csv_file(tmp_path, later, row(1), row(1, **PENDING)))

    (claim,) = current(actor)
    assert (claim.version, claim.decided_on) == (3, date(2025, 2, 20))


def test_more_versions_than_a_claim_can_have_are_an_issue(actor: Actor, tmp_path: Path):
    rows = [
        row(1, decided_date=f"2025-02-{day:02}", payment_date="", allowed_amount=f"{day}.00", paid_amount="")
        for day in range(1, 26)
    ]

    batch = load(actor, csv_file(tmp_path, *rows)).batch

    assert (batch.rows_accepted, batch.rows_updated, batch.rows_rejected) == (1, 19, 5)
    assert rules(actor) == ["W202"]


def test_a_remittance_completes_a_pending_claim(actor: Actor, tmp_path: Path):
    load(actor, csv_file(tmp_path, row(1, **PENDING)))

    load(actor, x12_file(tmp_path, clp(1, lines=2)))

    first, second = current(actor)
    assert (first.version, first.outcome, first.submitted_on) == (2, "PAID", date(2025, 1, 6))
    assert (first.auth_required, first.decided_on) == (True, date(2025, 1, 20))
    assert (second.line_no, second.submitted_on) == (2, date(2025, 1, 6))


def test_a_later_file_dates_every_line_of_a_remitted_claim(actor: Actor, tmp_path: Path):
    load(actor, x12_file(tmp_path, clp(1, lines=2)))
    assert [claim.submitted_on for claim in current(actor)] == [None, None]

    batch = load(actor, csv_file(tmp_path, row(1, **PENDING))).batch

    assert [(claim.submitted_on, claim.outcome) for claim in current(actor)] == [(date(2025, 1, 6), "PAID")] * 2
    batch_rollback(actor=actor, batch_id=batch.id)
    assert [(claim.submitted_on, claim.version) for claim in current(actor)] == [(None, 1), (None, 1)]


def test_a_remittance_before_the_submitted_date_is_an_issue(actor: Actor, tmp_path: Path):
    load(actor, csv_file(tmp_path, row(1, **PENDING), row(2)))

    load(actor, x12_file(tmp_path, clp(1), day="20241231"))

    assert rules(actor) == ["E201"]
    assert [claim.version for claim in current(actor)] == [1, 1]


def test_a_reversal_supersedes_and_a_correction_follows_it(actor: Actor, tmp_path: Path):
    load(actor, csv_file(tmp_path, row(1)))

    load(actor, x12_file(tmp_path, clp(1, "22", paid="-150"), day="20250210"))

    (reversed_claim,) = current(actor)
    assert (reversed_claim.outcome, reversed_claim.version) == ("REVERSED", 2)
    assert (reversed_claim.submitted_on, reversed_claim.paid_cents) == (date(2025, 1, 6), None)
    load(actor, x12_file(tmp_path, clp(1, paid="120"), day="20250210", name="b.835"))
    (corrected,) = current(actor)
    assert (corrected.version, corrected.paid_cents) == (3, 12_000)


def test_reversal_and_correction_in_one_file(actor: Actor, tmp_path: Path):
    load(actor, csv_file(tmp_path, row(1)))

    batch = load(actor, x12_file(tmp_path, clp(1, "22", paid="-150"), clp(1, paid="120"), day="20250210")).batch

    assert [(claim.version, claim.paid_cents) for claim in current(actor)] == [(3, 12_000)]
    batch_rollback(actor=actor, batch_id=batch.id)
    assert [(claim.version, claim.outcome) for claim in current(actor)] == [(1, "PAID")]


def test_mapping_a_name_moves_its_claims_and_the_newest_version_wins(actor: Actor, tmp_path: Path):
    load(actor, csv_file(tmp_path, row(1, **PENDING), row(2)))
    load(actor, x12_file(tmp_path, clp(1), clp(3), payer="ACME HLTH"))
    with acting_for(actor.organization_id):
        good = PayerAlias.objects.get(raw_name="acme health").payer

    mapping = payer_map(actor=actor, raw_name="Acme  Hlth", payer_code=good.code)

    assert (mapping.payer.id, mapping.payer.mapped, mapping.claims_moved) == (good.id, True, 2)
    claims = current(actor)
    assert {claim.payer_id for claim in claims} == {good.id}
    assert sorted(str(claim.submitted_on) for claim in claims) == ["2025-01-06", "2025-01-06", "None"]
    assert {claim.outcome for claim in claims} == {"PAID"}
    with acting_for(actor.organization_id):
        assert Claim.objects.count() == 4
        assert not Payer.objects.get(code="acme1").active


def test_a_new_name_gets_a_mapped_payer(actor: Actor):
    mapping = payer_map(actor=actor, raw_name="Beta Plan", payer_code="BETA")

    assert (mapping.payer.code, mapping.alias.raw_name, mapping.moved) == ("beta", "beta plan", {})


def test_a_waiting_file_is_loaded_by_its_job_and_removed(actor: Actor, tmp_path: Path):
    path = csv_file(tmp_path, row(1))
    outcome = import_enqueue(actor=actor, path=path, options=ImportOptions())
    assert (outcome.batch.status, spool_path(outcome.batch.id).exists()) == ("RECEIVED", True)
    assert not import_enqueue(actor=actor, path=path, options=ImportOptions()).created

    import_batch_run(organization_id=str(actor.organization_id), batch_id=str(outcome.batch.id))

    assert len(current(actor)) == 1
    assert not spool_path(outcome.batch.id).exists()


def test_a_waiting_file_that_is_gone_fails_its_batch(actor: Actor, tmp_path: Path):
    batch = import_enqueue(actor=actor, path=csv_file(tmp_path, row(1)), options=ImportOptions()).batch
    spool_path(batch.id).unlink()

    with pytest.raises(Exception, match="cannot be read"):
        import_run(actor=actor, batch_id=batch.id)

    with acting_for(actor.organization_id):
        batch.refresh_from_db()
    assert (batch.status, batch.error_code) == ("FAILED", "E909")


def test_outcome_counts_take_versions_and_refuse_overlaps(actor: Actor, tmp_path: Path):
    def counts(name: str, *rows: str) -> Path:
        return csv_file(tmp_path, *rows, name=name, header="payer,procedure_code,year,measure,total,rate")

    first = load(actor, counts("a.csv", "Acme,E0784,2020,CLAIM_DENIAL,9,0.89", "Acme,E0784,2021,CLAIM_DENIAL,5,1"))
    second = load(actor, counts("b.csv", "Acme,E0784,2020,CLAIM_DENIAL,10,0.5", "Acme,E0784,2021,CLAIM_DENIAL,5,1"))

    assert (first.batch.kind, first.batch.rows_accepted) == ("OUTCOME_COUNTS", 2)
    assert (second.batch.rows_updated, second.batch.rows_duplicate) == (1, 1)
    with acting_for(actor.organization_id):
        assert [count.favourable for count in outcome_counts_current().order_by("period_start")] == [5, 5]
        assert OutcomeCount.objects.count() == 3
    header = "payer,procedure_code,period_start,period_end,measure,total,rate"
    half = csv_file(tmp_path, "Acme,E0784,2020-01-01,2020-06-30,CLAIM_DENIAL,4,1", name="c.csv", header=header)
    load(actor, half)
    assert "C006" in rules(actor)
    batch_rollback(actor=actor, batch_id=second.batch.id)
    with acting_for(actor.organization_id):
        assert [count.favourable for count in outcome_counts_current().order_by("period_start")] == [8, 5]
