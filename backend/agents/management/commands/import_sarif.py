"""`manage.py import_sarif FILE --organization NAME --agent KIND:NAME [--commit SHA] [--branch NAME] [--root DIR]`."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from backend.accounts.selectors import organization_named
from backend.agents.errors import BadAgentReference
from backend.agents.models import AgentKind
from backend.agents.services import agent_run_import_sarif
from backend.core.actor import Actor
from backend.core.errors import AppError


def _agent(reference: str) -> tuple[AgentKind, str]:
    kind, _, name = reference.partition(":")
    if kind not in AgentKind.values or not name:
        raise BadAgentReference(kinds=", ".join(AgentKind.values))
    return AgentKind(kind), name


class Command(BaseCommand):
    """Imports the runs of a SARIF file."""

    help = "Import a SARIF 2.1.0 file, one agent run per run in it; the same file again gives the same runs."

    def add_arguments(self, parser: CommandParser) -> None:
        """File, organization, agent, commit, branch and checkout."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--organization", required=True, metavar="NAME")
        parser.add_argument("--agent", required=True, metavar="KIND:NAME")
        parser.add_argument("--commit", default="")
        parser.add_argument("--branch", default="")
        parser.add_argument(
            "--root",
            type=Path,
            metavar="CHECKOUT",
            help="the directory that was scanned: paths are relative to it, and findings whose line the file does not"
            " quote are known again by the line there; give it for every file of an agent, or for none",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Prints one line per run.

        Raises: CommandError.
        """
        try:
            kind, name = _agent(options["agent"])
            runs = agent_run_import_sarif(
                actor=Actor.system(organization_named(options["organization"]).id, "import_sarif"),
                document=options["file"],
                kind=kind,
                name=name,
                commit=options["commit"],
                branch=options["branch"],
                checkout=options["root"],
            )
        except AppError as refusal:
            raise CommandError(refusal.message) from refusal
        for run in runs:
            self.stdout.write(
                f"{run.id} {run.conclusion} critical {run.critical_count}, high {run.high_count},"
                f" medium {run.medium_count}, low {run.low_count}, info {run.info_count}"
            )
