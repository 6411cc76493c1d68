"""The jobs of detection; they sit above drift because a run ends in alerts."""

import uuid

from procrastinate.contrib.django import app

from backend.accounts.periodic import for_each_organization
from backend.alerts.pipeline import detect
from backend.core.actor import Actor
from backend.core.jobs import QUEUE, organization_task
from backend.drift.abandoned import runs_abandoned_fail
from backend.drift.runs import DETECT_JOB


@organization_task(name=DETECT_JOB)
def detect_job(actor: Actor, *, run_id: str) -> None:
    """Carries out the queued run."""
    detect(actor=actor, run_id=uuid.UUID(run_id))


@app.periodic(cron="*/5 * * * *")
@app.task(name="drift.fail_abandoned_runs", queue=QUEUE, queueing_lock="drift.fail_abandoned_runs")
def fail_abandoned_runs(timestamp: int) -> None:  # noqa: ARG001 - procrastinate's signature of a periodic job
    """Fails runs that nobody will carry out any more, every five minutes: they can be asked for again then."""
    for_each_organization("fail_abandoned_runs", lambda actor: runs_abandoned_fail(actor=actor))
