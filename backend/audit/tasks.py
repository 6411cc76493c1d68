"""The periodic job that seals the audit trail."""

from django.db import close_old_connections
from procrastinate.contrib.django import app

from backend.audit.sealing import seal_make
from backend.core.jobs import QUEUE


@app.periodic(cron="* * * * * */10")
@app.task(name="audit.seal", queue=QUEUE, queueing_lock="audit.seal")
def seal(timestamp: int) -> None:  # noqa: ARG001 - procrastinate's signature of a periodic job
    """Seals what was written, every ten seconds."""
    close_old_connections()
    try:
        seal_make()
    finally:
        close_old_connections()
