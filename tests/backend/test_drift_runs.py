"""Runs: once per inputs, queued with their transaction, carried out once, failed without a trace."""

import logging
import threading
from collections import Counter
from datetime import date, timedelta

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone
from drift_claims import LAST, new_batch, seed_claims
from procrastinate.contrib.django.models import ProcrastinateJob

from backend.accounts.models import Organization
from backend.core.actor import Actor, Role
from backend.core.errors import Forbidden, NotFound
from backend.core.ids import uuid7
from backend.core.tenancy import acting_for
from backend.detection.config import InvalidConfig
from backend.drift import services
from backend.drift.models import (
    DetectionRun,
    DriftEvent,
    DriftObservation,
    DriftTest,
    RunError,
    RunKind,
    RunStatus,
    Source,
)
from backend.drift.runs import AsOfOutOfRange, Overrides, detection_run_start
from backend.drift.services import detection_run_execute

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
        assert (failed.status, failed.error_code) == (RunStatus.FAILED, RunError.INTERNAL)
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
    with pytest.raises(InvalidConfig):
        detection_run_start(actor=actor, overrides=Overrides(q=2.0))

    with acting_for(organization.id):
        assert not DetectionRun.objects.exists()


@pytest.mark.parametrize(
    ("error", "code", "logged"),
    [
        (OverflowError("claim 4711"), RunError.INTERNAL, True),
        (NotFound(), RunError.INTERNAL, True),
        (InvalidConfig(what="types", rule="given"), RunError.BAD_USER_INPUT, False),
    ],
)
def test_a_failure_has_one_of_our_codes_and_an_unforeseen_one_a_log_entry(
    actor: Actor,
    organization: Organization,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    code: RunError,
    logged: bool,
) -> None:
    run, _ = detection_run_start(actor=actor, queue=False)

    def broken(*_args: object, **_kwargs: object) -> None:
        raise error

    monkeypatch.setattr(services, "store_tests", broken)
    with caplog.at_level(logging.INFO, "driftgraph.drift"), pytest.raises(type(error)):
        detection_run_execute(actor=actor, run_id=run.id)

    with acting_for(organization.id):
        assert DetectionRun.objects.get(id=run.id).error_code == code
    entries = [entry for entry in caplog.records if entry.name == "driftgraph.drift"]
    assert len(entries) == logged
    for entry in entries:
        assert str(run.id) in entry.getMessage()
        assert actor.request_id in entry.getMessage()
    assert (type(error).__name__ in caplog.text) == logged
    assert "4711" not in caplog.text


@pytest.mark.parametrize("source", list(Source))
@pytest.mark.parametrize("day", [date.min, date(1999, 12, 31), date(2999, 1, 1), date.max])
def test_a_run_is_refused_before_any_data_and_in_the_future(
    actor: Actor, organization: Organization, source: Source, day: date
) -> None:
    with pytest.raises(AsOfOutOfRange) as refused:
        detection_run_start(actor=actor, as_of=day, source=source)

    assert refused.value.path == ("asOf",)
    assert "2000-01-01" in refused.value.message
    with acting_for(organization.id):
        assert not DetectionRun.objects.exists()


def test_the_first_and_the_last_day_that_may_be_asked_for_are_computed(actor: Actor) -> None:
    today = timezone.now().date()
    allowed = [
        (Source.CLAIMS, date(2000, 1, 1)),
        (Source.CLAIMS, today),
        (Source.OUTCOME_COUNTS, date(2000, 1, 1)),
        (Source.OUTCOME_COUNTS, today + timedelta(days=366)),
    ]

    for source, day in allowed:
        run, _ = detection_run_start(actor=actor, as_of=day, source=source, queue=False)
        assert detection_run_execute(actor=actor, run_id=run.id).status == RunStatus.SUCCEEDED
    for source, day in [(Source.CLAIMS, allowed[1][1]), (Source.OUTCOME_COUNTS, allowed[3][1])]:
        with pytest.raises(AsOfOutOfRange):
            detection_run_start(actor=actor, as_of=day + timedelta(days=1), source=source)


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        (Overrides(q=0.0), "q"),
        (Overrides(min_effect=1.0), "minEffect"),
        (Overrides(window_days=(28, 14, 28)), "windows"),
        (Overrides(window_days=(15,)), "windows"),
    ],
)
def test_what_is_wrong_with_a_configuration_is_named_by_its_place(
    actor: Actor, overrides: Overrides, field: str
) -> None:
    with pytest.raises(InvalidConfig) as refused:
        detection_run_start(actor=actor, overrides=overrides)

    assert refused.value.path == ("config", field)


def test_a_run_is_a_what_if_where_it_differs_from_the_organizations_own(
    actor: Actor, organization: Organization
) -> None:
    def what_if(**overrides: object) -> bool:
        return detection_run_start(actor=actor, overrides=Overrides(**overrides), queue=False)[0].what_if

    assert not detection_run_start(actor=actor, queue=False)[0].what_if
    assert not what_if(q=0.05, window_days=(28, 14))
    assert what_if(q=0.1)
    assert what_if(window_days=(28,))
    assert what_if(min_effect=0.03)  # the floor of one type is higher
    assert not detection_run_start(actor=actor, kind=RunKind.BACKTEST, queue=False)[0].what_if


def test_what_was_a_what_if_runs_anew_once_it_is_the_standard(actor: Actor, organization: Organization) -> None:
    before, _ = detection_run_start(actor=actor, overrides=Overrides(q=0.1), queue=False)
    Organization.objects.filter(id=organization.id).update(fdr_q=0.1)

    after, created = detection_run_start(actor=actor, overrides=Overrides(q=0.1), queue=False)
    old_standard, _ = detection_run_start(actor=actor, overrides=Overrides(q=0.05), queue=False)

    assert (created, before.what_if, after.what_if, old_standard.what_if) == (True, True, False, True)


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
    runs = []
    for number in range(8):
        with acting_for(organization.id):
            new_batch(organization, f"late file {number}")
        runs.append(detection_run_start(actor=actor, queue=False)[0].id)
    waiting = iter(runs)

    def detect() -> RunStatus:
        return RunStatus(detection_run_execute(actor=actor, run_id=next(waiting)).status)

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
