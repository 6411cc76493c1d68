"""Workers that are killed in the middle of a job: it is done once by another, or given up and its input freed."""

import json
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from claim_files import csv_file, current, row
from django.db import OperationalError, connection, transaction
from drift_claims import LAST, seed_claims
from people import at_once
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateJob
from procrastinate.exceptions import AlreadyEnqueued
from procrastinate.jobs import Job, Status
from workers import empty_queue, kill_in_the_middle, until, worker_is_long_dead, working

from backend.accounts.models import Organization
from backend.agents.tasks import end_silent_runs
from backend.alerts.models import Alert
from backend.alerts.services import alert_rule_default
from backend.alerts.tasks import detect_job, fail_abandoned_runs
from backend.audit.models import AuditEntry
from backend.claims import services
from backend.claims.models import Claim, ImportBatch
from backend.claims.services import BatchInWork, ImportOptions, import_enqueue, import_run, spool_path
from backend.claims.tasks import fail_abandoned_batches
from backend.core.actor import Actor
from backend.core.errors import BadUserInput, LockedOut, NotFound, Unavailable
from backend.core.ids import uuid7
from backend.core.jobs import RETRY
from backend.core.tasks import forget_old_jobs, take_up_stalled_jobs
from backend.core.tenancy import acting_for
from backend.drift import services as drift_services
from backend.drift.models import DetectionRun, DriftEvent, DriftTest
from backend.drift.runs import detection_run_start


@pytest.fixture(autouse=True)
def quiet(database: str) -> None:
    empty_queue()


def send(actor: Actor, folder: Path, rows: int = 50) -> ImportBatch:
    path = csv_file(folder, *(row(number) for number in range(rows)))
    return import_enqueue(actor=actor, path=path, options=ImportOptions()).batch


def stored_batches(actor: Actor) -> list[tuple[str, str]]:
    with acting_for(actor.organization_id):
        return list(ImportBatch.objects.order_by("id").values_list("status", "error_code"))


def jobs() -> list[tuple[str, str, int]]:
    return list(ProcrastinateJob.objects.order_by("id").values_list("task_name", "status", "attempts"))


@async_to_sync
async def begin_and_die() -> Job | None:
    """A worker takes the next job and is never heard of again."""
    worker = await app.job_manager.register_worker()
    return await app.job_manager.fetch_job(queues=None, worker_id=worker)


def take_up() -> None:
    async_to_sync(take_up_stalled_jobs.func)(0)


def test_an_import_cut_off_in_the_middle_is_done_once_by_another_worker(
    actor: Actor, database: str, tmp_path: Path
) -> None:
    batch = send(actor, tmp_path)

    kill_in_the_middle(database, "claim")

    assert stored_batches(actor) == [("RECEIVED", "")]
    assert (current(actor), spool_path(batch.id).exists()) == ([], True)
    worker_is_long_dead()
    with suppress(AlreadyEnqueued):  # by the worker that was killed
        take_up_stalled_jobs.defer(timestamp=0)
    with working(database):
        assert until(lambda: stored_batches(actor) == [("LOADED", "")])
        assert until(lambda: not ProcrastinateJob.objects.filter(args__batch_id=str(batch.id)).exists())
    with acting_for(actor.organization_id):
        assert Claim.objects.count() == Claim.objects.values("claim_key").distinct().count() == 50
        assert AuditEntry.objects.filter(action="claims.import").count() == 1
    assert list(spool_path(batch.id).parent.iterdir()) == []


def test_a_detection_run_cut_off_in_the_middle_is_done_once_by_another_worker(
    actor: Actor, organization: Organization, database: str
) -> None:
    seed_claims(organization, payers=2, changed=LAST - timedelta(days=30), changed_rate=0.5)
    alert_rule_default(actor)
    run, _ = detection_run_start(actor=actor)

    kill_in_the_middle(database, "drift_test")

    with acting_for(organization.id):
        assert DetectionRun.objects.get().status == "RUNNING"
        assert not DriftTest.objects.exists()
    worker_is_long_dead()
    with suppress(AlreadyEnqueued):  # by the worker that was killed
        take_up_stalled_jobs.defer(timestamp=0)
    with working(database):
        assert until(lambda: not ProcrastinateJob.objects.filter(args__run_id=str(run.id)).exists())
    with acting_for(organization.id):
        done = DetectionRun.objects.get()
        assert (done.status, done.tests_total) == ("SUCCEEDED", DriftTest.objects.exclude(p_raw=None).count())
        assert DriftEvent.objects.count() == done.events_opened > 0
        assert Alert.objects.count() == Alert.objects.values("event_id").distinct().count() > 0


