"""The acceptance operations: each is valid, answers, and takes as many statements for 20 parents as for 1."""

from pathlib import Path
from typing import Any

import pytest
from graphql import parse, validate

from backend.accounts.models import Organization
from backend.core.tenancy import acting_for
from schema.build import build_schema
from schema.relay.ids import encode_id
from tests import factories as make
from tests.api import Api
from tests.threads import in_thread

OPERATIONS = Path(__file__).parents[2] / "schema" / "operations"
STATEMENTS = {
    "DriftWorkList": {"auto": 2, "reference": 4},
    "DriftOfPayers": {"auto": 2, "reference": 3},
    "DriftEvent": {"auto": 4, "reference": 4},
    "ClaimsOfEvent": {"auto": 2, "reference": 5},
    "DriftTests": {"auto": 2, "reference": 3},
    "DetectionRuns": {"auto": 1, "reference": 1},
    "DataQuality": {"auto": 2, "reference": 2},
    "Agents": {"auto": 1, "reference": 4},
    "AgentRuns": {"auto": 2, "reference": 4},
    "AgentRun": {"auto": 4, "reference": 4},
    "Findings": {"auto": 2, "reference": 4},
}
"""SQL statements of each query by each way, whatever the number of rows."""


def _text(name: str) -> str:
    return (OPERATIONS / f"{name}.graphql").read_text(encoding="utf-8")


def test_every_operation_is_valid() -> None:
    schema = build_schema()._schema
    problems = {path.stem: validate(schema, parse(path.read_text())) for path in sorted(OPERATIONS.glob("*.graphql"))}

    assert len(problems) >= 19
    assert {name: errors for name, errors in problems.items() if errors} == {}


def _fill(organization: Organization, parents: int) -> dict[str, str]:
    with acting_for(organization.id):
        group = make.group(organization)
        code = make.procedure(organization, group)
        run = make.detection_run(organization)
        event = make.drift_event(make.payer(organization, "root"), run, group=group)
        for number in range(parents):
            payer = make.payer(organization, f"p{number:02d}")
            batch = make.batch(organization, f"b{number}")
            make.quality_report(batch)
            event = make.drift_event(payer, run, group=group, severity=4, parent=event)
            make.drift_observation(event, run)
            make.drift_test(payer, run, group=group, level="PAYER_GROUP")
            agent = make.agent(organization, f"agent{number}")
            agent_run = make.agent_run(agent, conclusion="FAIL", branch="main")
            finding = make.finding(agent_run)
            make.finding_state(finding, agent_run)
            make.agent_metric(agent_run)
            for claim in range(3):
                make.claim(
                    payer,
                    code,
                    batch,
                    number * 10 + claim,
                    outcome="DENIED",
                    decided_on=event.current_end,
                    submitted_on=event.current_start,
                )
        return {
            "event": encode_id("DE", event.id),
            "detection_run": encode_id("DR", run.id),
            "agent_run": encode_id("RU", agent_run.id),
        }


def _variables(name: str, ids: dict[str, str]) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {
        "DriftOfPayers": {"payers": [f"P{number:02d}" for number in range(20)], "since": "2020-01-01"},
        "DriftEvent": {"id": ids["event"]},
        "ClaimsOfEvent": {"event": ids["event"]},
        "DriftTests": {"run": ids["detection_run"], "payer": "p00"},
        "AgentRuns": {"kind": "CODE_QUALITY", "since": "2020-01-01T00:00:00Z"},
        "AgentRun": {"id": ids["agent_run"]},
        "Findings": {"rule": "S608", "path": "app/api"},
    }
    return found.get(name, {})


@pytest.mark.parametrize("name", STATEMENTS)
async def test_statements_are_as_many_for_twenty_parents_as_for_one(
    organization: Organization, other_organization: Organization, api: Api, way: str, name: str
) -> None:
    few = await in_thread(_fill, other_organization, 1)
    many = await in_thread(_fill, organization, 20)
    actor = make.owner(other_organization)

    one = await api.as_(actor)(_text(name), **_variables(name, few))
    twenty = await api(_text(name), **_variables(name, many))

    assert (one.errors, twenty.errors) == ([], [])
    assert (len(one.statements), len(twenty.statements)) == (STATEMENTS[name][way],) * 2


async def test_claims_of_an_event_are_those_of_its_window(organization: Organization, api: Api) -> None:
    ids = await in_thread(_fill, organization, 2)

    data = await api.data(_text("ClaimsOfEvent"), event=ids["event"])

    assert data["claims"]["totalCount"] == 3
    assert {node["payer"]["name"] for node in data["claims"]["nodes"]} == {"P01"}
