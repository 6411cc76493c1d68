"""The periodic job of the usage ledger."""

from datetime import timedelta

from django.conf import settings
from django.utils import timezone
from procrastinate.contrib.django import app

from backend.accounts.periodic import for_each_organization
from backend.core.jobs import QUEUE
from backend.usage.services import usage_forget


@app.periodic(cron="47 3 * * *")
@app.task(name="usage.forget", queue=QUEUE, queueing_lock="usage.forget")
def forget(timestamp: int) -> None:  # noqa: ARG001 - procrastinate's signature of a periodic job
    """Deletes what is older than DRIFTGRAPH_USAGE_DAYS, every night."""
    before = timezone.now().date() - timedelta(days=settings.ENVIRONMENT.usage_days)
    for_each_organization("forget_usage", lambda actor: usage_forget(actor=actor, before=before))
