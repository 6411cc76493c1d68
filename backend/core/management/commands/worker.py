"""`manage.py worker`: carries out the jobs in the queue, as the role of the server."""

import asyncio
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections
from procrastinate.contrib.django import app
from procrastinate.contrib.django.django_connector import DjangoConnector
from procrastinate.contrib.django.models import ProcrastinateJob
from procrastinate.exceptions import ConnectorException

GRACE_SECONDS = 30.0
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 30.0
log = logging.getLogger("driftgraph.worker")


class Command(BaseCommand):
    """Runs until SIGINT or SIGTERM, then finishes the jobs at hand."""

    help = "Carries out background jobs (detection runs, imports) until it is stopped."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """`--concurrency`, `--once`."""
        parser.add_argument("--concurrency", type=int, default=2, help="jobs at the same time (default 2)")
        parser.add_argument("--once", action="store_true", help="end when the queue is empty")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Works; the first signal lets running jobs finish for 30 s, a second one aborts them.

        Raises:
            CommandError: the number of jobs at the same time is not valid.
            OperationalError: there is no database; ProgrammingError: it lacks tables.
        """
        if options["concurrency"] < 1:
            raise CommandError("--concurrency must be at least 1.")
        # Asked before the worker's own pool is, which would wait for half a minute.
        ProcrastinateJob.objects.exists()
        connections.close_all()
        asyncio.run(_work_until_stopped(options["concurrency"], once=options["once"]))


async def _work_until_stopped(concurrency: int, *, once: bool) -> None:
    """Works; a database that goes away is waited for, longer each time, since nobody may be there to start a worker.

    Raises:
        ConnectorException: it went away, and the queue was to be emptied once.
    """
    loop, wait = asyncio.get_running_loop(), FIRST_WAIT_SECONDS
    with suppress(asyncio.CancelledError), _signals_cancel(asyncio.current_task()):
        while True:
            began = loop.time()
            try:
                await _work(concurrency, wait=not once)
            except ConnectorException:
                if once:
                    raise
            if once:
                return
            # Without a signal it ends where one of its tasks, such as the heartbeat, has failed.
            wait = FIRST_WAIT_SECONDS if loop.time() - began > LONGEST_WAIT_SECONDS else wait
            log.warning("the worker cannot reach the database; it tries again in %g s", wait)
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)


async def _work(concurrency: int, *, wait: bool) -> None:
    connector = cast("DjangoConnector", app.connector).get_worker_connector()
    with app.replace_connector(connector):
        async with app.open_async():
            await app.run_worker_async(
                concurrency=concurrency,
                wait=wait,
                install_signal_handlers=False,
                shutdown_graceful_timeout=GRACE_SECONDS,
                delete_jobs="successful",
            )


@contextmanager
def _signals_cancel(task: "asyncio.Task[None] | None") -> Iterator[None]:
    """The first signal cancels the task, which procrastinate takes as a wish to finish; the second ends the process."""
    loop, names = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)

    def forget() -> None:
        for name in names:
            loop.remove_signal_handler(name)

    def stop() -> None:
        forget()
        if task is not None:
            task.cancel()

    for name in names:
        loop.add_signal_handler(name, stop)
    try:
        yield
    finally:
        forget()
