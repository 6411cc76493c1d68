"""Files of claims into batches and claims: idempotency, refusals, tenants."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from claim_files import HEADER, PENDING, clp, csv_file, current, load, row, x12_file
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from backend.accounts.models import Organization
from backend.audit.models import AuditEntry
from backend.claims.models import BatchStatus, Claim, ImportBatch, ImportIssue, OutcomeCount, QualityReport
from backend.claims.services import (
    BatchNotLoaded,
    ImportOptions,
    KindMismatch,
    batch_rollback,
    import_enqueue,
    import_run,
    spool_path,
)
from backend.core.actor import Actor, Role
from backend.core.errors import Forbidden, LimitExceeded, NotFound
from backend.core.ids import uuid7
from backend.core.tenancy import acting_for
from backend.ingestion.errors import FileRefused
from backend.payers.models import Payer


def counts_of(actor: Actor) -> dict[str, int]:
    with acting_for(actor.organization_id):
        return {
            model.__name__: model.objects.count()
            for model in (Claim, ImportBatch, ImportIssue, QualityReport, Payer, AuditEntry, OutcomeCount)
        }


def test_a_file_becomes_claims_a_report_and_one_audit_entry(actor: Actor, tmp_path: Path):
    path = csv_file(tmp_path, row(1), row(2, outcome="DENIED", denial_code="CO-197", payment_date="", paid_amount="0"))

    outcome = load(actor, path)

    assert (outcome.created, outcome.batch.status, outcome.batch.rows_accepted) == (True, BatchStatus.LOADED, 2)
    first, second = current(actor)
    assert (first.outcome, first.allowed_cents, first.version) == ("PAID", 15_000, 1)
    assert (second.outcome, second.auth_denial, len(bytes(second.claim_key))) == ("DENIED", True, 16)
    with acting_for(actor.organization_id):
        report = QualityReport.objects.get()
        assert (report.score, report.payer_unmapped, report.rule_counts) == (1.0, 1, {"W101": 1})
        assert report.lag_stats["p50"] == 14
        entries = AuditEntry.objects.exclude(action__in=("insert", "update"))
        assert [entry.action for entry in entries] == ["claims.import"]
        assert AuditEntry.objects.get(object_type="claim").object_count == 2


def test_the_same_bytes_again_are_the_same_batch(actor: Actor, tmp_path: Path):
    first = load(actor, csv_file(tmp_path, row(1)))
    before = counts_of(actor)

    again = load(actor, csv_file(tmp_path, row(1), name="other.csv"))

    assert (again.created, again.batch.id, again.duplicate_of) == (False, first.batch.id, first.batch)
    assert counts_of(actor) == before


def test_two_uploads_at_once_are_one_batch(actor: Actor, tmp_path: Path):
    path = csv_file(tmp_path, *(row(number) for number in range(300)))
    ids, failures = [], []

    def upload() -> None:
        try:
            ids.append(load(actor, path).batch.id)
        except Exception as error:  # noqa: BLE001 - reported by the assertion below
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=upload) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert len(ids) == 4
    assert len(set(ids)) == 1
    assert len(current(actor)) == 300


def test_different_files_at_once_load_each_claim_once(actor: Actor, tmp_path: Path):
    paths = [csv_file(tmp_path, *(row(n) for n in range(200)), row(f"own{i}"), name=f"{i}.csv") for i in range(4)]
    failures = []

    def upload(path: Path) -> None:
        try:
            load(actor, path)
        except Exception as error:  # noqa: BLE001 - reported by the assertion below
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=upload, args=[path]) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert len(current(actor)) == 204


def test_a_dry_run_counts_and_leaves_nothing_but_its_audit_entry(actor: Actor, tmp_path: Path):
    before = counts_of(actor)

    outcome = load(actor, csv_file(tmp_path, row(1), row(2)), dry_run=True)

    assert outcome.batch.rows_accepted == 2
    assert counts_of(actor) == {**before, "AuditEntry": before["AuditEntry"] + 1}


def test_too_many_bad_rows_reject_the_batch_and_keep_the_report(actor: Actor, tmp_path: Path):
    bad = [row(number, submitted_date="not a date") for number in range(3)]

    outcome = load(actor, csv_file(tmp_path, *bad, *(row(number) for number in range(10, 20))))

    assert (outcome.batch.status, outcome.batch.rows_rejected) == (BatchStatus.REJECTED, 13)
    counts = counts_of(actor)
    assert (counts["Claim"], counts["Payer"], counts["ImportIssue"], counts["QualityReport"]) == (0, 0, 3, 1)


def test_errors_that_only_the_stored_claims_show_reject_the_batch_too(actor: Actor, tmp_path: Path):
    pending = [row(number, **PENDING) for number in range(3)]
    load(actor, csv_file(tmp_path, *pending))
    before = counts_of(actor)

    # Decided before the submitted date that is stored: E201, known only when the rows are loaded.
    batch = load(actor, x12_file(tmp_path, *(clp(number) for number in range(12)), day="20250102")).batch

    assert (batch.status, batch.error_code) == (BatchStatus.REJECTED, "TOO_MANY_ERRORS")
    assert (batch.rows_total, batch.rows_accepted, batch.rows_rejected) == (12, 0, 12)
    after = counts_of(actor)
    assert (after["Claim"], after["Payer"]) == (before["Claim"], before["Payer"])
    assert len(current(actor)) == 3
    with acting_for(actor.organization_id):
        assert ImportIssue.objects.filter(batch_id=batch.id, rule_code="E201").count() == 3
        assert QualityReport.objects.filter(batch_id=batch.id).exists()


def test_a_few_bad_rows_leave_the_batch_partial(actor: Actor, tmp_path: Path):
    path = csv_file(tmp_path, row(0, billed_amount="-1"), *(row(number) for number in range(10, 20)))

    outcome = load(actor, path)

    assert (outcome.batch.status, outcome.batch.rows_accepted, outcome.batch.rows_rejected) == ("PARTIAL", 10, 1)
    with acting_for(actor.organization_id):
        assert "E020" in {issue.rule_code for issue in ImportIssue.objects.all()}


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("claim_id,payer\n1,a\n", "E902"),
        (HEADER + "\n", "E903"),
        (HEADER + "\n" + row(1) + "\nb\u00e4d,caf\xe9\n", "E905"),
    ],
)
def test_a_file_that_is_refused_as_a_whole_leaves_the_database_as_it_was(
    actor: Actor, tmp_path: Path, content: str, rule: str
):
    path = tmp_path / "bad.csv"
    path.write_bytes(content.encode().replace(b"caf\xc3\xa9", b"caf\xe9"))
    before = counts_of(actor)

    with pytest.raises(FileRefused) as failure:
        load(actor, path)

    assert (failure.value.rule, failure.value.path) == (rule, ("file",))
    assert counts_of(actor) == before


def test_a_file_that_a_worker_finds_wrong_leaves_a_batch_that_says_so(actor: Actor, tmp_path: Path):
    path = csv_file(tmp_path, "1,a", header="claim_id,payer")
    batch = import_enqueue(actor=actor, path=path, options=ImportOptions()).batch

    with pytest.raises(FileRefused):
        import_run(actor=actor, batch_id=batch.id)

    with acting_for(actor.organization_id):
        assert [(batch.status, batch.error_code) for batch in ImportBatch.objects.all()] == [("FAILED", "E902")]
        assert Claim.objects.count() == Payer.objects.count() == 0
    assert not spool_path(batch.id).exists()


@pytest.mark.parametrize(
    "columns", [{f"field{number}": "x" for number in range(21)}, {"total": "h" * 201}, {"f" * 201: "total"}]
)
def test_a_column_mapping_has_its_limits(columns: dict[str, str]):
    with pytest.raises(LimitExceeded) as refusal:
        ImportOptions(columns=columns)

    assert refusal.value.path == ("columns",)


def test_a_truncated_remittance_loads_nothing(actor: Actor, tmp_path: Path):
    path = x12_file(tmp_path, clp(1), clp(2))
    path.write_bytes(path.read_bytes()[:-60])
    before = counts_of(actor)

    with pytest.raises(FileRefused):
        load(actor, path)

    assert counts_of(actor) == before


def test_an_empty_file_leaves_nothing(actor: Actor, tmp_path: Path):
    (tmp_path / "empty.csv").write_bytes(b"")

    with pytest.raises(FileRefused):
        load(actor, tmp_path / "empty.csv")

    assert counts_of(actor)["ImportBatch"] == 0


def test_a_declared_kind_must_fit(actor: Actor, tmp_path: Path):
    with pytest.raises(KindMismatch):
        load(actor, csv_file(tmp_path, row(1)), kind="X12_835")


def test_a_viewer_may_neither_import_nor_roll_back(actor: Actor, actor_as: Callable[[Role], Actor], tmp_path: Path):
    batch = load(actor, csv_file(tmp_path, row(1))).batch

    with pytest.raises(Forbidden):
        load(actor_as(Role.VIEWER), csv_file(tmp_path, row(2)))
    with pytest.raises(Forbidden):
        batch_rollback(actor=actor_as(Role.ANALYST), batch_id=batch.id)


def test_tenants_hold_the_same_file_apart(actor: Actor, other_organization: Organization, tmp_path: Path):
    stranger = Actor(organization_id=other_organization.id, role=Role.OWNER)
    path = csv_file(tmp_path, row(1))

    mine, theirs = load(actor, path), load(stranger, path)

    assert theirs.created
    assert mine.batch.id != theirs.batch.id
    assert bytes(current(actor)[0].claim_key) != bytes(current(stranger)[0].claim_key)
    with pytest.raises(NotFound):
        batch_rollback(actor=stranger, batch_id=mine.batch.id)


def test_a_rolled_back_batch_leaves_no_rows_and_may_come_again(actor: Actor, tmp_path: Path):
    path = csv_file(tmp_path, row(1))
    first = load(actor, path).batch

    batch_rollback(actor=actor, batch_id=first.id)

    assert current(actor) == []
    assert load(actor, path).created
    assert len(current(actor)) == 1
    with pytest.raises(BatchNotLoaded):
        batch_rollback(actor=actor, batch_id=first.id)
    with pytest.raises(NotFound):
        batch_rollback(actor=actor, batch_id=uuid7())


def test_the_number_of_statements_does_not_depend_on_the_rows(actor: Actor, tmp_path: Path):
    def statements(name: str, numbers: range) -> int:
        with CaptureQueriesContext(connection) as captured:
            load(actor, csv_file(tmp_path, *(row(number) for number in numbers), name=name))
        return len(captured)

    statements("names.csv", range(1))

    few, many = statements("few.csv", range(10, 12)), statements("many.csv", range(1000, 3000))

    assert few == many <= 45


def test_no_clear_claim_number_is_stored(actor: Actor, tmp_path: Path):
    load(actor, csv_file(tmp_path, row(1), row(2, submitted_date="CLEAR-NUMBER-2"), *map(row, range(3, 9))))
    load(actor, x12_file(tmp_path, clp(77)))

    with acting_for(actor.organization_id), connection.cursor() as cursor:
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        tables = [name for (name,) in cursor.fetchall()]
        for table in tables:
            cursor.execute(f'SELECT count(*) FROM "{table}" t WHERE t::text ILIKE %s', ["%CLEAR-NUMBER%"])
            assert cursor.fetchone() == (0,), table
            cursor.execute(f'SELECT count(*) FROM "{table}" t WHERE t::text ILIKE %s', [f"%{b'CLEAR'.hex()}%"])
            assert cursor.fetchone() == (0,), table
    assert "claim" in tables


@pytest.mark.parametrize("width", [40, 80])
def test_the_command_prints_a_summary_that_fits_the_width_and_no_bar_where_nobody_looks(
    organization: Organization,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    width: int,
):
    monkeypatch.setenv("COLUMNS", str(width))
    paths = [
        csv_file(tmp_path, *(row(number) for number in range(1_200)), name=f"[{'long-' * 12}name].csv"),
        x12_file(tmp_path, clp(1)),
    ]

    call_command("import_claims", *map(str, paths), organization=organization.name)
    call_command("import_claims", str(paths[0]), organization=organization.name, dry_run=True)

    printed, beside = capfd.readouterr()
    assert beside == ""
    lines = printed.splitlines()
    assert max(map(len, lines)) <= width
    assert f"[{'long-' * 12}name].csv" in "".join(lines)
    assert "1,200: 1,200 new, 0 updated" in printed
    assert "LOADED (CSV, dry run)" in printed


def test_the_command_tells_nothing_new_of_a_file_that_was_loaded_before(
    organization: Organization, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    path = csv_file(tmp_path, row(1), row(2))

    for _ in range(2):
        call_command("import_claims", str(path), organization=organization.name)

    first, again = capfd.readouterr().out.split("Imported files: 1")[1:]
    assert ("2: 2 new, 0 updated" in first, "loaded before" in first) == (True, False)
    assert "2: none new; then 2 new, 0 updated" in again
    assert "loaded before" in again


def test_the_command_fails_with_a_message(organization: Organization, tmp_path: Path):
    with pytest.raises(CommandError, match="E902"):
        call_command(
            "import_claims", str(csv_file(tmp_path, "1", name="b.csv", header="x")), organization=organization.name
        )
    with pytest.raises(CommandError, match="organization"):
        call_command("import_claims", "x.csv", organization="nobody")
