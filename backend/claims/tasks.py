"""Jobs about claims; a job names its organization and acts for it alone."""

import uuid

from procrastinate.contrib.django import app

from backend.claims.services import IMPORT_JOB, IMPORT_QUEUE, import_run
from backend.core.actor import Actor


@app.task(queue=IMPORT_QUEUE, name=IMPORT_JOB)
def import_batch_run(*, organization_id: str, batch_id: str) -> None:
    """Loads a batch that waits in the spool."""
    import_run(actor=Actor.system(uuid.UUID(organization_id), "import"), batch_id=uuid.UUID(batch_id))
