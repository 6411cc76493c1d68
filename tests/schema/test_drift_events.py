"""Drift events through the API: filters, orders, pages, relations and the number of statements."""

import datetime
import math
import uuid
from typing import Any

import pytest

from backend.accounts.models import Organization
from backend.core.tenancy import acting_for
from backend.db.snapshots import Snapshot
from backend.drift.models import DriftEvent
from schema.relay.ids import encode_id
from tests import factories as make
from tests.api import Api
from tests.threads import in_thread

WORK_LIST = """
query DriftWorkList($filter: DriftEventFilter, $first: Int, $after: String, $last: Int, $before: String) {
  driftEvents(
    filter: $filter, orderBy: REVENUE_AT_RISK_DESC, first: $first, after: $after, last: $last, before: $before
  ) {
    totalCount totalCountPrecision
    edges { cursor node {
      id driftType payer { name } group { code } baselineValue currentValue delta unit severity status revenueAtRisk30d
      observations(first: 2) { totalCount nodes { asOf run { asOf } } }
    } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}
"""


def _events(organization: Organization, count: int) -> None:
    with acting_for(organization.id):
        run = make.detection_run(organization)
        imaging = make.group(organization)
        for number in range(count):
            event = make.drift_event(
                make.payer(organization, f"payer{number:03d}"),
                run,
                group=imaging,
                # Pairs share a value, so that the id must break ties.
                revenue_at_risk_30d_cents=(number // 2) * 1000,
                severity=number % 4 + 1,
                harmful=number % 3 != 0,
            )
            make.drift_observation(event, run)


async def test_the_work_list_shows_relations_and_money(organization: Organization, api: Api) -> None:
    await in_thread(_events, organization, 3)

    data = await api.data(WORK_LIST, first=10)

    found = data["driftEvents"]
    assert (found["totalCount"], found["totalCountPrecision"]) == (3, "EXACT")
    first = found["edges"][0]["node"]
    assert first["payer"] == {"name": "Payer002"}
    assert first["group"] == {"code": "imaging"}
    assert first["revenueAtRisk30d"] == "10.00"
    assert first["severity"] == "HIGH"
    assert first["observations"] == {"totalCount": 1, "nodes": [{"asOf": "2026-03-01", "run": {"asOf": "2026-03-01"}}]}


@pytest.mark.parametrize("size", [1, 3, 7, 100])
async def test_pages_give_each_row_once_in_both_directions(organization: Organization, api: Api, size: int) -> None:
    await in_thread(_events, organization, 17)
    whole = [edge["node"]["id"] for edge in (await api.data(WORK_LIST, first=100))["driftEvents"]["edges"]]

    forward = await _walk(api, size, "first", "after", "endCursor", "hasNextPage")
    backward = await _walk(api, size, "last", "before", "startCursor", "hasPreviousPage")

    assert len(set(whole)) == 17
    assert [item for page in forward for item in page] == whole
    assert [item for page in reversed(backward) for item in page] == whole


async def _walk(api: Api, size: int, count: str, position: str, cursor: str, more: str) -> list[list[str]]:
    pages, at = [], None
    while True:
        variables: dict[str, Any] = {count: size, position: at}
        found = (await api.data(WORK_LIST, **variables))["driftEvents"]
        pages.append([edge["node"]["id"] for edge in found["edges"]])
        if not found["pageInfo"][more]:
            return pages
        at = found["pageInfo"][cursor]


async def test_statements_do_not_grow_with_the_rows(organization: Organization, api: Api, way: str) -> None:
    await in_thread(_events, organization, 20)

    one = await api(WORK_LIST, first=1)
    twenty = await api(WORK_LIST, first=20)

    assert len(one.statements) == len(twenty.statements) == {"auto": 2, "compiled": 7, "reference": 7}[way]


async def test_filters_compose(organization: Organization, api: Api) -> None:
    await in_thread(_events, organization, 12)

    async def ids(**condition: Any) -> set[int]:
        data = await api.data(
            "query($f: DriftEventFilter) { driftEvents(filter: $f, first: 100) { nodes { payer { code } } } }",
            f=condition,
        )
        return {int(node["payer"]["code"][-3:]) for node in data["driftEvents"]["nodes"]}

    assert await ids(severity={"gte": "HIGH"}) == {2, 3, 6, 7, 10, 11}
    assert await ids(harmful={"eq": False}) == {0, 3, 6, 9}
    assert await ids(payer={"code": {"in": ["PAYER001", "payer002"]}}) == {1, 2}
    assert await ids(payer={"code": {"in": []}}) == set()
    assert await ids(**{"or": [{"harmful": {"eq": False}}, {"severity": {"eq": "CRITICAL"}}]}) == {0, 3, 6, 7, 9, 11}
    assert await ids(**{"or": []}) == set()
    assert await ids(**{"not": {"severity": {"in": ["LOW", "MEDIUM"]}}}) == {2, 3, 6, 7, 10, 11}
    assert await ids(**{"and": [{"harmful": {"eq": True}}], "revenueAtRisk30d": {"gte": "40.00"}}) == {8, 10, 11}
    assert await ids(changeOn={"isNull": True}, firstSeen={"gte": "2026-03-01"}) == set(range(12))
    assert await ids(group={"code": {"ne": "imaging"}}) == set()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("first: -1", "BAD_USER_INPUT"),
        ("first: 101", "BAD_USER_INPUT"),
        ("first: 1, last: 1", "BAD_USER_INPUT"),
        ('after: "rubbish"', "INVALID_CURSOR"),
        ('after: ""', "INVALID_CURSOR"),
        ('filter: {id: {eq: "rubbish"}}', "BAD_USER_INPUT"),
        ("filter: {harmful: {eq: null}}", "BAD_USER_INPUT"),
        ("filter: {severity: {gte: EXTREME}}", "GRAPHQL_VALIDATION_FAILED"),
    ],
)
async def test_bad_arguments_are_refused_by_code(api: Api, arguments: str, code: str) -> None:
    answer = await api(f"{{ driftEvents({arguments}) {{ nodes {{ id }} }} }}")

    assert answer.codes == [code]
    assert "rubbish" not in str(answer.errors)


