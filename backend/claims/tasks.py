"""Jobs about claims; a job names its organization and acts for it alone."""

import uuid

from procrastinate.contrib.django import app

from backend.accounts.periodic import for_each_organization
from backend.claims.abandoned import batches_abandoned_fail
from backend.claims.services import IMPORT_JOB, IMPORT_QUEUE, import_run
from backend.core.actor import Actor
from backend.core.jobs import QUEUE, organization_task


@organization_task(name=IMPORT_JOB, queue=IMPORT_QUEUE)
def import_batch_run(actor: Actor, *, batch_id: str) -> None:
    """Loads a batch that waits in the spool."""
    import_run(actor=actor, batch_id=uuid.UUID(batch_id))


@app.periodic(cron="*/5 * * * *")
@app.task(name="claims.fail_abandoned_batches", queue=QUEUE, queueing_lock="claims.fail_abandoned_batches")
def fail_abandoned_batches(timestamp: int) -> None:  # noqa: ARG001 - procrastinate's signature of a periodic job
    """Frees files whose import nobody will carry out any more, every five minutes."""
    for_each_organization("fail_abandoned_batches", lambda actor: batches_abandoned_fail(actor=actor))
