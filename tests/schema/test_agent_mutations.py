"""Agent runs through the API: start, heartbeat, finish, cancel, SARIF import and triage."""

import uuid
from pathlib import Path
from typing import Any

import orjson
import pytest

from backend.accounts.models import Organization
from backend.core.actor import Actor, Role
from schema.http.upload import UploadedFile
from schema.relay.ids import encode_id
from tests.api import Api

START = """mutation($input: AgentRunStartInput!) { agentRunStart(input: $input) {
  agentRun { id status agent { kind name lastRun { id } } } userErrors { code message path } } }"""
FINISH = """mutation($input: AgentRunFinishInput!) { agentRunFinish(input: $input) {
  agentRun { id status conclusion high metrics { name value passed } tools { name exitCode skipped }
    findings { totalCount nodes { rule severity path fingerprint helpUri } } } userErrors { code message path } } }"""
TRIAGE = """mutation($input: FindingTriageInput!) { findingTriage(input: $input) {
  findingState { status justification latestFinding { title } } userErrors { code path } } }"""
SARIF = """mutation($input: AgentRunImportSarifInput!) { agentRunImportSarif(input: $input) {
  agentRuns { id conclusion tools { name } findings { nodes { rule severity path startLine } } }
  userErrors { code message path } } }"""


async def _start(api: Api, **values: Any) -> dict[str, Any]:
    data = await api.data(START, input={"kind": "CODE_QUALITY", "agent": "ruff", **values})
    found: dict[str, Any] = data["agentRunStart"]
    return found


async def test_a_run_is_started_once_per_key(api: Api) -> None:
    first = await _start(api, commit="abcdef0", idempotencyKey="k1")
    again = await _start(api, commit="abcdef0", idempotencyKey="k1")
    other = await api.data(
        START, input={"kind": "CODE_QUALITY", "agent": "ruff", "commit": "abcdef1", "idempotencyKey": "k1"}
    )

    assert first["userErrors"] == []
    assert first["agentRun"]["agent"] == {
        "kind": "CODE_QUALITY",
        "name": "ruff",
        "lastRun": {"id": first["agentRun"]["id"]},
    }
    assert again == first
    assert other["agentRunStart"]["userErrors"][0]["code"] == "IDEMPOTENCY_CONFLICT"
    total = await api.data("{ agentRuns { totalCount } }")
    assert total == {"agentRuns": {"totalCount": 1}}


TWO = """mutation($a: AgentRunStartInput!, $b: AgentRunStartInput!, $onlyB: Boolean = false) {
  __typename
  a: agentRunStart(input: $a) @skip(if: $onlyB) { agentRun { id commit } userErrors { code path } }
  ...on Mutation { b: agentRunStart(input: $b) { agentRun { id commit } userErrors { code path } } } }"""
INPUTS = {name: {"kind": "CODE_QUALITY", "agent": "ruff", "commit": f"{name}bcdef0"} for name in "ab"}


async def test_each_mutation_of_a_document_has_its_own_key_by_that_of_the_request(api: Api) -> None:
    first = await api(TWO, key="k1", **INPUTS)
    again = await api(TWO, key="k1", **INPUTS)
    other = await api(TWO, key="k1", **INPUTS, onlyB=True)

    assert [first.data[name]["agentRun"]["commit"] for name in "ab"] == ["abcdef0", "bbcdef0"]
    assert [first.data[name]["userErrors"] for name in "ab"] == [[], []]
    assert again.data == first.data
    # As the only one b has the key that a had: what was another request's is not done once more.
    assert other.data["b"]["userErrors"] == [{"code": "IDEMPOTENCY_CONFLICT", "path": ["idempotencyKey"]}]
    assert await api.data("{ agentRuns { totalCount } }") == {"agentRuns": {"totalCount": 2}}


async def test_a_document_is_taken_up_where_it_broke_off(api: Api) -> None:
    """The key of a document's first mutation is that of the request, which a single one has as well."""
    alone = await api(START, key="k1", input=INPUTS["a"])
    both = await api(TWO, key="k1", **INPUTS)

    assert both.data["a"]["agentRun"]["id"] == alone.data["agentRunStart"]["agentRun"]["id"]
    assert both.data["b"]["userErrors"] == []
    assert await api.data("{ agentRuns { totalCount } }") == {"agentRuns": {"totalCount": 2}}


