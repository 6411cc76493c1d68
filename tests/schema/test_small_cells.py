"""Small cells: which figures a viewer does not see, by every way of execution, and that everybody else does."""

import dataclasses
import datetime
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from backend.accounts.errors import BadSmallCellMinimum, BadSmallCells
from backend.accounts.models import Organization
from backend.accounts.services import organization_change
from backend.core.actor import Actor, Right, Role, SmallCells
from backend.core.tenancy import acting_for
from backend.db.reads import Reads
from backend.db.writes import WriteThreads
from schema.relay.ids import encode_id
from tests import factories as make
from tests.api import Api
from tests.asgi import asking, bearer
from tests.backend.people import member, person
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


def _as(api: Api, organization: Organization, role: Role, **options: Any) -> Api:
    scopes = frozenset({Right.READ}) if role is Role.SERVICE else frozenset()
    return api.as_(Actor(organization_id=organization.id, role=role, scopes=scopes, **options))


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


@pytest.mark.parametrize("role", Role)
async def test_an_organization_can_keep_small_cells_from_everyone(
    organization: Organization, api: Api, role: Role
) -> None:
    run, _ = await in_thread(lambda: _test(organization, **_counts(x1=10)))

    # Before, after and in between: what was planned for the same rights without the option is of no use with it.
    answers = [
        (await _as(api, organization, role, small_cells=option).data(LIST, run=run))["driftTests"]["nodes"][0]
        for option in (SmallCells.VIEWERS, SmallCells.EVERYONE, SmallCells.VIEWERS)
    ]

    assert [one["suppressed"] for one in answers] == [role is Role.VIEWER, True, role is Role.VIEWER]
    assert answers[1] == {**dict.fromkeys(answers[1]), "suppressed": True}


@pytest.mark.parametrize(
    ("option", "role", "minimum", "seen"),
    [
        (SmallCells.VIEWERS, Role.VIEWER, 20, 20),
        (SmallCells.VIEWERS, Role.VIEWER, 21, None),
        (SmallCells.VIEWERS, Role.ANALYST, 21, 20),
        (SmallCells.EVERYONE, Role.ANALYST, 21, None),
        (SmallCells.EVERYONE, Role.ANALYST, 20, 20),
    ],
)
async def test_an_organization_can_have_a_larger_smallest_count(
    organization: Organization, api: Api, option: SmallCells, role: Role, minimum: int, seen: int | None
) -> None:
    run, _ = await in_thread(lambda: _test(organization, **_counts(n1=40, x1=20)))

    asking_ = _as(api, organization, role, small_cells=option, small_cell_minimum=minimum)
    [found] = (await asking_.data(LIST, run=run))["driftTests"]["nodes"]

    assert found["x1"] == seen


EVIDENCE = """{ driftEvents { nodes { evidence {
  topReasonCodes { carc nCurrent nBaseline share } topProcedures { code n nBaseline rate baselineRate } } } } }"""
STORED = {
    "reasons": [{"code": "197", "count": 60, "baseline_count": 34}, {"code": "16", "count": 34, "baseline_count": 12}],
    "procedures": [
        {"code": "99213", "count": 100, "baseline_count": 200, "rate": 0.5, "baseline_rate": 0.25},
        {"code": "99214", "count": 100, "baseline_count": 49, "rate": 0.51, "baseline_rate": 0.0},
        {"code": "99215", "count": 49, "baseline_count": 100, "rate": 0.5, "baseline_rate": 0.5},
        {"code": "97110", "count": 60, "baseline_count": 60, "rate": 0.5, "baseline_rate": 1.0},
    ],
}


def _event(organization: Organization) -> None:
    with acting_for(organization.id):
        make.drift_event(make.payer(organization), make.detection_run(organization), evidence=STORED)


