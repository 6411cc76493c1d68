"""The endpoint over HTTP: media types, status codes, credentials, uploads, GraphiQL and health."""

import datetime
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from django.utils import timezone
from graphql import get_introspection_query

from backend.accounts.models import ApiToken, Organization
from backend.accounts.services import secret_hash
from backend.core.tenancy import acting_for
from backend.db.reads import Reads
from backend.db.writes import WriteThreads
from schema.http.requests import upload_folder
from tests.asgi import asking
from tests.threads import in_thread

VIEWER = {"query": "{ viewer { role } }"}
GRAPHQL = "application/graphql-response+json"


@pytest.fixture
async def http(reads: Reads, writes: WriteThreads, way: str) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(reads, writes) as client:
        yield client


def _token(organization: Organization, name: str, **values: Any) -> dict[str, str]:
    secret = "dg_" + name.ljust(43, "x")
    with acting_for(organization.id):
        ApiToken.objects.create(
            organization=organization,
            name=name,
            hash=secret_hash(secret),
            **{
                "role": "ADMIN",
                "scopes": ["read", "agents:write"],
                "expires_at": timezone.now() + datetime.timedelta(days=1),
            }
            | values,
        )
    return {"authorization": f"Bearer {secret}"}


@pytest.fixture
async def token(organization: Organization) -> dict[str, str]:
    return await in_thread(_token, organization, organization.id.hex)


async def test_a_token_answers_for_its_organization(http: httpx.AsyncClient, token: dict[str, str]) -> None:
    answer = await http.post("/graphql", json=VIEWER, headers=token)

    assert (answer.status_code, answer.json()["data"]) == (200, {"viewer": {"role": "ADMIN"}})
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["vary"] == "Accept"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"expires_at": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)}, "expired"),
        ({"revoked_at": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)}, "revoked"),
    ],
)
async def test_an_ended_token_is_refused(
    http: httpx.AsyncClient, organization: Organization, values: dict[str, Any], message: str
) -> None:
    headers = await in_thread(lambda: _token(organization, organization.id.hex, **values))

    answer = await http.post("/graphql", json=VIEWER, headers=headers)

    assert answer.status_code == 401
    assert answer.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert message in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("secret", ["", "nonsense", "dg_" + "a" * 43, "dg_short"])
async def test_an_unknown_token_is_refused_without_repeating_it(http: httpx.AsyncClient, secret: str) -> None:
    answer = await http.post("/graphql", json=VIEWER, headers={"authorization": f"Bearer {secret}"})

    assert answer.status_code == 401
    assert not secret or secret not in answer.text


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"3", "application/json", 400),
        (b'"x"', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 5000, "application/json", 400),
        (b'{"query": 3}', "application/json", 400),
        (b'{"query": ""}', "application/json", 400),
        (b'{"query": "{viewer{role}}", "variables": []}', "application/json", 400),
        (b'{"query": "{viewer{role}}", "operationName": 1}', "application/json", 400),
        (b'{"query": "{viewer{role}}", "extensions": 1}', "application/json", 400),
        (b"query", "text/plain", 415),
        (b"x" * 1_000_001, "application/json", 413),
    ],
)
async def test_a_malformed_request_is_a_clear_client_error(
    http: httpx.AsyncClient, content: bytes, content_type: str, status: int
) -> None:
    answer = await http.post("/graphql", content=content, headers={"content-type": content_type})

    assert answer.status_code == status
    assert answer.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    ("method", "status", "allow"), [("PUT", 405, "GET, HEAD, POST"), ("DELETE", 405, "GET, HEAD, POST")]
)
async def test_other_methods_are_refused(http: httpx.AsyncClient, method: str, status: int, allow: str) -> None:
    answer = await http.request(method, "/graphql")

    assert (answer.status_code, answer.headers["allow"]) == (status, allow)