async def test_a_key_of_an_input_is_its_own_and_a_bad_one_of_the_request_is_every_mutations(api: Api) -> None:
    own = {**INPUTS["b"], "idempotencyKey": "k2"}
    first = await api(TWO, key="k1", a=INPUTS["a"], b=own)
    again = await api(TWO, key="k3", a=INPUTS["a"], b=own)
    bad = await api(TWO, key="k" * 201, **INPUTS)

    assert again.data["b"] == first.data["b"]
    assert again.data["a"]["agentRun"]["id"] != first.data["a"]["agentRun"]["id"]
    refused = [{"code": "BAD_USER_INPUT", "path": ["idempotencyKey"]}]
    assert [bad.data[name]["userErrors"] for name in "ab"] == [refused, refused]


async def test_a_commit_may_be_written_in_capitals(api: Api) -> None:
    run = (await _start(api, commit="ABCDEF1"))["agentRun"]

    for condition in ('{eq: "ABCDEF1"}', '{in: ["ABCDEF1"]}'):
        found = await api.data(f"{{ agentRuns(filter: {{commit: {condition}}}) {{ nodes {{ id commit }} }} }}")
        assert found == {"agentRuns": {"nodes": [{"id": run["id"], "commit": "abcdef1"}]}}


async def test_a_finished_run_shows_what_it_found(api: Api) -> None:
    run = (await _start(api))["agentRun"]

    data = await api.data(
        FINISH,
        input={
            "id": run["id"],
            "conclusion": "FAIL",
            "findings": [
                {"rule": "S608", "tool": "ruff", "severity": "HIGH", "title": "SQL", "path": "app/a.py"}
                | {"helpUri": "https://example.org/S608", "startLine": 3, "startColumn": 7, "cwe": [89]}
            ],
            "metrics": [{"name": "coverage.line", "value": 0.93, "threshold": 0.95, "passed": False}],
            "tools": [{"name": "ruff", "version": "1", "exitCode": 1}],
        },
    )

    found = data["agentRunFinish"]["agentRun"]
    assert (found["status"], found["conclusion"], found["high"]) == ("SUCCEEDED", "FAIL", 1)
    assert found["metrics"] == [{"name": "coverage.line", "value": 0.93, "passed": False}]
    assert found["tools"] == [{"name": "ruff", "exitCode": 1, "skipped": False}]
    assert found["findings"]["totalCount"] == 1
    assert found["findings"]["nodes"][0]["rule"] == "S608"
    assert found["findings"]["nodes"][0]["helpUri"] == "https://example.org/S608"


FINDING = {"rule": "S608", "tool": "ruff", "severity": "HIGH", "title": "SQL"}
BAD_FINISH = [
    ({"findings": [FINDING, FINDING | {"message": "m" * 4_001}]}, ["findings", "1", "message"], "4000"),
    ({"findings": [FINDING | {"rule": ""}]}, ["findings", "0", "rule"], "1 to 200 characters"),
    ({"findings": [FINDING | {"startLine": 0}]}, ["findings", "0", "startLine"], "from 1 to"),
    ({"findings": [FINDING | {"startLine": 3, "endLine": 2}]}, ["findings", "0", "endLine"], "before its first"),
    ({"findings": [FINDING | {"cwe": [89, -1]}]}, ["findings", "0", "cwe", "1"], "99999"),
    ({"findings": [FINDING, FINDING | {"fingerprint": "00 " * 21 + "0"}]}, ["findings", "1", "fingerprint"], "64"),
    ({"findings": [FINDING | {"helpUri": "javascript:alert(1)"}]}, ["findings", "0", "helpUri"], "https://"),
    ({"findings": [FINDING | {"path": "../a.py"}]}, ["findings", "0", "path"], "relative"),
    ({"metrics": [{"name": "a", "value": 1}, {"name": "a", "value": 2}]}, ["metrics", "1", "name"], "unique"),
    ({"tools": [{"name": "t", "version": "v" * 201}]}, ["tools", "0", "version"], "200"),
    ({"tools": [{"name": "t"}] * 51}, ["tools"], "more than 50"),
    ({"id": "AAAA"}, ["id"], "not one that this API gave out"),
]


