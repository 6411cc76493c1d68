"""`manage.py load_demo`: the demo organization; a command of its own, since `serve` seldom needs what it imports."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from backend.core.errors import AppError
from backend.demo.files import begin_loading, end_loading
from backend.demo.loading import demo_load


class Command(BaseCommand):
    """Makes and fills the demo organization, with a progress bar."""

    help = "Load the demo organization; the secret of its token goes into the data directory."
    requires_system_checks = ()

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Loads; what broke off before is taken up where it stopped.

        Raises:
            CommandError: the data directory cannot be used.
        """
        columns = (TextColumn("{task.description:32}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
        try:
            begin_loading()
            with Progress(*columns, TimeElapsedColumn(), console=Console()) as bars:
                tasks: dict[str, TaskID] = {}

                def show(what: str, done: int, total: int) -> None:
                    if what not in tasks:
                        tasks[what] = bars.add_task(what, total=total)
                    bars.update(tasks[what], completed=done, total=total)

                secret = demo_load(show)
        except AppError as error:
            raise CommandError(error.message) from None
        end_loading(secret)
