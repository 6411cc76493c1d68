"""The background job that detects and alerts; it sits above drift because it ends in alerts."""

import uuid

from backend.alerts.pipeline import detect
from backend.core.actor import Actor
from backend.core.jobs import organization_task
from backend.drift.services import DETECT_JOB


@organization_task(name=DETECT_JOB)
def detect_job(actor: Actor, *, run_id: str) -> None:
    """Carries out the queued run."""
    detect(actor=actor, run_id=uuid.UUID(run_id))
