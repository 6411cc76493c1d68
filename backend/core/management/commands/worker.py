"""`manage.py worker`: carries out the jobs in the queue, as the role of the server."""

import asyncio
from typing import Any, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections
from procrastinate.contrib.django import app
from procrastinate.contrib.django.django_connector import DjangoConnector
from procrastinate.contrib.django.models import ProcrastinateJob

GRACE_SECONDS = 30.0


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
        connector = cast("DjangoConnector", app.connector).get_worker_connector()
        with app.replace_connector(connector):
            asyncio.run(_work(concurrency=options["concurrency"], wait=not options["once"]))


async def _work(*, concurrency: int, wait: bool) -> None:
    async with app.open_async():
        await app.run_worker_async(
            concurrency=concurrency,
            wait=wait,
            install_signal_handlers=True,
            shutdown_graceful_timeout=GRACE_SECONDS,
            delete_jobs="successful",
        )
