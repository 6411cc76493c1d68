"""Periodic jobs of the agents, for every organization in turn."""

from datetime import timedelta

from django.conf import settings
from django.utils import timezone
from procrastinate.contrib.django import app

from backend.accounts.periodic import for_each_organization
from backend.agents.progress import progress_forget
from backend.agents.runs import agent_runs_time_out
from backend.agents.triage import suppressions_expire
from backend.core.jobs import QUEUE


@app.periodic(cron="* * * * *")
@app.task(name="agents.end_silent_runs", queue=QUEUE, queueing_lock="agents.end_silent_runs")
def end_silent_runs(timestamp: int) -> None:  # noqa: ARG001 - procrastinate's signature of a periodic job
    """Ends the runs that gave no sign of life, every minute."""
    silent_for = timedelta(minutes=settings.ENVIRONMENT.agent_run_timeout_minutes)
    for_each_organization("end_silent_runs", lambda actor: agent_runs_time_out(actor=actor, silent_for=silent_for))


@app.periodic(cron="7 * * * *")
@app.task(name="agents.reopen_findings", queue=QUEUE, queueing_lock="agents.reopen_findings")
def reopen_findings(timestamp: int) -> None:  # noqa: ARG001 - procrastinate's signature of a periodic job
    """Reopens the findings whose suppression ran out, every hour."""
    for_each_organization("reopen_findings", lambda actor: suppressions_expire(actor=actor))


@app.periodic(cron="37 * * * *")
@app.task(name="agents.forget_progress", queue=QUEUE, queueing_lock="agents.forget_progress")
def forget_progress(timestamp: int) -> None:  # noqa: ARG001 - procrastinate's signature of a periodic job
    """Deletes what runs said of their progress longer than DRIFTGRAPH_AGENT_PROGRESS_HOURS ago, every hour."""
    before = timezone.now() - timedelta(hours=settings.ENVIRONMENT.agent_progress_hours)
    for_each_organization("forget_progress", lambda actor: progress_forget(actor=actor, before=before))