def test_a_job_that_outlives_three_workers_is_given_up_and_its_file_can_be_sent_again(
    actor: Actor, tmp_path: Path
) -> None:
    batch = send(actor, tmp_path)

    for death in (1, 2, 3):
        assert begin_and_die().task_name == "claims.import_batch_run"
        fail_abandoned_batches(0)
        take_up()
        assert jobs()[0][1] == "doing"  # a worker is not dead at once
        worker_is_long_dead()
        take_up()
        assert jobs() == [("claims.import_batch_run", "todo" if death < 3 else "failed", death)]
        assert stored_batches(actor) == [("RECEIVED", "")]

    fail_abandoned_batches(0)

    assert stored_batches(actor) == [("FAILED", "ABANDONED")]
    assert not spool_path(batch.id).exists()
    again = send(actor, tmp_path)
    assert again.id != batch.id
    import_run(actor=actor, batch_id=again.id)
    assert stored_batches(actor) == [("FAILED", "ABANDONED"), ("LOADED", "")]


def test_a_periodic_job_is_not_taken_up_and_keeps_no_other_from_it(actor: Actor, tmp_path: Path) -> None:
    end_silent_runs.defer(timestamp=0)
    begin_and_die()
    send(actor, tmp_path)
    begin_and_die()
    end_silent_runs.defer(timestamp=60)  # its next turn; two that wait cannot be
    worker_is_long_dead()

    take_up()

    assert jobs() == [("claims.import_batch_run", "todo", 1), ("agents.end_silent_runs", "todo", 0)]


