"""`manage.py serve`: database, migrations, demo data once, then server and worker until Ctrl-C."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser
from contextlib import closing, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from rich.console import Console

from backend.accounts.models import Organization
from backend.config.databases import embedded_server
from backend.core.errors import AppError
from backend.core.migrated import unapplied_migrations
from backend.demo.files import loading_mark, make_data_directory, token_file
from schema.http.parent import ENDS_WITH_PARENT, end_with_parent

_GRACE_SECONDS = 15
_SERVER_FIRST_SECONDS = 15
_DATABASE_SECONDS = 5  # without an answer; after a crash of one of its processes PostgreSQL is back sooner


class Command(BaseCommand):
    """Everything that a developer needs, in one process tree."""

    help = "Start the database if it is embedded, migrate, load demo data once, and serve with a worker."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """`--no-demo`."""
        parser.add_argument("--no-demo", action="store_true", help="load no demo data into an empty database")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Serves until it is told to stop, or one of its processes ends.

        Raises:
            CommandError: something could not be started, with what to do.
            OperationalError: there is no database at DRIFTGRAPH_DATABASE_URL.
        """
        console = Console()
        _refuse_unusable_address()
        connections["default"].ensure_connection()
        try:
            make_data_directory()
            if "owner" in settings.DATABASES and unapplied_migrations():
                call_command("migrate_safely", verbosity=0, wait=_GRACE_SECONDS)
            token = None if options["no_demo"] else _demo_token()
        except AppError as error:
            raise CommandError(error.message) from None
        connections.close_all()
        _announce(console, token)
        code = _supervise()
        if code and (log := _log_of_ended_database()):
            raise CommandError(f"PostgreSQL ended; see its log under {log}.")
        sys.exit(code)


def _refuse_unusable_address() -> None:
    """Raises CommandError: nothing can listen there, or two servers on one address would share its requests."""
    host, port = settings.ENVIRONMENT.host, settings.ENVIRONMENT.port
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise CommandError(
                    f"{host}:{port} is taken. Stop what listens there, or set DRIFTGRAPH_PORT."
                ) from None
            raise CommandError(
                f"Nothing can listen on {host}:{port} ({error.strerror}). Set DRIFTGRAPH_HOST or DRIFTGRAPH_PORT."
            ) from None


def _demo_token() -> str | None:
    """The demo token: of an earlier start, or of the demo that is loaded into a database without organizations."""
    if not token_file().exists():
        if Organization.objects.exists() and not loading_mark().exists():
            return None
        call_command("load_demo")
    return token_file().read_text(encoding="utf-8").strip()


def _address() -> str:
    return f"http://{settings.ENVIRONMENT.host}:{settings.ENVIRONMENT.port}"


def _announce(console: Console, token: str | None) -> None:
    fragment = f"#token={token}" if token else ""
    console.print(f"\nGraphiQL    {_address()}/graphql{fragment}", soft_wrap=True, highlight=False)
    console.print(f"Admin       {_address()}/admin/", highlight=False)
    if token:
        console.print(f"Demo token  {token}", soft_wrap=True, highlight=False)
    console.print("Stop with Ctrl-C.\n")


def _server() -> "subprocess.Popen[bytes]":
    environment = settings.ENVIRONMENT
    return _start(
        *("-m", "granian", "--interface", "asgi"),
        *("--host", environment.host, "--port", str(environment.port), "--log-level", "warning"),
        "schema.http.asgi:app",
    )


def _worker() -> "subprocess.Popen[bytes]":
    return _start("manage.py", "worker")


def _start(*words: str) -> "subprocess.Popen[bytes]":
    """A process in a group of its own, so that what it leaves behind can be ended with it."""
    data_dir = str(settings.ENVIRONMENT.data_dir.resolve())
    return subprocess.Popen(  # noqa: S603 - our own interpreter and constants
        [sys.executable, *words],
        cwd=settings.BASE_DIR,
        env={**os.environ, "DRIFTGRAPH_DATA_DIR": data_dir, ENDS_WITH_PARENT: "true"},
        process_group=0,
        preexec_fn=end_with_parent,  # noqa: PLW1509 - one thread, and only a system call
    )


def _log_of_ended_database() -> Path | None:
    """None where a database answers, or where it is not ours."""
    environment = settings.ENVIRONMENT
    if environment.database_url:
        return None
    cluster = embedded_server(str(environment.data_dir.resolve()), environment.embedded_options).cluster
    return None if cluster.answers() else cluster.log


class _Database:
    """An embedded database that may end: server and worker would wait for it, and nobody starts it again."""

    def __init__(self) -> None:
        self._answered = time.monotonic()

    def has_ended(self) -> bool:
        """Whether it has not answered for a while; while it does, it is asked once a second."""
        now = time.monotonic()
        if now - self._answered > 1 and _log_of_ended_database() is None:
            self._answered = now
        return now - self._answered > _DATABASE_SECONDS


def _answers() -> bool:
    with suppress(OSError, HTTPException), closing(_connection()) as connection:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == HTTPStatus.OK
    return False


def _connection() -> HTTPConnection:
    return HTTPConnection(settings.ENVIRONMENT.host, settings.ENVIRONMENT.port, timeout=1)


def _supervise() -> int:
    """The exit code: 0 when told to stop, else that of the process which ended by itself, or 1 for the database."""
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    # A closed terminal reaches this process alone: the others are in groups of their own.
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, stop)
    processes = [_server()]
    patience = time.monotonic() + _SERVER_FIRST_SECONDS
    database = _Database()
    while not stopping and all(process.poll() is None for process in processes) and not database.has_ended():
        # The server is waited for, the worker is not: until one answers, both would contend for the processors.
        if len(processes) == 1 and (_answers() or time.monotonic() > patience):
            processes.append(_worker())
        time.sleep(0.1)
    ended = (process.returncode for process in processes if process.returncode is not None)
    code = 0 if stopping else next(ended, 1) or 1
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + _GRACE_SECONDS
    for process in processes:
        try:
            process.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return code
