"""Runs: once per inputs, queued with their transaction, carried out once, failed without a trace."""

import threading
from collections import Counter
from datetime import date, timedelta

import pytest
from django.db import connection, connections, transaction
from drift_claims import LAST, new_batch, seed_claims
from procrastinate.contrib.django.models import ProcrastinateJob

from backend.accounts.models import Organization
from backend.core.actor import Actor, Role
from backend.core.errors import Forbidden, NotFound
from backend.core.ids import uuid7
from backend.core.tenancy import acting_for
from backend.detection.config import InvalidConfig
from backend.drift import services
from backend.drift.models import DetectionRun, DriftEvent, DriftObservation, DriftTest, RunKind, RunStatus
from backend.drift.runs import FutureDate, Overrides
from backend.drift.services import detection_run_execute, detection_run_start

CHANGED = LAST - timedelta(days=30)


def _jobs(organization: Organization) -> list[dict[str, str]]:
    jobs = ProcrastinateJob.objects.filter(args__organization_id=str(organization.id))
    return [job.args for job in jobs.order_by("id")]


def test_the_same_inputs_are_the_same_run_and_one_job(actor: Actor, organization: Organization) -> None:
    seed_claims(organization, payers=1)

    run, created = detection_run_start(actor=actor)
    again, created_again = detection_run_start(actor=actor, as_of=LAST)
    backtest, created_backtest = detection_run_start(actor=actor, kind=RunKind.BACKTEST)

    assert (created, created_again, created_backtest) == (True, False, True)
    assert (run.as_of, again.id) == (LAST, run.id)
    assert backtest.id != run.id
    assert [job["run_id"] for job in _jobs(organization)] == [str(run.id), str(backtest.id)]


def test_other_data_config_or_date_is_another_run(actor: Actor, organization: Organization) -> None:
    seed_claims(organization, payers=1)
    runs = [detection_run_start(actor=actor, queue=False)[0]]

    runs.append(detection_run_start(actor=actor, overrides=Overrides(q=0.1), queue=False)[0])
    runs.append(detection_run_start(actor=actor, as_of=LAST - timedelta(days=7), queue=False)[0])
    with acting_for(organization.id):
        new_batch(organization, "late file")
    runs.append(detection_run_start(actor=actor, queue=False)[0])

    assert len({run.id for run in runs}) == 4
    assert runs[1].q == pytest.approx(0.1)
    assert _jobs(organization) == []


def test_a_failed_run_makes_way_for_a_new_one(
    actor: Actor, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed_claims(organization, payers=1)
    run, _ = detection_run_start(actor=actor, queue=False)

    def broken(*_args: object, **_kwargs: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(services, "_advance_episodes", broken)
    with pytest.raises(ZeroDivisionError):
        detection_run_execute(actor=actor, run_id=run.id)

    with acting_for(organization.id):
        failed = DetectionRun.objects.get(id=run.id)
        assert (failed.status, failed.error_code) == (RunStatus.FAILED, "ZeroDivisionError")
        assert not DriftTest.objects.exists()
    assert detection_run_execute(actor=actor, run_id=run.id).status == RunStatus.FAILED
    assert detection_run_start(actor=actor, queue=False)[1]


def test_who_may_not_detect_starts_nothing(actor: Actor, organization: Organization) -> None:
    viewer = Actor(organization_id=organization.id, role=Role.VIEWER)

    with pytest.raises(Forbidden):
        detection_run_start(actor=viewer)
    with pytest.raises(Forbidden):
        detection_run_execute(actor=viewer, run_id=uuid7())
    with pytest.raises(NotFound):
        detection_run_execute(actor=actor, run_id=uuid7())
    with pytest.raises(FutureDate):
        detection_run_start(actor=actor, as_of=date(2999, 1, 1))
    with pytest.raises(InvalidConfig):
        detection_run_start(actor=actor, overrides=Overrides(q=2.0))

    with acting_for(organization.id):
        assert not DetectionRun.objects.exists()


def test_another_tenants_run_does_not_exist(actor: Actor, other_organization: Organization) -> None:
    run, _ = detection_run_start(actor=actor, queue=False)

    with pytest.raises(NotFound):
        detection_run_execute(actor=Actor(organization_id=other_organization.id, role=Role.OWNER), run_id=run.id)


def test_the_job_vanishes_with_its_transaction(actor: Actor, organization: Organization) -> None:
    class Undone(Exception): ...

    def start_and_undo() -> None:
        with transaction.atomic():
            detection_run_start(actor=actor, as_of=LAST)
            raise Undone

    with pytest.raises(Undone):
        start_and_undo()

    assert _jobs(organization) == []


def _in_threads(count: int, work: object) -> list[object]:
    results: list[object] = []
    barrier = threading.Barrier(count)

    def body() -> None:
        barrier.wait()
        try:
            results.append(work())
        except Exception as error:  # noqa: BLE001 - the test looks at what went wrong
            results.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=body) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_eight_workers_start_and_execute_one_run_once(actor: Actor, organization: Organization) -> None:
    seed_claims(organization, payers=2, changed=CHANGED, changed_rate=0.6)

    started = _in_threads(8, lambda: detection_run_start(actor=actor, queue=True))
    assert Counter(created for _, created in started) == {True: 1, False: 7}
    (run_id,) = {run.id for run, _ in started}
    finished = _in_threads(8, lambda: detection_run_execute(actor=actor, run_id=run_id))

    assert {run.status for run in finished} == {RunStatus.SUCCEEDED}
    assert len(_jobs(organization)) == 1
    with acting_for(organization.id):
        cells = DriftTest.objects.filter(run_id=run_id)
        assert cells.count() == 2 * 3 * 3 * 2
        events = DriftEvent.objects.count()
        assert events > 0
        assert DriftObservation.objects.count() == events


def test_eight_runs_of_one_tenant_at_once_lose_and_double_nothing(actor: Actor, organization: Organization) -> None:
    seed_claims(organization, payers=2, changed=CHANGED, changed_rate=0.6)
    floors = iter([0.03, 0.031, 0.032, 0.033, 0.034, 0.035, 0.036, 0.037])

    def detect() -> RunStatus:
        run, _ = detection_run_start(actor=actor, overrides=Overrides(min_effect=next(floors)), queue=False)
        return RunStatus(detection_run_execute(actor=actor, run_id=run.id).status)

    outcomes = _in_threads(8, detect)

    assert outcomes == [RunStatus.SUCCEEDED] * 8
    with acting_for(organization.id), connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), count(DISTINCT (drift_type, payer_id, group_id, direction)), min(consecutive_runs),"
            " max(consecutive_runs) FROM drift_event"
        )
        events, keys, *streaks = cursor.fetchone()
        assert events == keys > 0
        assert streaks == [1, 1]  # eight looks at one day are one sighting
        assert DriftObservation.objects.count() == 8 * events