@pytest.mark.parametrize(
    ("role", "option", "hides"),
    [
        (Role.VIEWER, SmallCells.VIEWERS, True),
        (Role.ANALYST, SmallCells.VIEWERS, False),
        (Role.ANALYST, SmallCells.EVERYONE, True),
        (Role.SERVICE, SmallCells.EVERYONE, True),
    ],
)
async def test_the_smallest_count_of_an_organization_governs_the_evidence_of_events(
    organization: Organization, api: Api, role: Role, option: SmallCells, hides: bool
) -> None:
    await in_thread(lambda: _event(organization))

    # Without the option before: what was planned then is of no use with it.
    whole = (await _as(api, organization, Role.ANALYST).data(EVIDENCE))["driftEvents"]["nodes"][0]["evidence"]
    asking_ = _as(api, organization, role, small_cells=option, small_cell_minimum=50)
    found = (await asking_.data(EVIDENCE))["driftEvents"]["nodes"][0]["evidence"]

    assert [one["nBaseline"] for one in whole["topReasonCodes"]] == [34, 12]
    assert [one["rate"] for one in whole["topProcedures"]] == [0.5, 0.51, 0.5, 0.5]
    assert found == (
        {
            "topReasonCodes": [{"carc": "197", "nCurrent": 60, "nBaseline": None, "share": 1.0}],
            "topProcedures": [
                {"code": "99213", "n": 100, "nBaseline": 200, "rate": 0.5, "baselineRate": 0.25},
                # 49 others in the one, 49 claims in the other
                {"code": "99214", "n": 100, "nBaseline": None, "rate": None, "baselineRate": None},
                {"code": "97110", "n": 60, "nBaseline": 60, "rate": None, "baselineRate": 1.0},
            ],
        }
        if hides
        else whole
    )


BATCHES = "{ importBatches { nodes { rowsTotal suppressed dateMin dateMax } } }"


@pytest.mark.parametrize(
    ("rows", "role", "hidden"), [(10, Role.VIEWER, True), (11, Role.VIEWER, False), (1, Role.ANALYST, False)]
)
async def test_the_dates_of_a_file_of_a_few_claims_are_hidden(
    organization: Organization, api: Api, rows: int, role: Role, hidden: bool
) -> None:
    """They are the dates of a claim."""
    day = datetime.date(2026, 3, 2)

    def load() -> None:
        with acting_for(organization.id):
            make.batch(organization, rows_total=rows, date_min=day, date_max=day)

    await in_thread(load)

    [found] = (await _as(api, organization, role).data(BATCHES))["importBatches"]["nodes"]

    shown = None if hidden else day.isoformat()
    assert found == {"rowsTotal": rows, "suppressed": hidden, "dateMin": shown, "dateMax": shown}


async def test_a_smaller_one_than_the_servers_does_not_count(organization: Organization, api: Api) -> None:
    run, _ = await in_thread(lambda: _test(organization, **_counts(x1=10)))

    answer = await _as(api, organization, Role.VIEWER, small_cell_minimum=5).data(LIST, run=run)

    assert answer["driftTests"]["nodes"][0]["suppressed"]


def _session(organization: Organization) -> dict[str, str]:
    user, client = person(organization, "cells"), Client()
    member(organization, user, Role.ANALYST)
    client.force_login(user)
    return {"cookie": f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"}


@pytest.mark.parametrize("credentials", [bearer, _session])
async def test_the_option_counts_from_the_next_request_on(
    organization: Organization, reads: Reads, writes: WriteThreads, way: str, credentials: Any
) -> None:
    run, _ = await in_thread(lambda: _test(organization, **_counts(n1=40, x1=20)))
    headers = await in_thread(lambda: credentials(organization))
    seen: list[int | None] = []
    owner = Actor(organization_id=organization.id, role=Role.OWNER)

    async with asking(reads, writes) as client:
        for option, minimum in (("VIEWERS", 21), ("EVERYONE", None), ("EVERYONE", 21), ("EVERYONE", 20)):
            organization.small_cells, organization.small_cell_minimum = option, minimum
            await in_thread(lambda: organization_change(actor=owner, organization=organization))
            answer = await client.post("/graphql", json={"query": LIST, "variables": {"run": run}}, headers=headers)
            seen.append(answer.json()["data"]["driftTests"]["nodes"][0]["x1"])

    assert seen == [20, 20, None, 20]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"small_cells": "NOBODY"}, BadSmallCells),
        ({"small_cell_minimum": 10}, BadSmallCellMinimum),
        ({"small_cell_minimum": 2**31}, BadSmallCellMinimum),
    ],
)
def test_options_that_are_none_are_refused(
    organization: Organization, changes: dict[str, Any], error: type[Exception]
) -> None:
    for name, value in changes.items():
        setattr(organization, name, value)

    with pytest.raises(error):
        organization_change(actor=Actor(organization_id=organization.id, role=Role.OWNER), organization=organization)