async def test_get_executes_queries_but_no_mutations(http: httpx.AsyncClient, token: dict[str, str]) -> None:
    query = await http.get(
        "/graphql",
        params={"query": "query A($x: Boolean!) { viewer { role @include(if: $x) } }", "variables": '{"x": true}'},
        headers=token,
    )
    mutation = await http.get(
        "/graphql", params={"query": "mutation { payerMap { userErrors { code } } }"}, headers=token
    )

    assert query.json()["data"] == {"viewer": {"role": "ADMIN"}}
    assert (mutation.status_code, mutation.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("query_string", ['query={a(b:"%FF")}', 'query={x}&variables={"a":"%C3%28"}'])
async def test_parameters_that_are_not_utf_8_are_refused_and_not_changed(
    http: httpx.AsyncClient, token: dict[str, str], query_string: str
) -> None:
    answer = await http.get(f"/graphql?{query_string}", headers=token)

    [error] = answer.json()["errors"]
    assert (answer.status_code, error["extensions"]["code"]) == (400, "BAD_USER_INPUT")
    assert "UTF-8" in error["message"]


@pytest.mark.parametrize(
    ("parameters", "accept"),
    [
        ({}, "text/html"),
        ({"query": "{ viewer { role } }"}, "*/*"),
        ({"query": "{ nothing }"}, GRAPHQL),
        ({"query": 'subscription { agentRunProgress(id: "x") { phase } }'}, "text/event-stream"),
        ({}, "text/csv"),
    ],
)
async def test_head_is_get_without_the_body(
    http: httpx.AsyncClient, token: dict[str, str], parameters: dict[str, str], accept: str
) -> None:
    headers = {**token, "accept": accept}

    whole = await http.get("/graphql", params=parameters, headers=headers)
    head = await http.head("/graphql", params=parameters, headers=headers)

    own = {"x-request-id", "content-security-policy"}
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert {(name, value) for name, value in head.headers.items() if name not in own} == {
        (name, value) for name, value in whole.headers.items() if name not in own
    }


async def test_the_newer_media_type_tells_request_errors_by_status(http: httpx.AsyncClient) -> None:
    broken = await http.post("/graphql", json={"query": "{ nothing }"}, headers={"accept": GRAPHQL})
    old = await http.post("/graphql", json={"query": "{ nothing }"}, headers={"accept": "application/json"})
    neither = await http.post("/graphql", json=VIEWER, headers={"accept": "text/csv"})

    assert (broken.status_code, "data" in broken.json()) == (400, False)
    assert broken.headers["content-type"].startswith(GRAPHQL)
    assert broken.json()["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
    assert old.status_code == 200
    assert neither.status_code == 406


async def test_a_syntax_error_has_its_code_and_place(http: httpx.AsyncClient) -> None:
    error = (await http.post("/graphql", json={"query": "{ viewer { role "})).json()["errors"][0]

    assert error["extensions"]["code"] == "GRAPHQL_PARSE_FAILED"
    assert error["locations"]


def _form(file: bytes) -> dict[str, Any]:
    operations = {
        "query": "mutation($input: AgentRunImportSarifInput!) { agentRunImportSarif(input: $input)"
        " { agentRuns { conclusion } userErrors { code message } } }",
        "variables": {"input": {"file": None, "kind": "EXTERNAL", "agent": "scanner"}},
    }
    return {
        "data": {"operations": orjson.dumps(operations).decode(), "map": '{"0": ["variables.input.file"]}'},
        "files": {"0": ("report.sarif", file, "application/json")},
    }


async def test_a_file_is_uploaded_and_removed(http: httpx.AsyncClient, token: dict[str, str]) -> None:
    document = orjson.dumps({"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "t"}}, "results": []}]})

    answer = await http.post("/graphql", headers=token, **_form(document))

    assert answer.json()["data"] == {"agentRunImportSarif": {"agentRuns": [{"conclusion": "PASS"}], "userErrors": []}}
    assert list(upload_folder().iterdir()) == []


async def test_a_file_without_credentials_is_refused_before_it_is_read(http: httpx.AsyncClient) -> None:
    answer = await http.post("/graphql", **_form(b"{}"))

    assert answer.status_code == 401


@pytest.mark.parametrize(
    "data",
    [
        {"operations": "{", "map": "{}"},
        {"operations": "{}", "map": "[]"},
        {"operations": '{"query": "{viewer{role}}"}', "map": '{"0": ["variables.file"]}'},
        {"operations": '{"query": "{viewer{role}}"}', "map": '{"1": ["variables"]}'},
        {"map": "{}"},
    ],
)
async def test_a_damaged_form_is_refused(http: httpx.AsyncClient, token: dict[str, str], data: dict[str, str]) -> None:
    answer = await http.post("/graphql", data=data, files={"0": ("a", b"x")}, headers=token)

    assert answer.status_code == 400
    assert list(upload_folder().iterdir()) == []


async def test_a_browser_gets_graphiql_with_a_strict_policy(http: httpx.AsyncClient) -> None:
    page = await http.get("/graphql", headers={"accept": "text/html,*/*"})

    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "unsafe-eval" not in page.headers["content-security-policy"]
    asset = page.text.partition('src="')[2].partition('"')[0]
    script = await http.get(asset)
    assert "immutable" in script.headers["cache-control"]
    assert (await http.get("/graphql/static/../app.py")).status_code == 404
    assert (await http.get("/graphql/static/nothing.js")).status_code == 404


async def test_another_site_cannot_use_a_session(http: httpx.AsyncClient) -> None:
    cookie = {"cookie": "sessionid=abc"}

    foreign = await http.post("/graphql", json=VIEWER, headers={**cookie, "origin": "https://evil.example"})
    told = [
        await http.post("/graphql", json=VIEWER, headers={**cookie, "sec-fetch-site": site})
        for site in ("cross-site", "same-site", "same-origin", "none")
    ]
    form = await http.post("/graphql", headers=cookie, **_form(b"{}"))
    unknown = await http.post("/graphql", json=VIEWER, headers=cookie)

    assert (foreign.status_code, form.status_code) == (403, 403)
    assert [answer.status_code for answer in told] == [403, 403, 200, 200]
    assert unknown.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"query": "{ __typename }", "operationName": "Nope"}, "BAD_USER_INPUT"),
        ({"query": "fragment X on Query { __typename }"}, "BAD_USER_INPUT"),
        ({"query": "query A { a: __typename } query B { b: __typename }"}, "BAD_USER_INPUT"),
        ({"query": "{ " + " ".join(f"a{n}: __typename" for n in range(51)) + " }"}, "BAD_USER_INPUT"),
        ({"query": "{ " + "__typename " * 2001 + "}"}, "GRAPHQL_PARSE_FAILED"),
        (
            {"query": "{ driftEvents { nodes { " + "parent { children { nodes { " * 4 + "id" + " } } }" * 4 + " } } }"},
            "BAD_USER_INPUT",
        ),
        ({"query": '{ payers(filter: {code: {eq: "a\\u0000b"}}) { totalCount } }'}, "BAD_USER_INPUT"),
        (
            {
                "query": "query($c: String!) { payers(filter: {code: {eq: $c}}) { totalCount } }",
                "variables": {"c": "\0"},
            },
            "BAD_USER_INPUT",
        ),
        ({"query": "{ payers(filter: {code: {isNull: null}}) { totalCount } }"}, "BAD_USER_INPUT"),
        (
            {"query": '{ driftEvents(filter: {firstSeen: {gte: "2026-02-30"}}) { totalCount } }'},
            "GRAPHQL_VALIDATION_FAILED",
        ),
        (
            {
                "query": "query($d: Date!) { driftEvents(filter: {firstSeen: {gte: $d}}) { totalCount } }",
                "variables": {"d": "secret"},
            },
            "BAD_USER_INPUT",
        ),
        (
            {"query": '{ driftEvents(filter: {revenueAtRisk30d: {gte: "1e1000000"}}) { totalCount } }'},
            "GRAPHQL_VALIDATION_FAILED",
        ),
    ],
)
async def test_a_hostile_document_is_refused_by_code(
    http: httpx.AsyncClient, token: dict[str, str], request_: dict[str, Any], code: str
) -> None:
    answer = await http.post("/graphql", json=request_, headers=token)

    errors = answer.json()["errors"]
    assert [error["extensions"]["code"] for error in errors] == [code]
    assert "secret" not in answer.text


