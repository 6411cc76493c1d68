"""`manage.py serve`: database, migrations, demo data once, then server and worker until Ctrl-C."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from backend.accounts.models import Organization
from backend.config.databases import embedded_server
from backend.core.errors import AppError
from backend.db.embedded_errors import FolderNotUsable
from backend.demo.loading import demo_load
from schema.http.parent import ENDS_WITH_PARENT, end_with_parent

_GRACE_SECONDS = 15


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
            if "owner" in settings.DATABASES:
                call_command("migrate_safely", verbosity=0, wait=_GRACE_SECONDS)
            token = None if options["no_demo"] else _demo_token(console)
        except AppError as error:
            raise CommandError(error.message) from None
        connections.close_all()
        _announce(console, token)
        code = _supervise([_server(), _worker()])
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


def _token_file() -> Path:
    found: Path = settings.ENVIRONMENT.data_dir / "demo-token"
    return found


def _demo_token(console: Console) -> str | None:
    """The demo token: of an earlier start, or of the demo that is loaded into a database without organizations."""
    file = _token_file()
    if file.exists():
        return file.read_text(encoding="utf-8").strip()
    if Organization.objects.exists() and not _interrupted().exists():
        return None
    _begin_loading()
    columns = (TextColumn("{task.description:32}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        secret = demo_load(show)
    file.touch(mode=0o600)
    file.write_text(secret, encoding="utf-8")
    _interrupted().unlink()
    return secret


def _begin_loading() -> None:
    """Leaves the mark of a load that has begun; the data directory need not be there where the database is elsewhere.

    Raises: FolderNotUsable.
    """
    mark = _interrupted()
    try:
        mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark.touch()
    except OSError as error:
        raise FolderNotUsable(folder=mark.parent, reason=error.strerror) from error


def _interrupted() -> Path:
    """There while demo data is being loaded: a load that broke off is taken up again."""
    found: Path = settings.ENVIRONMENT.data_dir / "demo-loading"
    return found


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
        *("-m", "granian", "--interface", "asgi", "--no-ws"),
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


def _supervise(processes: "list[subprocess.Popen[bytes]]") -> int:
    """The exit code: 0 when told to stop, else that of the process which ended by itself."""
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    # A closed terminal reaches this process alone: the others are in groups of their own.
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, stop)
    while not stopping and all(process.poll() is None for process in processes):
        time.sleep(0.1)
    code = 0 if stopping else next(process.returncode for process in processes if process.returncode is not None) or 1
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
