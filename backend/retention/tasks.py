"""The periodic job that removes what is past its time."""

from procrastinate.contrib.django import app

from backend.accounts.periodic import for_each_organization
from backend.core.jobs import QUEUE
from backend.retention.services import retention_run


@app.periodic(cron="41 2 * * *")
@app.task(name="retention.remove_expired", queue=QUEUE, queueing_lock="retention.remove_expired")
def remove_expired(timestamp: int) -> None:  # noqa: ARG001 - procrastinate's signature of a periodic job
    """Removes rows that are past their time, every night, one organization after the other."""
    for_each_organization("retention", lambda actor: retention_run(actor=actor))
