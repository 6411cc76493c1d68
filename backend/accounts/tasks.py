"""Periodic jobs of the accounts, for every organization in turn."""

from datetime import timedelta

from django.conf import settings
from django.utils import timezone
from procrastinate.contrib.django import app

from backend.accounts.idempotency import keys_forget
from backend.accounts.periodic import for_each_organization
from backend.core.jobs import QUEUE


@app.periodic(cron="27 * * * *")
@app.task(name="accounts.forget_idempotency_keys", queue=QUEUE, queueing_lock="accounts.forget_idempotency_keys")
def forget_idempotency_keys(timestamp: int) -> None:  # noqa: ARG001 - procrastinate's signature of a periodic job
    """Deletes the keys that are older than DRIFTGRAPH_IDEMPOTENCY_KEY_HOURS, every hour."""
    before = timezone.now() - timedelta(hours=settings.ENVIRONMENT.idempotency_key_hours)
    for_each_organization("forget_idempotency_keys", lambda actor: keys_forget(actor=actor, before=before))
