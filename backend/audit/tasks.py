"""The periodic jobs that seal the audit trail, and that make the partitions of its months."""

from django.db import close_old_connections
from procrastinate.contrib.django import app

from backend.audit.months import months_make
from backend.audit.sealing import seal_make
from backend.core.jobs import QUEUE, RETRY


@app.periodic(cron="* * * * * */10")
@app.task(name="audit.seal", queue=QUEUE, queueing_lock="audit.seal")
def seal(timestamp: int) -> None:  # noqa: ARG001 - procrastinate's signature of a periodic job
    """Seals what was written, every ten seconds."""
    close_old_connections()
    try:
        seal_make()
    finally:
        close_old_connections()


@app.periodic(cron="23 * * * *")
@app.task(name="audit.months", queue=QUEUE, queueing_lock="audit.months", retry=RETRY)
def months(timestamp: int) -> None:  # noqa: ARG001 - procrastinate's signature of a periodic job
    """Makes the partitions of the next three months, every hour."""
    close_old_connections()
    try:
        months_make()
    finally:
        close_old_connections()
