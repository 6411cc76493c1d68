"""Small cells: which figures a viewer does not see, by every way of execution, and that everybody else does."""

import dataclasses
from typing import Any

import pytest
from django.conf import settings

from backend.accounts.models import Organization
from backend.core.actor import Actor, Right, Role
from backend.core.tenancy import acting_for
from schema.relay.ids import encode_id
from tests import factories as make
from tests.api import Api
from tests.threads import in_thread

FIGURES = "n0 n1 x0 x1 baselineValue currentValue effect ciLow ciHigh pRaw pAdjusted"
LIST = f"query($run: ID!) {{ driftTests(detectionRunId: $run) {{ nodes {{ suppressed {FIGURES} }} }} }}"
VALUES = {"baseline_value": 0.1, "current_value": 0.2, "effect": 0.1, "ci_low": 0.0, "ci_high": 0.2, "p_raw": 0.5}


def _test(organization: Organization, **counts: int) -> tuple[str, str]:
    """The global ids of a run and of its one test."""
    with acting_for(organization.id):
        run = make.detection_run(organization)
        found = make.drift_test(make.payer(organization), run, **{**VALUES, "p_adjusted": 0.5, **counts})
        return encode_id("DR", run.id), encode_id("DT", found.id)


def _as(api: Api, organization: Organization, role: Role) -> Api:
    scopes = frozenset({Right.READ}) if role is Role.SERVICE else frozenset()
    return api.as_(Actor(organization_id=organization.id, role=role, scopes=scopes))


def _counts(n0: int = 100, n1: int = 50, x0: int = 20, x1: int = 20) -> dict[str, int]:
    return {"n0": n0, "n1": n1, "x0": x0, "x1": x1}


@pytest.mark.parametrize(
    ("counts", "hidden"),
    [
        (_counts(), False),
        (_counts(x1=11), False),
        (_counts(x1=10), True),
        (_counts(x0=1), True),
        (_counts(x0=0, x1=0), False),
        (_counts(n1=10, x1=0), True),
        (_counts(n1=0, x1=0), False),
        (_counts(n1=50, x1=40), True),  # ten others
        (_counts(n1=50, x1=50), False),
        (_counts(n0=30, x0=20), True),
    ],
)
async def test_figures_of_small_cells_are_null_for_viewers_alone(
    organization: Organization, api: Api, counts: dict[str, int], hidden: bool
) -> None:
    run, _ = await in_thread(lambda: _test(organization, **counts))

    # One after the other, so that each finds what was planned for the one before, who has the same rights.
    program = await _as(api, organization, Role.SERVICE).data(LIST, run=run)
    viewer = await _as(api, organization, Role.VIEWER).data(LIST, run=run)
    auditor = await _as(api, organization, Role.AUDITOR).data(LIST, run=run)

    [whole], [seen] = program["driftTests"]["nodes"], viewer["driftTests"]["nodes"]
    assert {name: whole[name] for name in counts} == counts
    assert (whole["suppressed"], whole["baselineValue"], whole["pRaw"]) == (False, 0.1, 0.5)
    assert auditor == program
    assert seen == ({**dict.fromkeys(whole), "suppressed": True} if hidden else whole)


@pytest.mark.parametrize(
    "document",
    [
        "query($test: ID!) { found: node(id: $test) { ... on DriftTest { suppressed n1 } } }",
        "query($run: ID!) { run: detectionRun(id: $run) { tests { nodes { suppressed n1 } } } }",
        "query($test: ID!) { nodes(ids: [$test]) { ... on DriftTest { suppressed n1 } } }",
        "{ detectionRuns { edges { node { tests(last: 1) { edges { node { suppressed n1 } } } } } } }",
    ],
)
async def test_figures_are_hidden_wherever_the_row_is_found(
    organization: Organization, api: Api, document: str
) -> None:
    run, test = await in_thread(lambda: _test(organization, **_counts(n1=10, x1=0)))

    answer = await _as(api, organization, Role.VIEWER).data(
        document, **{name: value for name, value in (("run", run), ("test", test)) if f"${name}:" in document}
    )

    assert '"suppressed": True, "n1": None' in str(answer).replace("'", '"')


async def test_the_smallest_count_is_a_setting(
    organization: Organization, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = await in_thread(lambda: _test(organization, **_counts(n1=40, x1=20)))
    found: list[Any] = []

    for minimum in (20, 21, 1):
        changed = dataclasses.replace(settings.ENVIRONMENT, small_cell_minimum=minimum)
        monkeypatch.setattr(settings, "ENVIRONMENT", changed)
        answer = await _as(api, organization, Role.VIEWER).data(LIST, run=run)
        found.append(answer["driftTests"]["nodes"][0]["x1"])

    assert found == [20, None, 20]
