"""The acceptance operations: each is valid, answers, and takes as many statements for 20 parents as for 1."""

import pytest
from graphql import parse, validate

from backend.accounts.models import Organization
from schema.build import build_schema
from tests import acceptance
from tests import factories as make
from tests.api import Api
from tests.threads import in_thread

STATEMENTS = {
    "AccessReview": {"auto": 2, "loaders": 2},
    "DriftWorkList": {"auto": 2, "loaders": 4},
    "DriftOfPayers": {"auto": 2, "loaders": 3},
    "DriftEvent": {"auto": 4, "loaders": 4},
    "ClaimsOfEvent": {"auto": 2, "loaders": 5},
    "DriftTests": {"auto": 2, "loaders": 3},
    "DetectionRuns": {"auto": 1, "loaders": 1},
    "DataQuality": {"auto": 2, "loaders": 2},
    "Agents": {"auto": 1, "loaders": 4},
    "AgentRuns": {"auto": 2, "loaders": 4},
    "AgentRun": {"auto": 4, "loaders": 4},
    "Findings": {"auto": 2, "loaders": 4},
}
"""SQL statements of each query by each way, whatever the number of rows."""


def test_every_operation_is_valid() -> None:
    schema = build_schema()._schema
    names = sorted(path.stem for path in acceptance.OPERATIONS.glob("*.graphql"))

    problems = {name: validate(schema, parse(acceptance.text(name))) for name in names}

    assert len(problems) >= 20
    assert {name: errors for name, errors in problems.items() if errors} == {}


@pytest.mark.parametrize("name", STATEMENTS)
async def test_statements_are_as_many_for_twenty_parents_as_for_one(
    organization: Organization, other_organization: Organization, api: Api, way: str, name: str
) -> None:
    few = await in_thread(acceptance.fill, other_organization, 1)
    many = await in_thread(acceptance.fill, organization, 20)
    actor = make.owner(other_organization)

    one = await api.as_(actor)(acceptance.text(name), **acceptance.variables(name, few))
    twenty = await api(acceptance.text(name), **acceptance.variables(name, many))

    assert (one.errors, twenty.errors) == ([], [])
    expected = STATEMENTS[name]["auto" if way == "auto" else "loaders"]
    assert (len(one.statements), len(twenty.statements)) == (expected, expected)
    told = await api.data("query($d: String!) { cost(document: $d) { statements } }", d=acceptance.text(name))
    assert told["cost"]["statements"] == STATEMENTS[name]["loaders"]


async def test_claims_of_an_event_are_those_of_its_window(organization: Organization, api: Api) -> None:
    ids = await in_thread(acceptance.fill, organization, 2)

    data = await api.data(acceptance.text("ClaimsOfEvent"), event=ids["event"])

    assert data["claims"]["totalCount"] == 3
    assert {node["payer"]["name"] for node in data["claims"]["nodes"]} == {"P01"}
