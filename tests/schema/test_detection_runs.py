"""Detection runs through the API: what is refused and where, what-ifs, and the codes of failures."""

import uuid
from datetime import timedelta
from typing import Any

import pytest

from backend.accounts.models import Organization
from backend.alerts.pipeline import detect
from backend.core.actor import Actor, Right, Role
from backend.core.tenancy import acting_for
from backend.drift.models import DetectionRun
from tests import factories as make
from tests.api import Api
from tests.threads import in_thread

START = """mutation($input: DetectionRunStartInput!) { detectionRunStart(input: $input) {
  created detectionRun { id status whatIf errorCode } userErrors { code message path } } }"""
RUNS = """{ detectionRuns(first: 10) { nodes {
  asOf status whatIf errorCode testsTotal eventsOpened tests(first: 1) { totalCount } } } }"""


async def _start(api: Api, **values: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await api.data(START, input=values))["detectionRunStart"]
    return found


async def test_a_token_that_may_only_detect_follows_its_run(organization: Organization, api: Api) -> None:
    scopes = frozenset({Right.DETECT})
    token = api.as_(Actor(organization_id=organization.id, role=Role.SERVICE, token_id=uuid.uuid4(), scopes=scopes))

    started = await _start(token, asOf="2026-03-01")
    one = await token.data(
        "query($id: ID!) { detectionRun(id: $id) { status tests { totalCount } } }", id=started["detectionRun"]["id"]
    )

    assert started["detectionRun"]["status"] == "QUEUED"
    assert one == {"detectionRun": {"status": "QUEUED", "tests": {"totalCount": 0}}}
    assert len((await token.data(RUNS))["detectionRuns"]["nodes"]) == 1


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"config": {"q": 0}}, ["config", "q"]),
        ({"config": {"q": 0.51}}, ["config", "q"]),
        ({"config": {"minEffect": -0.01}}, ["config", "minEffect"]),
        ({"config": {"windows": []}}, ["config", "windows"]),
        ({"config": {"windows": [14, 14]}}, ["config", "windows"]),
        ({"config": {"windows": [13]}}, ["config", "windows"]),
        ({"config": {"windows": [14]}, "source": "OUTCOME_COUNTS"}, ["config", "windows"]),
        ({"asOf": "0001-01-01"}, ["asOf"]),
        ({"asOf": "1999-12-31", "source": "OUTCOME_COUNTS"}, ["asOf"]),
        ({"asOf": "9999-12-31"}, ["asOf"]),
        ({"asOf": "9999-12-31", "source": "OUTCOME_COUNTS"}, ["asOf"]),
        ({"asOf": "0001-01-01", "kind": "BACKTEST"}, ["asOf"]),
    ],
)
async def test_input_that_cannot_be_run_is_refused_by_its_place(
    organization: Organization, api: Api, values: dict[str, Any], path: list[str]
) -> None:
    found = await _start(api, **values)

    assert (found["detectionRun"], found["created"]) == (None, False)
    (error,) = found["userErrors"]
    assert (error["code"], error["path"]) == ("BAD_USER_INPUT", path)
    assert (await api.data("{ detectionRuns { totalCount } }")) == {"detectionRuns": {"totalCount": 0}}


@pytest.mark.parametrize(
    ("config", "what_if"),
    [
        (None, False),
        ({}, False),
        ({"q": 0.05, "windows": [28, 14]}, False),
        ({"q": 0.1}, True),
        ({"windows": [28]}, True),
        ({"minEffect": 0.5}, True),
    ],
)
async def test_a_run_says_whether_it_is_a_what_if(
    organization: Organization, api: Api, config: dict[str, Any] | None, what_if: bool
) -> None:
    found = await _start(api, config=config)

    assert found["userErrors"] == []
    assert found["detectionRun"]["whatIf"] is what_if
    assert found["detectionRun"]["errorCode"] is None


async def test_a_what_if_can_be_read_and_has_changed_nothing(
    organization: Organization, actor: Actor, api: Api
) -> None:
    def prepare() -> None:
        with acting_for(organization.id):
            code = make.procedure(organization, make.group(organization))
            of, source = make.payer(organization), make.batch(organization)
            for number in range(400):
                decided = make.DAY + make.datetime.timedelta(days=number % 100)
                denied = number % 100 > 85
                make.claim(of, code, source, number, decided_on=decided, outcome="DENIED" if denied else "PAID")

    await in_thread(prepare)
    await _start(api, config={"q": 0.5})

    def carry_out() -> None:
        with acting_for(organization.id):
            run_id = DetectionRun.objects.get().id
        detect(actor=actor, run_id=run_id)

    await in_thread(carry_out)
    (run,) = (await api.data(RUNS))["detectionRuns"]["nodes"]
    assert (run["status"], run["whatIf"], run["eventsOpened"]) == ("SUCCEEDED", True, 0)
    assert run["tests"]["totalCount"] > 0
    assert run["testsTotal"] > 0
    assert (await api.data("{ driftEvents { totalCount } }")) == {"driftEvents": {"totalCount": 0}}


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("", None),
        ("BAD_USER_INPUT", "BAD_USER_INPUT"),
        ("TIMEOUT", "TIMEOUT"),
        ("INTERNAL", "INTERNAL"),
        ("OverflowError", "INTERNAL"),
    ],
)
async def test_a_failure_is_shown_by_one_of_our_codes(
    organization: Organization, api: Api, stored: str, shown: str | None
) -> None:
    def prepare() -> None:
        with acting_for(organization.id):
            make.detection_run(organization, status="FAILED" if stored else "SUCCEEDED", error_code=stored)

    await in_thread(prepare)
    data = await api.data("{ detectionRuns { nodes { errorCode } } }")

    assert data["detectionRuns"]["nodes"][0]["errorCode"] == shown


@pytest.mark.parametrize(
    ("microseconds", "shown"),
    [(None, None), (0, 0), (999, 0), (1_000, 1), (-1_999, -1), (2_147_483_647_999, 2_147_483_647)],
)
async def test_a_run_took_whole_milliseconds(
    organization: Organization, api: Api, microseconds: int | None, shown: int | None
) -> None:
    await in_thread(_took, organization, microseconds)

    data = await api.data("{ detectionRuns { nodes { durationMs } } }")

    assert data["detectionRuns"]["nodes"] == [{"durationMs": shown}]


async def test_a_run_of_more_milliseconds_than_an_int_holds_is_an_error(organization: Organization, api: Api) -> None:
    await in_thread(_took, organization, 2_147_483_648_000)

    answer = await api("{ detectionRuns { nodes { durationMs } } }")

    assert answer.data["detectionRuns"]["nodes"] == [{"durationMs": None}]
    assert [error["path"] for error in answer.errors] == [["detectionRuns", "nodes", 0, "durationMs"]]


def _took(organization: Organization, microseconds: int | None) -> None:
    finished = None if microseconds is None else make.NOW + timedelta(microseconds=microseconds)
    with acting_for(organization.id):
        make.detection_run(organization, started_at=make.NOW, finished_at=finished)
