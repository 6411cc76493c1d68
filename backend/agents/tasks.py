"""Periodic jobs of the agents, for every organization in turn."""

from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.db import close_old_connections
from procrastinate.contrib.django import app

from backend.accounts.selectors import organizations_all
from backend.agents.runs import agent_runs_time_out
from backend.agents.triage import suppressions_expire
from backend.core.actor import Actor
from backend.core.jobs import QUEUE


def _for_each_organization(purpose: str, work: Callable[[Actor], object]) -> None:
    close_old_connections()
    try:
        for organization_id in organizations_all().values_list("id", flat=True):
            work(Actor.system(organization_id, f"job:{purpose}"))
    finally:
        close_old_connections()


@app.periodic(cron="* * * * *")
@app.task(name="agents.end_silent_runs", queue=QUEUE, queueing_lock="agents.end_silent_runs")
def end_silent_runs(timestamp: int) -> None:  # noqa: ARG001 - procrastinate's signature of a periodic job
    """Ends the runs that gave no sign of life, every minute."""
    silent_for = timedelta(minutes=settings.ENVIRONMENT.agent_run_timeout_minutes)
    _for_each_organization("end_silent_runs", lambda actor: agent_runs_time_out(actor=actor, silent_for=silent_for))


@app.periodic(cron="7 * * * *")
@app.task(name="agents.reopen_findings", queue=QUEUE, queueing_lock="agents.reopen_findings")
def reopen_findings(timestamp: int) -> None:  # noqa: ARG001 - procrastinate's signature of a periodic job
    """Reopens the findings whose suppression ran out, every hour."""
    _for_each_organization("reopen_findings", lambda actor: suppressions_expire(actor=actor))