_MANY = "1" * 5000  # digits: more than Python makes a number of
_AT_RISK = "{ driftEvents(filter: {revenueAtRisk30d: {gte: NUMBER}}) { totalCount } }"
_LITERALS = [
    "{ driftEvents(first: NUMBER) { totalCount } }",
    "query($n: Int = NUMBER) { driftEvents(first: $n) { totalCount } }",
    "{ driftEvents { totalCount @skip(if: NUMBER) } }",
    "{ node(id: NUMBER) { id } }",
    "{ driftEvents(filter: {firstSeen: {gte: NUMBER}}) { totalCount } }",
    "{ ...Page } fragment Page on Query { payers(first: NUMBER) { totalCount } }",
    'mutation { agentRunFinish(input: {id: "x", metrics: [{name: "m", value: NUMBER}]}) { userErrors { code } } }',
    _AT_RISK,
]
_VARIABLES = [
    "query($n: Int) { driftEvents(first: $n) { totalCount } }",
    "query($n: Decimal) { driftEvents(filter: {revenueAtRisk30d: {gte: $n}}) { totalCount } }",
    "query($n: Date) { driftEvents(filter: {firstSeen: {gte: $n}}) { totalCount } }",
]


@pytest.mark.parametrize("number", [_MANY, f"-{_MANY}", "1e400"], ids=["positive", "negative", "exponent"])
@pytest.mark.parametrize(
    "request_",
    [*(f'{{"query": {orjson.dumps(text).decode()}}}' for text in _LITERALS)]
    + [f'{{"query": "{text}", "variables": {{"n": NUMBER}}}}' for text in _VARIABLES],
    ids=range(len(_LITERALS) + len(_VARIABLES)),
)
async def test_a_number_that_is_too_large_is_refused_and_is_no_bug(
    http: httpx.AsyncClient, token: dict[str, str], request_: str, number: str, caplog: pytest.LogCaptureFixture
) -> None:
    media = {"content-type": "application/json", "accept": GRAPHQL}

    answer = await http.post("/graphql", content=request_.replace("NUMBER", number), headers={**token, **media})

    assert answer.status_code == 400
    assert [error["extensions"]["code"] for error in answer.json()["errors"]] == ["BAD_USER_INPUT"]
    assert "larger than 64 bits" in answer.json()["errors"][0]["message"]
    assert _MANY not in answer.text
    assert [record for record in caplog.records if record.name.startswith("driftgraph")] == []


