"""Detection runs that nobody carries out any more: they make way for the same run asked for anew."""

import logging
import uuid

from django.db import connection

from backend.core.actor import Actor, Right
from backend.core.jobs import without_job
from backend.core.tenancy import write
from backend.drift.runs import DETECT_JOB
from backend.drift.services import is_detecting

log = logging.getLogger("driftgraph.drift")

# A command carries out its runs without a job: it begins at once, and holds the lock from then on.
_FAIL = f"""
UPDATE detection_run AS r
   SET status = 'FAILED', error_code = 'ABANDONED', finished_at = now()
 WHERE r.status IN ('QUEUED', 'RUNNING') AND coalesce(r.started_at, r.created_at) < now() - interval '5 minutes'
   AND {without_job("run_id", "r")}
RETURNING r.id
"""


def runs_abandoned_fail(*, actor: Actor) -> list[uuid.UUID]:
    """The runs that waited for a job that was given up, or were being carried out by a process that died; FAILED now.

    Nothing happens while a run of the organization is being carried out: that one may be without a job.

    Raises:
        Forbidden: the actor may not run detection.

    SQL: 1 or 2.
    """
    actor.require(Right.DETECT)
    with write(actor), connection.cursor() as cursor:
        if is_detecting(actor):
            return []
        cursor.execute(_FAIL, {"job": DETECT_JOB})
        found = [run_id for (run_id,) in cursor.fetchall()]
    for run_id in found:
        log.error("detection run %s was abandoned: nobody carries it out any more", run_id)
    return found
