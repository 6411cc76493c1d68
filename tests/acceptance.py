"""The acceptance operations, and rows for each of them to find. Call `fill` inside no organization: it sets its own."""

from pathlib import Path
from typing import Any

from backend.accounts.models import Organization
from backend.core.tenancy import acting_for
from schema.relay.ids import encode_id
from tests import factories as make

OPERATIONS = Path(__file__).parents[1] / "schema" / "operations"


def text(name: str) -> str:
    """The document of an operation."""
    return (OPERATIONS / f"{name}.graphql").read_text(encoding="utf-8")


def fill(organization: Organization, parents: int) -> dict[str, str]:
    """Rows for as many parents; the ids that `variables` wants."""
    with acting_for(organization.id):
        group = make.group(organization)
        code = make.procedure(organization, group)
        run = make.detection_run(organization)
        event = make.drift_event(make.payer(organization, "root"), run, group=group)
        first = make.payer(organization, "p00")
        for number in range(parents):
            payer = make.payer(organization, f"p{number:02d}") if number else first
            batch = make.batch(organization, f"b{number}")
            make.quality_report(batch)
            event = make.drift_event(payer, run, group=group, severity=4, parent=event)
            make.drift_observation(event, run)
            make.drift_test(first, run, group=make.group(organization, f"g{number}"), level="PAYER_GROUP")
            agent = make.agent(organization, f"agent{number}")
            agent_run = make.agent_run(agent, conclusion="FAIL", branch="main")
            finding = make.finding(agent_run)
            make.finding_state(finding, agent_run)
            make.agent_metric(agent_run)
            for claim in range(max(parents, 3) if number == parents - 1 else 3):
                make.claim(
                    payer,
                    code,
                    batch,
                    number * 100 + claim,
                    outcome="DENIED",
                    decided_on=event.current_end,
                    submitted_on=event.current_start,
                )
        return {
            "event": encode_id("DE", event.id),
            "detection_run": encode_id("DR", run.id),
            "agent_run": encode_id("RU", agent_run.id),
        }


def variables(name: str, ids: dict[str, str]) -> dict[str, Any]:
    """What a query is asked with, so that it finds the rows of `fill`."""
    found: dict[str, dict[str, Any]] = {
        "DriftOfPayers": {"payers": [f"P{number:02d}" for number in range(20)], "since": "2020-01-01"},
        "DriftEvent": {"id": ids["event"]},
        "ClaimsOfEvent": {"event": ids["event"]},
        "DataQuality": {"first": 20},
        "DriftTests": {"run": ids["detection_run"], "payer": "p00"},
        "AgentRuns": {"kind": "CODE_QUALITY", "since": "2020-01-01T00:00:00Z"},
        "AgentRun": {"id": ids["agent_run"]},
        "Findings": {"rule": "S608", "path": "app/api"},
    }
    return found.get(name, {})
