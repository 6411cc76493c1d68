"""Background jobs of one organization: declared, enqueued and given their actor. What they do is in each app's tasks.

The table of jobs has no row-level security and every program may read it: arguments are ids, never contents.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from django.db import InterfaceError, OperationalError, close_old_connections, connection, transaction
from procrastinate import RetryDecision, RetryStrategy
from procrastinate.contrib.django import app
from procrastinate.contrib.django.django_connector import DjangoConnector
from procrastinate.jobs import Job
from procrastinate.manager import JobManager
from procrastinate.types import JSONValue

from backend.core.actor import Actor
from backend.core.errors import AppError, BadUserInput

QUEUE = "default"
DATABASE_FAILURES = (InterfaceError, OperationalError)
"""What a cut connection, a lock that took too long or a deadlock raises: the work can be done again."""


def can_be_tried_again(error: BaseException) -> bool:
    """Whether a failure is the database's or of the moment: the same work can succeed later."""
    return error.retryable if isinstance(error, AppError) else isinstance(error, DATABASE_FAILURES)


class _Retry(RetryStrategy):
    """What the database failed at is tried again; what the input brought about is not, and neither is a bug."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """When to try again, if at all; the third failure stays for a person to look at."""
        return super().get_retry_decision(exception=exception, job=job) if can_be_tried_again(exception) else None


RETRY = _Retry(max_attempts=3, wait=2, exponential_wait=4)


def without_job(argument: str, row: str) -> str:
    """The SQL condition that no job is there to work on a row: its name is %(job)s, its argument the row's id.

    A job is enqueued by the transaction that makes its row and ends after the row has, so a row that waits or is worked
    on without one has been given up.
    """
    return (
        "NOT EXISTS (SELECT 1 FROM procrastinate_jobs AS j WHERE j.task_name = %(job)s"
        f" AND j.status IN ('todo', 'doing') AND j.args ->> '{argument}' = {row}.id::text)"
    )


class JobWithoutOrganization(BadUserInput):
    """The job does not say for which organization it works."""


@dataclass(frozen=True, slots=True)
class OrganizationTask:
    """A job body `body(actor, **ids)` under its name; call it with an organization, or enqueue it."""

    name: str
    body: Callable[..., None]

    def __call__(self, *, organization_id: str | None = None, **ids: str) -> None:
        """Runs the body as the product itself, for the organization that the job carries.

        The body's services open transactions with that organization set; outside of them no tenant's row is visible.

        Raises:
            JobWithoutOrganization: the job carries none, or not an id.
        """
        try:
            organization = uuid.UUID(organization_id or "")
        except ValueError:
            raise JobWithoutOrganization from None
        close_old_connections()
        try:
            self.body(Actor.system(organization, f"job:{self.name}"), **ids)
        finally:
            close_old_connections()


def organization_task(*, name: str, queue: str = QUEUE) -> Callable[[Callable[..., None]], OrganizationTask]:
    """A decorator that registers `body(actor, **ids)` as the job `name`; the job's organization makes the actor."""

    def register(body: Callable[..., None]) -> OrganizationTask:
        task = OrganizationTask(name, body)
        app.task(name=name, queue=queue, retry=RETRY)(task.__call__)
        return task

    return register


def enqueue(name: str, actor: Actor, *, queue: str = QUEUE, **ids: uuid.UUID) -> int:
    """The number of the new job, which exists when, and only when, the open transaction commits.

    It goes through Django's connection also inside a worker, whose own connector would commit at once. The job is
    named, not imported, so that a lower layer can ask for work that a higher one does.

    SQL: 1.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("a job is enqueued by the transaction that makes it necessary")
    arguments: dict[str, JSONValue] = {
        "organization_id": str(actor.organization_id),
        **{key: str(value) for key, value in ids.items()},
    }
    job = Job(id=None, queue=queue, lock=None, queueing_lock=None, task_name=name, task_kwargs=arguments)
    stored = JobManager(DjangoConnector()).batch_defer_jobs([job])
    return int(stored[0].id or 0)