@pytest.mark.parametrize(("changes", "path", "message"), BAD_FINISH, ids=[" ".join(path) for _, path, _ in BAD_FINISH])
async def test_what_is_wrong_with_a_finish_is_named_by_its_place_and_the_run_goes_on(
    api: Api, changes: dict[str, Any], path: list[str], message: str
) -> None:
    run = (await _start(api))["agentRun"]

    refused = (await api.data(FINISH, input={"id": run["id"], "conclusion": "FAIL", **changes}))["agentRunFinish"]

    [error] = refused["userErrors"]
    assert (refused["agentRun"], error["code"], error["path"]) == (None, "BAD_USER_INPUT", path)
    assert message in error["message"]
    kept = await api.data("{ agentRuns { nodes { status findings { totalCount } metrics { name } } } }")
    assert kept["agentRuns"]["nodes"] == [{"status": "RUNNING", "findings": {"totalCount": 0}, "metrics": []}]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"agent": ""}, ["agent"]),
        ({"version": "v" * 201}, ["version"]),
        ({"commit": "HEAD"}, ["commit"]),
        ({"branch": "b" * 256}, ["branch"]),
        ({"externalTraceUrl": "ftp://example.org"}, ["externalTraceUrl"]),
        ({"idempotencyKey": "k" * 201}, ["idempotencyKey"]),
    ],
)
async def test_what_is_wrong_with_a_start_is_named_by_its_place(
    api: Api, changes: dict[str, str], path: list[str]
) -> None:
    refused = await _start(api, **changes)

    assert [(error["code"], error["path"]) for error in refused["userErrors"]] == [("BAD_USER_INPUT", path)]
    assert (await api.data("{ agents { totalCount } }"))["agents"]["totalCount"] == 0


RUN, AGENT, BATCH = (encode_id(tag, uuid.UUID(int=0)) for tag in ("RU", "AG", "IB"))  # that nobody has
TRIAGE_OF_NOBODY = {"agentId": AGENT, "fingerprint": "00" * 32, "status": "OPEN"}


@pytest.mark.parametrize(
    ("mutation", "values", "code", "path"),
    [
        ("agentRunHeartbeat", {"id": "AAAA"}, "BAD_USER_INPUT", ["id"]),
        ("agentRunHeartbeat", {"id": RUN}, "NOT_FOUND", ["id"]),
        ("agentRunCancel", {"id": AGENT}, "BAD_USER_INPUT", ["id"]),
        ("findingTriage", TRIAGE_OF_NOBODY | {"agentId": RUN}, "BAD_USER_INPUT", ["agentId"]),
        ("findingTriage", TRIAGE_OF_NOBODY, "NOT_FOUND", ["fingerprint"]),
        ("findingTriage", TRIAGE_OF_NOBODY | {"justification": "j" * 2_001}, "BAD_USER_INPUT", ["justification"]),
        ("importRollback", {"id": RUN}, "BAD_USER_INPUT", ["id"]),
        ("importRollback", {"id": BATCH}, "NOT_FOUND", ["id"]),
        ("payerMap", {"rawName": " ", "payerCode": "a"}, "BAD_USER_INPUT", ["rawName"]),
        ("payerMap", {"rawName": "a", "payerCode": "c" * 201}, "BAD_USER_INPUT", ["payerCode"]),
    ],
)
async def test_what_is_wrong_with_a_reference_is_named_by_its_place(
    api: Api, mutation: str, values: dict[str, str], code: str, path: list[str]
) -> None:
    kind = {"agentRunHeartbeat": "AgentRunReference", "agentRunCancel": "AgentRunReference"}.get(
        mutation, mutation[0].upper() + mutation[1:]
    )

    data = await api.data(
        f"mutation($i: {kind}Input!) {{ {mutation}(input: $i) {{ userErrors {{ code path }} }} }}", i=values
    )

    assert data[mutation]["userErrors"] == [{"code": code, "path": path}]


async def test_an_ended_run_cannot_be_finished_or_cancelled(api: Api) -> None:
    run = (await _start(api))["agentRun"]
    await api.data(FINISH, input={"id": run["id"], "conclusion": "PASS"})

    again = await api.data(FINISH, input={"id": run["id"], "conclusion": "PASS"})
    cancel = await api.data(
        "mutation($i: AgentRunReferenceInput!) { agentRunCancel(input: $i) { agentRun { id } userErrors { code } } }",
        i={"id": run["id"]},
    )

    assert again["agentRunFinish"]["userErrors"][0]["code"] == "CONFLICT"
    assert cancel["agentRunCancel"] == {"agentRun": None, "userErrors": [{"code": "CONFLICT"}]}


async def test_a_heartbeat_moves_forward(api: Api) -> None:
    run = (await _start(api))["agentRun"]

    data = await api.data(
        "mutation($i: AgentRunReferenceInput!) { agentRunHeartbeat(input: $i) { agentRun { startedAt heartbeatAt } } }",
        i={"id": run["id"]},
    )

    beat = data["agentRunHeartbeat"]["agentRun"]
    assert beat["heartbeatAt"] > beat["startedAt"]