async def test_a_filter_has_so_many_conditions_however_they_are_nested(organization: Organization, api: Api) -> None:
    await in_thread(_events, organization, 2)
    query = "query($filter: DriftEventFilter) { driftEvents(filter: $filter) { totalCount } }"
    tens = [{"or": [{"harmful": {"eq": True}}, {"severity": {"gte": "LOW", "lte": "HIGH"}}, {}] * 2 + [{}] * 2}] * 10

    most = await api.data(query, filter={"and": tens})
    answer = await api(query, filter={"and": tens, "harmful": {"ne": True}})

    assert most["driftEvents"]["totalCount"] == 2
    [error] = answer.errors
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["message"] == (
        "The number of conditions of a filter is 101, more than 100 (DRIFTGRAPH_MAX_FILTER_CONDITIONS)."
    )


async def test_a_cursor_of_another_order_is_refused(organization: Organization, api: Api) -> None:
    await in_thread(_events, organization, 2)
    cursor = (await api.data(WORK_LIST, first=1))["driftEvents"]["pageInfo"]["endCursor"]

    answer = await api(
        "query($c: String) { driftEvents(orderBy: SEVERITY_DESC, after: $c) { nodes { id } } }", c=cursor
    )

    assert answer.codes == ["INVALID_CURSOR"]


async def test_first_zero_reads_no_rows(organization: Organization, api: Api) -> None:
    await in_thread(_events, organization, 2)

    answer = await api("{ driftEvents(first: 0) { totalCount nodes { id } pageInfo { endCursor } } }")

    assert answer.data == {"driftEvents": {"totalCount": 2, "nodes": [], "pageInfo": {"endCursor": None}}}


async def test_a_node_is_found_again_by_its_id(organization: Organization, api: Api) -> None:
    await in_thread(_events, organization, 1)
    node = (await api.data(WORK_LIST))["driftEvents"]["edges"][0]["node"]

    data = await api.data(
        "query($id: ID!) { node(id: $id) { id ... on DriftEvent { driftType } } driftEvent(id: $id) { id }"
        " nodes(ids: [$id]) { id } }",
        id=node["id"],
    )

    assert data == {
        "node": {"id": node["id"], "driftType": "DENIAL_RATE"},
        "driftEvent": {"id": node["id"]},
        "nodes": [{"id": node["id"]}],
    }


@pytest.mark.parametrize("text", ["", "rubbish", "UlUA", "UlUAAAAAAAAAAAAAAAAAAAAAAAAA", "ä" * 24])
@pytest.mark.parametrize(
    "field",
    [
        "node(id: $id) { id }",
        "nodes(ids: [$id]) { id }",
        "driftEvent(id: $id) { id }",
        "driftTests(detectionRunId: $id) { totalCount }",
    ],
)
async def test_a_malformed_id_is_refused_by_code_and_is_not_repeated(api: Api, field: str, text: str) -> None:
    answer = await api(f"query($id: ID!) {{ {field} }}", id=text)

    assert answer.codes == ["BAD_USER_INPUT"]
    assert not text or text not in str(answer.errors)


