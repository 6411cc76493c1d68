"""Jobs carry their organization; a real worker does them and stops when told."""

import signal
import uuid
from datetime import timedelta

import psycopg
import pytest
from django.db import transaction
from drift_claims import LAST, seed_claims
from procrastinate.contrib.django.models import ProcrastinateJob
from workers import empty_queue, start_worker, until, working

from backend.accounts.models import Organization
from backend.alerts.models import Alert
from backend.alerts.services import alert_rule_default
from backend.alerts.tasks import detect_job
from backend.core.actor import Actor
from backend.core.errors import NotFound
from backend.core.jobs import JobWithoutOrganization, enqueue
from backend.core.tenancy import acting_for
from backend.drift.models import DetectionRun
from backend.drift.runs import detection_run_start
from tests import server


@pytest.fixture
def quiet(database: str) -> None:
    empty_queue()


@pytest.mark.parametrize("organization_id", [None, "", "everybody"])
def test_a_job_without_organization_is_refused(organization_id: str | None) -> None:
    with pytest.raises(JobWithoutOrganization):
        detect_job(organization_id=organization_id, run_id=str(uuid.uuid4()))


def test_a_job_sees_its_own_organization_alone(
    actor: Actor, organization: Organization, other_organization: Organization
) -> None:
    run, _ = detection_run_start(actor=actor, queue=False)

    with pytest.raises(NotFound):
        detect_job(organization_id=str(other_organization.id), run_id=str(run.id))
    detect_job(organization_id=str(organization.id), run_id=str(run.id))

    with acting_for(organization.id):
        assert DetectionRun.objects.get(id=run.id).status == "SUCCEEDED"


def test_a_job_is_enqueued_only_inside_a_transaction(actor: Actor) -> None:
    with pytest.raises(transaction.TransactionManagementError):
        enqueue("drift.detect", actor, run_id=uuid.uuid4())


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_the_worker_detects_alerts_and_stops_clean(
    actor: Actor, organization: Organization, database: str, quiet: None, stop: signal.Signals
) -> None:
    seed_claims(organization, payers=2, changed=LAST - timedelta(days=30), changed_rate=0.5)
    alert_rule_default(actor)
    with working(database) as worker:
        run, _ = detection_run_start(actor=actor)

        def done() -> bool:
            with acting_for(organization.id):
                return DetectionRun.objects.get(id=run.id).status == "SUCCEEDED" and Alert.objects.exists()

        assert until(done)
        assert until(lambda: not ProcrastinateJob.objects.filter(args__run_id=str(run.id)).exists())
        worker.send_signal(stop)
        output, _ = worker.communicate(timeout=60)

    assert worker.returncode == 0
    assert "Traceback" not in output


def _as_owner(statement: str, *values: object) -> list[tuple[object, ...]]:
    with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as owner:
        cursor = owner.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []


def _connected(database: str) -> set[object]:
    return {pid for (pid,) in _as_owner("SELECT pid FROM pg_stat_activity WHERE datname = %s", database)}


def test_a_worker_waits_for_a_database_that_refuses_it_for_a_moment(
    actor: Actor, organization: Organization, database: str, quiet: None
) -> None:
    others = _connected(database)
    with working(database) as worker:
        # Those that listen for jobs, the rest of the pool, and what jobs use.
        assert until(lambda: len(_connected(database) - others) > 1)
        _as_owner(f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS false')
        try:
            for pid in _connected(database) - others:
                _as_owner("SELECT pg_terminate_backend(%s)", pid)
            # Until it says so, or ends: its pool of connections tries for half a minute first.
            waits = worker.stdout is not None and any("cannot reach the database" in line for line in worker.stdout)
        finally:
            _as_owner(f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS true')
        assert waits
        run, _ = detection_run_start(actor=actor)

        def done() -> bool:
            with acting_for(organization.id):
                return DetectionRun.objects.get(id=run.id).status == "SUCCEEDED"

        assert until(done)
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=60)

    assert worker.returncode == 0


def test_once_ends_with_an_empty_queue(actor: Actor, organization: Organization, database: str, quiet: None) -> None:
    run, _ = detection_run_start(actor=actor)

    worker = start_worker(database, "--once", "--concurrency", "1")
    output, _ = worker.communicate(timeout=60)

    assert worker.returncode == 0, output
    with acting_for(organization.id):
        assert DetectionRun.objects.get(id=run.id).status == "SUCCEEDED"