@pytest.mark.parametrize(
    ("query", "number"), [(_LITERALS[0], "2147483648"), (_AT_RISK, "9" * 308)], ids=["Int", "Decimal"]
)
async def test_a_number_that_its_type_does_not_hold_is_refused_by_validation(
    http: httpx.AsyncClient, token: dict[str, str], query: str, number: str
) -> None:
    answer = await http.post("/graphql", json={"query": query.replace("NUMBER", number)}, headers=token)

    assert [error["extensions"]["code"] for error in answer.json()["errors"]] == ["GRAPHQL_VALIDATION_FAILED"]


async def test_a_long_mutation_by_get_is_refused_as_well(http: httpx.AsyncClient, token: dict[str, str]) -> None:
    many = " ".join(f"a{n}: claimsMoved" for n in range(900))
    query = f'mutation {{ payerMap(input: {{rawName: "g", payerCode: "g"}}) {{ {many} }} }}'

    answer = await http.get("/graphql", params={"query": query}, headers=token)

    assert "data" not in answer.json() or answer.json()["data"] is None
    after = await http.post("/graphql", json={"query": "{ payers { totalCount } }"}, headers=token)
    assert after.json()["data"] == {"payers": {"totalCount": 0}}


async def test_introspection_of_tools_is_within_the_limits(http: httpx.AsyncClient) -> None:
    answer = await http.post("/graphql", json={"query": get_introspection_query()})

    assert "errors" not in answer.json()


async def test_a_bug_of_the_endpoint_is_masked(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("schema.http.preparation.known", explode)
    answer = await http.post("/graphql", json=VIEWER)

    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (500, "INTERNAL")
    assert answer.headers["x-request-id"]