async def test_a_malformed_id_among_others_is_null_with_an_error_at_its_place(
    organization: Organization, api: Api
) -> None:
    await in_thread(_events, organization, 1)
    good = await in_thread(_first_event, organization)
    missing = encode_id("DE", uuid.uuid4())

    answer = await api(
        "query($ids: [ID!]!) { nodes(ids: $ids) { id } viewer { role } }", ids=["bad", good, missing, "UlUA"]
    )

    assert answer.data == {"nodes": [None, {"id": good}, None, None], "viewer": {"role": "OWNER"}}
    assert [(error["path"], error["extensions"]["code"]) for error in answer.errors] == [
        (["nodes", 0], "BAD_USER_INPUT"),
        (["nodes", 3], "BAD_USER_INPUT"),
    ]


async def test_a_node_of_another_organization_does_not_exist(
    organization: Organization, other_organization: Organization, api: Api
) -> None:
    await in_thread(_events, other_organization, 1)
    with_rows = await in_thread(_first_event, other_organization)

    answer = await api("query($id: ID!) { node(id: $id) { id } driftEvents { totalCount } }", id=with_rows)

    assert answer.data == {"node": None, "driftEvents": {"totalCount": 0}}


def _first_event(organization: Organization) -> str:
    with acting_for(organization.id):
        return encode_id("DE", DriftEvent.objects.get().id)


async def test_insertions_between_pages_lose_nothing(organization: Organization, api: Api) -> None:
    await in_thread(_events, organization, 6)
    first = (await api.data(WORK_LIST, first=3))["driftEvents"]

    def insert() -> None:
        with acting_for(organization.id):
            run = make.detection_run(organization, datetime.date(2026, 3, 8))
            make.drift_event(make.payer(organization, "late"), run, revenue_at_risk_30d_cents=10_000_000)

    await in_thread(insert)
    rest = (await api.data(WORK_LIST, first=100, after=first["pageInfo"]["endCursor"]))["driftEvents"]

    seen = [edge["node"]["payer"]["name"] for found in (first, rest) for edge in found["edges"]]
    assert sorted(seen) == [f"Payer{number:03d}" for number in range(6)]


@pytest.mark.parametrize("way", ["auto"], indirect=True)
async def test_a_value_that_does_not_fit_is_looked_for_in_the_same_snapshot(
    organization: Organization, api: Api
) -> None:
    await in_thread(_events, organization, 2)

    def break_values() -> None:
        with acting_for(organization.id):
            DriftEvent.objects.update(delta=math.nan)

    await in_thread(break_values)
    begun = 0
    original = Snapshot._first

    async def first(self: Snapshot, *args: Any, **options: Any) -> Any:
        nonlocal begun
        begun += 1
        return await original(self, *args, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Snapshot, "_first", first)
        answer = await api("{ viewer { role } payers { nodes { name } } driftEvents { nodes { delta } } }")

    made = [statement for statement in answer.statements if statement.startswith("SELECT concat")]
    assert (answer.data, answer.codes) == (None, ["INTERNAL"])
    assert answer.errors[0]["path"] == ["driftEvents", "nodes", 0, "delta"]
    assert (len(made), len(answer.statements), begun) == (2, 4, 1)


@pytest.mark.parametrize(
    ("filter_input", "rows"),
    [
        ({"or": []}, 0),
        ({"or": [{}]}, 3),
        ({"or": [{}, {"harmful": {"eq": False}}]}, 3),
        ({"or": [{"status": {}}, {"harmful": {"eq": False}}]}, 3),
        ({"or": [{"harmful": {"eq": False}}]}, 1),
        ({"or": [{"harmful": {"eq": False}}, {"harmful": {"eq": True}}]}, 3),
        ({"and": []}, 3),
        ({"and": [{}, {"harmful": {"eq": False}}]}, 1),
        ({"not": {}}, 0),
        ({"not": {"or": []}}, 3),
    ],
)
async def test_conditions_that_say_nothing_hold_for_every_row(
    organization: Organization, api: Api, filter_input: dict[str, Any], rows: int
) -> None:
    await in_thread(_events, organization, 3)

    found = await api.data(
        "query($f: DriftEventFilter) { driftEvents(filter: $f) { totalCount nodes { id } } }", f=filter_input
    )

    assert (found["driftEvents"]["totalCount"], len(found["driftEvents"]["nodes"])) == (rows, rows)
