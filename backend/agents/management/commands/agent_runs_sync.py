"""`manage.py agent_runs_sync`: sends the reports that found no server to the API, each once."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from backend.agents.reports import folder, kept, send_kept
from backend.core.errors import AppError


class Command(BaseCommand):
    """May be interrupted and run again at any time: the API knows a report that it has."""

    help = (
        "Send the reports of commands with --report that no server took, oldest first, to DRIFTGRAPH_REPORT_URL with"
        " DRIFTGRAPH_REPORT_TOKEN."
    )
    requires_system_checks = []

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Prints one line per report.

        Raises:
            CommandError: the API is not there or refuses the token, and the reports wait on; or it refused some.
        """
        if not kept():
            self.stdout.write("No report waits.")
            return
        try:
            refused = send_kept(self.stdout.write)
        except AppError as error:
            raise CommandError(f"{error.message} Reports that wait in {folder()}: {len(kept())}.") from None
        if refused:
            raise CommandError(f"Refused: {refused}. Delete them, or send them to a server that takes them.")
