"""Loads the demo organization once: a year of claims with known changes, weekly detection, two SARIF reports."""

import datetime
import tempfile
from collections.abc import Callable
from pathlib import Path

from django.utils import timezone

from backend.accounts.models import Organization
from backend.accounts.services import organization_create, token_create
from backend.agents.models import AgentKind
from backend.agents.services import agent_run_import_sarif
from backend.alerts.pipeline import detect
from backend.claims.services import ImportOptions, import_file
from backend.core.actor import SERVICE_SCOPES, Actor, Role
from backend.drift.models import RunKind, Source
from backend.drift.runs import detection_run_start
from backend.ingestion.demo import write_demo_claims

NAME = "Demo clinic"
REPORTS = Path(__file__).parent / "reports"
WEEKS = 26  # of detection, after half a year of history
TOKEN_DAYS = 365

Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, how much there is."""


def demo_exists() -> bool:
    """Whether the demo organization is there.

    SQL: 1.
    """
    return Organization.objects.filter(name=NAME).exists()


def demo_load(progress: Progress) -> str:
    """The secret of an API token for the demo organization, which is made and filled.

    Everything goes the way of real data. An interrupted load is taken up where it stopped: imports, runs and reports
    are idempotent.
    """
    organization = Organization.objects.filter(name=NAME).first() or organization_create(name=NAME)
    actor = Actor.system(organization.id, "demo")
    today = timezone.localdate()
    _claims(actor, today, progress)
    _detection(actor, today, progress)
    _agent_runs(actor, progress)
    scopes = sorted(SERVICE_SCOPES)
    name = f"demo {timezone.now():%Y-%m-%d %H:%M:%S}"
    expires_at = timezone.now() + datetime.timedelta(days=TOKEN_DAYS)
    _, secret = token_create(actor=actor, name=name, role=Role.SERVICE, scopes=scopes, expires_at=expires_at)
    return secret


def _claims(actor: Actor, today: datetime.date, progress: Progress) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "demo.csv"
        progress("Making a year of claims", 0, 1)
        write_demo_claims(path, ends_on=today)
        progress("Making a year of claims", 1, 1)
        import_file(
            actor=actor,
            path=path,
            options=ImportOptions(original_filename="demo.csv"),
            progress=lambda done, total: progress("Importing claims", done, total),
        )


def _detection(actor: Actor, today: datetime.date, progress: Progress) -> None:
    for week in range(WEEKS):
        as_of = today - datetime.timedelta(weeks=WEEKS - 1 - week)
        run, _ = detection_run_start(actor=actor, as_of=as_of, kind=RunKind.SCHEDULED, source=Source.CLAIMS)
        detect(actor=actor, run_id=run.id)
        progress("Detecting drift, week by week", week + 1, WEEKS)


def _agent_runs(actor: Actor, progress: Progress) -> None:
    reports = sorted(REPORTS.glob("*.sarif"))
    for number, path in enumerate(reports, start=1):
        agent_run_import_sarif(actor=actor, document=path, kind=AgentKind.CODE_QUALITY, name=path.stem, branch="main")
        progress("Importing agent runs", number, len(reports))
