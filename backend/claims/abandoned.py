"""Batches that wait for a job that no longer exists: their files are freed, so that they can be sent again."""

import uuid

from django.db import connection

from backend.audit.models import Outcome
from backend.audit.services import record
from backend.claims.batches import AuditAction
from backend.claims.services import IMPORT_JOB, spool_path
from backend.core.actor import Actor, Right
from backend.core.jobs import without_job
from backend.core.tenancy import write

ABANDONED = "ABANDONED"
"""The error code of a batch whose job was given up."""

# One whose row is locked is being loaded, be it by a worker that just lost its job.
_FAIL = f"""
UPDATE import_batch
   SET status = 'FAILED', error_code = %(code)s, finished_at = now()
 WHERE id IN (SELECT b.id FROM import_batch AS b
               WHERE b.status = 'RECEIVED' AND {without_job("batch_id", "b")}
               ORDER BY b.id FOR UPDATE SKIP LOCKED)
RETURNING id
"""


def batches_abandoned_fail(*, actor: Actor) -> list[uuid.UUID]:
    """The batches that were waiting for nothing, FAILED now; their spooled files are gone.

    Raises:
        Forbidden: the actor may not import.

    SQL: 1 or 2.
    """
    actor.require(Right.IMPORT)
    with write(actor), connection.cursor() as cursor:
        cursor.execute(_FAIL, {"code": ABANDONED, "job": IMPORT_JOB})
        found = [batch_id for (batch_id,) in cursor.fetchall()]
        if found:
            record(
                actor=actor,
                action=AuditAction.IMPORT,
                object_type="import_batch",
                object_ids=found,
                outcome=Outcome.ERROR,
            )
    for batch_id in found:
        spool_path(batch_id).unlink(missing_ok=True)
    return found
