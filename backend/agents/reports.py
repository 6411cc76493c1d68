"""What commands found, on its way to become agent runs: kept in a folder until the API has taken it."""

import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from backend.agents.errors import ReportRefused
from backend.agents.models import AgentKind
from backend.agents.report_api import report_send
from backend.core.errors import AppError

KIND = AgentKind.MIGRATION_SAFETY  # of the commands that report
_NAME = re.compile(r"(?P<time>\d{8}T\d{12})-(?P<kind>[A-Z_]+)-(?P<agent>\w+)-[0-9a-f]{32}\.sarif", re.ASCII)


@dataclass(frozen=True, slots=True)
class Kept:
    """A report that waits, by its file; the name says when, by whom and of which kind."""

    path: Path
    time: str
    kind: str
    agent: str

    def send(self) -> list[str]:
        """The conclusions of its runs; it waits no longer. Sent twice, it makes the same runs.

        Raises: what report_send does; the report waits on.
        """
        conclusions = report_send(self.path.read_bytes(), kind=self.kind, agent=self.agent)
        self.path.unlink(missing_ok=True)
        return conclusions


def folder() -> Path:
    """Where reports wait."""
    found: Path = settings.ENVIRONMENT.data_dir / "reports"
    return found


def kept() -> list[Kept]:
    """The reports that wait, oldest first. Other files in the folder are left alone."""
    names = {path: _NAME.fullmatch(path.name) for path in sorted(folder().glob("*.sarif"))}
    return [Kept(path, found["time"], found["kind"], found["agent"]) for path, found in names.items() if found]


def keep(document: str) -> Kept:
    """The report of a SARIF document, in the folder, whole or not at all. The agent is the tool that it names.

    Raises:
        OSError: the folder cannot be written.
    """
    agent = json.loads(document)["runs"][0]["tool"]["driver"]["name"]
    time, key = timezone.now().strftime("%Y%m%dT%H%M%S%f"), uuid.uuid4().hex
    folder().mkdir(parents=True, exist_ok=True)
    path = folder() / f"{time}-{KIND}-{agent}-{key}.sarif"
    unfinished = path.with_suffix(".part")
    unfinished.write_text(document, encoding="utf-8")
    unfinished.replace(path)
    return Kept(path, time, KIND, agent)


def report(document: str) -> str:
    """Where a SARIF document went, as a sentence: to the API or, where that takes none now, into the folder.

    It never fails: a hook before a commit must not depend on a server.
    """
    try:
        waiting = keep(document)
    except OSError as error:
        return f"The report is lost: {folder()} cannot be written ({error.strerror}). Set DRIFTGRAPH_DATA_DIR."
    try:
        conclusions = waiting.send()
    except AppError as error:
        return f"{error.message} The report waits in {waiting.path}; python manage.py agent_runs_sync sends it."
    return f"Reported as an agent run: {', '.join(conclusions)}."


def send_kept(say: Callable[[str], None]) -> int:
    """How many of the waiting reports the API refused for what they are; all others it has taken now.

    `say` is told of each as it is done.

    Raises:
        NoReportAddress; ReportUnanswered, ReportUnstored, ReportTokenRefused: the others would fare no better, they
        wait on.
    """
    refused = 0
    waiting = kept()
    for number, one in enumerate(waiting, 1):
        try:
            outcome = ", ".join(one.send())
        except FileNotFoundError:
            outcome = "sent by another process"
        except ReportRefused as error:
            refused += 1
            outcome = f"{error.message} It stays in {one.path}."
        say(f"{number}/{len(waiting)} {one.agent} of {one.time}: {outcome}")
    return refused