async def test_triage_outlives_the_run(api: Api) -> None:
    finding = {"rule": "S608", "tool": "ruff", "severity": "HIGH", "title": "SQL", "path": "app/api/a.py"}
    run = (await _start(api))["agentRun"]
    await api.data(FINISH, input={"id": run["id"], "conclusion": "FAIL", "findings": [finding]})
    states = """query { findings(filter: {pathPrefix: "app/api", rule: {eq: "S608"}}, orderBy: SEVERITY_FIRST_SEEN) {
      nodes { status fingerprint agent { id } firstSeenRun { id } lastSeenRun { id } } } }"""
    state = (await api.data(states))["findings"]["nodes"][0]

    refused = await api.data(
        TRIAGE,
        input={"agentId": state["agent"]["id"], "fingerprint": state["fingerprint"], "status": "SUPPRESSED"},
    )
    decided = await api.data(
        TRIAGE,
        input={
            "agentId": state["agent"]["id"],
            "fingerprint": state["fingerprint"],
            "status": "SUPPRESSED",
            "justification": "Constant table name.",
        },
    )
    second = (await _start(api))["agentRun"]
    await api.data(FINISH, input={"id": second["id"], "conclusion": "FAIL", "findings": [finding]})
    after = (await api.data(states))["findings"]["nodes"][0]

    assert refused["findingTriage"]["userErrors"] == [{"code": "BAD_USER_INPUT", "path": ["justification"]}]
    assert decided["findingTriage"]["findingState"]["status"] == "SUPPRESSED"
    assert (after["status"], after["firstSeenRun"]["id"], after["lastSeenRun"]["id"]) == (
        "SUPPRESSED",
        run["id"],
        second["id"],
    )


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"fingerprint": "zz", "status": "OPEN"}, ["fingerprint"]),
        ({"fingerprint": "00" * 31, "status": "OPEN"}, ["fingerprint"]),
    ],
)
async def test_a_malformed_fingerprint_is_refused(api: Api, values: dict[str, str], path: list[str]) -> None:
    agent = (await _start(api))["agentRun"]
    found = await api.data("query($id: ID!) { agentRun(id: $id) { agent { id } } }", id=agent["id"])

    data = await api.data(TRIAGE, input={"agentId": found["agentRun"]["agent"]["id"], **values})

    assert data["findingTriage"]["userErrors"] == [{"code": "BAD_USER_INPUT", "path": path}]


def _sarif(tmp_path: Path, version: str = "2.1.0") -> UploadedFile:
    result = {
        "ruleId": "E722",
        "level": "error",
        "message": {"text": "Bare except"},
        "locations": [
            {"physicalLocation": {"artifactLocation": {"uri": "app/b.py"}, "region": {"startLine": 7}}},
        ],
    }
    document = {"version": version, "runs": [{"tool": {"driver": {"name": "ruff"}}, "results": [result]}]}
    path = tmp_path / "report.sarif"
    path.write_bytes(orjson.dumps(document))
    return UploadedFile(name="report.sarif", path=path)


async def test_a_sarif_document_becomes_the_same_runs_twice(api: Api, tmp_path: Path) -> None:
    upload = {"file": _sarif(tmp_path), "kind": "CODE_QUALITY", "agent": "ruff"}

    first = await api.data(SARIF, input=upload)
    again = await api.data(SARIF, input=upload)

    run = first["agentRunImportSarif"]["agentRuns"][0]
    assert run["tools"] == [{"name": "ruff"}]
    assert run["findings"]["nodes"] == [{"rule": "E722", "severity": "HIGH", "path": "app/b.py", "startLine": 7}]
    assert again == first


async def test_a_sarif_document_of_another_version_is_refused(api: Api, tmp_path: Path) -> None:
    data = await api.data(SARIF, input={"file": _sarif(tmp_path, "2.0.0"), "kind": "CODE_QUALITY", "agent": "ruff"})

    [error] = data["agentRunImportSarif"]["userErrors"]
    assert (error["code"], error["path"]) == ("BAD_USER_INPUT", ["file", "version"])
    assert "2.1.0" in error["message"]
    assert (await api.data("{ agentRuns { totalCount } }"))["agentRuns"]["totalCount"] == 0


async def test_a_file_that_is_no_file_is_refused(api: Api) -> None:
    data = await api.data(SARIF, input={"file": "text", "kind": "CODE_QUALITY", "agent": "ruff"})

    assert data["agentRunImportSarif"]["userErrors"][0]["path"] == ["file"]


async def test_a_viewer_may_not_start_a_run(api: Api, organization: Organization) -> None:
    viewer = api.as_(Actor(organization_id=organization.id, role=Role.VIEWER))

    answer = await viewer(START, input={"kind": "CODE_QUALITY", "agent": "ruff"})

    assert answer.codes == ["FORBIDDEN"]


async def test_nobody_is_asked_to_sign_in(api: Api) -> None:
    answer = await api.as_(None)(START, input={"kind": "CODE_QUALITY", "agent": "ruff"})

    assert answer.codes == ["UNAUTHENTICATED"]
