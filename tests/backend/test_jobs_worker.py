"""Jobs carry their organization; a real worker does them and stops when told."""

import os
import signal
import subprocess
import sys
import time
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection, transaction
from drift_claims import LAST, seed_claims
from procrastinate.contrib.django.models import ProcrastinateJob

from backend.accounts.models import Organization
from backend.alerts.models import Alert
from backend.alerts.services import alert_rule_default
from backend.alerts.tasks import detect_job
from backend.core.actor import Actor
from backend.core.errors import NotFound
from backend.core.jobs import JobWithoutOrganization, enqueue
from backend.core.tenancy import acting_for
from backend.drift.models import DetectionRun
from backend.drift.services import detection_run_start
from tests import server

ROOT = Path(__file__).resolve().parents[2]


def _worker(database: str, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "DRIFTGRAPH_DATABASE_URL": server.url("app", database), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "manage.py", "worker", *words],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _until(condition: object, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def empty_queue(database: str) -> None:
    """No job of another test, whose files and rows a worker would look for in vain."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs")


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
    actor: Actor, organization: Organization, database: str, empty_queue: None, stop: signal.Signals
) -> None:
    seed_claims(organization, payers=2, changed=LAST - timedelta(days=30), changed_rate=0.5)
    alert_rule_default(actor)
    worker = _worker(database)
    try:
        run, _ = detection_run_start(actor=actor)

        def done() -> bool:
            with acting_for(organization.id):
                return DetectionRun.objects.get(id=run.id).status == "SUCCEEDED" and Alert.objects.exists()

        assert _until(done)
        assert _until(lambda: not ProcrastinateJob.objects.filter(args__run_id=str(run.id)).exists())
        worker.send_signal(stop)
        output, _ = worker.communicate(timeout=60)
    finally:
        worker.kill()
        worker.communicate()

    assert worker.returncode == 0
    assert "Traceback" not in output


def test_once_ends_with_an_empty_queue(
    actor: Actor, organization: Organization, database: str, empty_queue: None
) -> None:
    run, _ = detection_run_start(actor=actor)

    worker = _worker(database, "--once", "--concurrency", "1")
    output, _ = worker.communicate(timeout=60)

    assert worker.returncode == 0, output
    with acting_for(organization.id):
        assert DetectionRun.objects.get(id=run.id).status == "SUCCEEDED"
