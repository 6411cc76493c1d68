"""Batches that wait for a job that no longer exists: their files are freed, so that they can be sent again."""

import uuid

from django.db import connection

from backend.audit.models import Outcome
from backend.audit.services import record
from backend.claims.batches import AuditAction
from backend.claims.services import IMPORT_JOB, spool_path
from backend.core.actor import Actor, Right
from backend.core.tenancy import write

ABANDONED = "ABANDONED"
"""The error code of a batch whose job was given up."""

# A batch is enqueued by the transaction that makes it and leaves RECEIVED before its job ends, so in one snapshot a
# waiting batch without a live job is one that nobody will load.
_FAIL = """
UPDATE import_batch AS b
   SET status = 'FAILED', error_code = %(code)s, finished_at = now()
 WHERE b.status = 'RECEIVED'
   AND NOT EXISTS (SELECT 1 FROM procrastinate_jobs AS j
                    WHERE j.task_name = %(job)s AND j.status IN ('todo', 'doing')
                      AND j.args ->> 'batch_id' = b.id::text)
RETURNING b.id
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