def test_a_stalled_job_that_ends_meanwhile_keeps_no_other_from_being_taken_up(
    actor: Actor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = send(actor, tmp_path, rows=1), send(actor, tmp_path, rows=2)
    ended = begin_and_die()
    begin_and_die()
    worker_is_long_dead()
    seen = app.job_manager.get_stalled_jobs

    async def then_one_ends(**values: float) -> list[Job]:
        found = list(await seen(**values))
        await app.job_manager.finish_job(ended, Status.SUCCEEDED, delete_job=True)
        return found

    monkeypatch.setattr(app.job_manager, "get_stalled_jobs", then_one_ends)
    take_up()

    assert [job.args["batch_id"] for job in ProcrastinateJob.objects.all()] == [str(second.id)]
    assert jobs() == [("claims.import_batch_run", "todo", 1)]
    assert first.id != second.id


def test_a_batch_that_another_loads_is_left_to_it_and_looked_at_again(actor: Actor, tmp_path: Path) -> None:
    batch = send(actor, tmp_path)
    with acting_for(actor.organization_id):
        ImportBatch.objects.select_for_update().get(id=batch.id)

        [outcome] = at_once(lambda: import_run(actor=actor, batch_id=batch.id))
        ProcrastinateJob.objects.all().delete()
        at_once(lambda: fail_abandoned_batches(0))

    assert isinstance(outcome, BatchInWork)
    assert (stored_batches(actor), spool_path(batch.id).exists()) == ([("RECEIVED", "")], True)


def test_a_job_whose_work_was_done_before_its_worker_died_changes_nothing(actor: Actor, tmp_path: Path) -> None:
    batch = send(actor, tmp_path)
    import_run(actor=actor, batch_id=batch.id)
    spool_path(batch.id).write_bytes(b"left by a worker that died between the two")

    again = import_run(actor=actor, batch_id=batch.id)

    assert (again.status, len(current(actor))) == ("LOADED", 50)
    assert not spool_path(batch.id).exists()
    with pytest.raises(NotFound):
        import_run(actor=actor, batch_id=uuid7())


def test_where_the_database_fails_batch_and_file_stay_for_another_attempt(
    actor: Actor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = send(actor, tmp_path)
    stage = services.stage_claims

    def cut_off(*arguments: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            [[backend]] = cursor.fetchall()
        at_once(lambda: end_backend(backend))
        stage(*arguments)

    monkeypatch.setattr(services, "stage_claims", cut_off)
    with pytest.raises(OperationalError):
        import_run(actor=actor, batch_id=batch.id)
    monkeypatch.undo()

    assert (stored_batches(actor), spool_path(batch.id).exists()) == ([("RECEIVED", "")], True)
    import_run(actor=actor, batch_id=batch.id)
    assert (stored_batches(actor), len(current(actor))) == ([("LOADED", "")], 50)


def test_where_the_database_fails_a_run_stays_for_another_attempt(
    actor: Actor, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed_claims(organization, payers=2, changed=LAST - timedelta(days=30), changed_rate=0.5)
    alert_rule_default(actor)
    run, _ = detection_run_start(actor=actor)
    job = {"organization_id": str(organization.id), "run_id": str(run.id)}
    store = drift_services.store_tests

    def cut_off(*arguments: Any) -> None:
        store(*arguments)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            [[backend]] = cursor.fetchall()
        at_once(lambda: end_backend(backend))

    def refuse(*_arguments: Any) -> None:
        raise LockedOut

    for failure, raised in ((cut_off, OperationalError), (refuse, LockedOut)):
        monkeypatch.setattr(drift_services, "store_tests", failure)
        with pytest.raises(raised):
            detect_job(**job)
        with acting_for(organization.id):
            assert (DetectionRun.objects.get().status, DriftTest.objects.count()) == ("RUNNING", 0)
    monkeypatch.undo()
    detect_job(**job)

    with acting_for(organization.id):
        done = DetectionRun.objects.get()
        assert (done.status, done.error_code) == ("SUCCEEDED", "")
        assert DriftEvent.objects.count() == done.events_opened > 0
        assert Alert.objects.exists()


def end_backend(backend: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])


@pytest.mark.parametrize(
    ("failure", "again"),
    [
        (OperationalError(), True),
        (Unavailable(), True),
        (BatchInWork(), True),
        (BadUserInput(), False),
        (KeyError("a bug"), False),
    ],
)
def test_what_the_database_failed_at_is_tried_again_and_nothing_else(failure: Exception, again: bool) -> None:
    job = Job(id=1, queue="q", lock=None, queueing_lock=None, task_name="t", attempts=0)

    assert (RETRY.get_retry_decision(exception=failure, job=job) is not None) == again
    assert RETRY.get_retry_decision(exception=failure, job=job.evolve(attempts=3)) is None


def test_a_run_that_nobody_carries_out_makes_way_for_the_same_run(actor: Actor, organization: Organization) -> None:
    seed_claims(organization)
    with_job, _ = detection_run_start(actor=actor, as_of=LAST)
    waits, runs, fresh = (
        detection_run_start(actor=actor, as_of=LAST - timedelta(days=days), queue=False)[0] for days in (7, 14, 21)
    )
    with acting_for(organization.id), connection.cursor() as cursor:
        DetectionRun.objects.filter(id=runs.id).update(status="RUNNING")
        cursor.execute(
            "UPDATE detection_run SET created_at = created_at - interval '6 minutes' WHERE id <> %s", [fresh.id]
        )

    with acting_for(organization.id), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"detection:{actor.organization_id}"])
        at_once(lambda: fail_abandoned_runs(0))
        assert DetectionRun.objects.filter(status="FAILED").count() == 0  # one that is being carried out may be it
    fail_abandoned_runs(0)

    with acting_for(organization.id):
        found = {run.id: (run.status, run.error_code) for run in DetectionRun.objects.all()}
    gone = ("FAILED", "ABANDONED")
    assert found == {with_job.id: ("QUEUED", ""), waits.id: gone, runs.id: gone, fresh.id: ("QUEUED", "")}
    again, created = detection_run_start(actor=actor, as_of=waits.as_of)
    assert (created, again.id != waits.id) == (True, True)


def test_jobs_that_ended_long_ago_are_forgotten(actor: Actor, tmp_path: Path) -> None:
    send(actor, tmp_path)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, args) VALUES ('q', 'old', %s)", [json.dumps({})]
        )
        cursor.execute("UPDATE procrastinate_jobs SET status = 'doing'")
        cursor.execute("UPDATE procrastinate_jobs SET status = 'failed'")
        cursor.execute(
            "UPDATE procrastinate_events SET at = at - interval '31 days'"
            " WHERE job_id IN (SELECT id FROM procrastinate_jobs WHERE task_name = 'old')"
        )

    async_to_sync(forget_old_jobs.func)(0)

    assert jobs() == [("claims.import_batch_run", "failed", 0)]
