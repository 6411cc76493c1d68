"""Periodic jobs of the accounts."""

from datetime import timedelta

from django.conf import settings
from django.db import close_old_connections
from django.utils import timezone
from procrastinate.contrib.django import app

from backend.accounts.authentication import session_of
from backend.accounts.idempotency import keys_forget
from backend.accounts.periodic import for_each_organization
from backend.core.jobs import QUEUE


@app.periodic(cron="27 * * * *")
@app.task(name="accounts.forget_idempotency_keys", queue=QUEUE, queueing_lock="accounts.forget_idempotency_keys")
def forget_idempotency_keys(timestamp: int) -> None:  # noqa: ARG001 - procrastinate's signature of a periodic job
    """Deletes the keys that are older than DRIFTGRAPH_IDEMPOTENCY_KEY_HOURS, every hour."""
    before = timezone.now() - timedelta(hours=settings.ENVIRONMENT.idempotency_key_hours)
    for_each_organization("forget_idempotency_keys", lambda actor: keys_forget(actor=actor, before=before))


@app.periodic(cron="41 3 * * *")
@app.task(name="accounts.forget_sessions", queue=QUEUE, queueing_lock="accounts.forget_sessions")
def forget_sessions(timestamp: int) -> None:  # noqa: ARG001 - procrastinate's signature of a periodic job
    """Deletes sessions that have ended, every night: also those of who only began to sign in at a provider."""
    close_old_connections()
    try:
        session_of(None).clear_expired()
    finally:
        close_old_connections()
