"""Periodic jobs that keep the queue itself in order."""

import logging

from procrastinate.contrib.django import app
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job, Status

from backend.core.jobs import QUEUE, RETRY

log = logging.getLogger("driftgraph.jobs")
STALLED_SECONDS = 30.0
"""A worker without a heartbeat for so long is dead; it gives one every 10 seconds."""
KEPT_HOURS = 30 * 24
"""How long jobs that failed are kept for somebody to look at; those that succeeded go at once."""


@app.periodic(cron="* * * * *")
@app.task(name="core.take_up_stalled_jobs", queue=QUEUE, queueing_lock="core.take_up_stalled_jobs")
async def take_up_stalled_jobs(timestamp: int) -> None:  # noqa: ARG001 - procrastinate's signature of a periodic job
    """Gives the jobs of workers that died to those that live, every minute; a job that outlived three of them fails.

    A job's work is in transactions, so that of a dead worker was undone by the database.
    """
    for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_SECONDS):
        try:
            await _take_up(job)
        except ConnectorException:
            # Another worker was faster, or the job ended after all; the others are looked at all the same.
            log.info("job %s (%s) was not taken up: it is no longer stalled", job.id, job.task_name)


async def _take_up(job: Job) -> None:
    if job.queueing_lock is not None:
        # A periodic job: its next turn does the same, and may be waiting already, where the lock allows but one.
        await app.job_manager.finish_job(job, Status.FAILED, delete_job=True)
    elif job.attempts + 1 < (RETRY.max_attempts or 1):
        log.warning("job %s (%s) is taken up again: its worker died", job.id, job.task_name)
        await app.job_manager.retry_job(job)
    else:
        log.error("job %s (%s) is given up: its workers died %s times", job.id, job.task_name, job.attempts + 1)
        await app.job_manager.finish_job(job, Status.FAILED, delete_job=False)


@app.periodic(cron="17 3 * * *")
@app.task(name="core.forget_old_jobs", queue=QUEUE, queueing_lock="core.forget_old_jobs")
async def forget_old_jobs(timestamp: int) -> None:  # noqa: ARG001 - procrastinate's signature of a periodic job
    """Deletes jobs that ended long ago, every night."""
    await app.job_manager.delete_old_jobs(KEPT_HOURS, include_failed=True, include_cancelled=True, include_aborted=True)
