"""Detection as a whole: a run is carried out, then the rules see its events. Commands and jobs come through here."""

import uuid

from backend.alerts.services import AlertsEvaluated, alerts_evaluate
from backend.core.actor import Actor
from backend.drift.models import DetectionRun
from backend.drift.services import Progress, detection_run_execute


def detect(
    *, actor: Actor, run_id: uuid.UUID, progress: Progress | None = None
) -> tuple[DetectionRun, AlertsEvaluated]:
    """The run in its final state, and what the rules made of it; safe to repeat after any interruption.

    Raises:
        NotFound: there is no such run.
    """
    run = detection_run_execute(actor=actor, run_id=run_id, progress=progress)
    return run, alerts_evaluate(actor=actor, run=run)
