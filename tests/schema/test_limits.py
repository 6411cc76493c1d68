"""What a request may hold: every limit is a setting that its error names, and no shape makes a document costly."""

import dataclasses
from typing import Any

import orjson
import pytest
from django.conf import settings
from graphql import get_introspection_query

from backend.accounts.models import Organization
from backend.config.env import Environment
from backend.core.errors import LimitExceeded
from backend.core.tenancy import acting_for
from backend.db.reads import Reads
from backend.db.writes import WriteThreads
from schema.cost.directives import prices
from schema.declarations import RootPage
from schema.execution.documents import prepare
from schema.limits import NulInText, look_through, operation_of, parsed, refuse_costly_json
from schema.types.payers import PAYERS
from tests import factories as make
from tests.api import Api
from tests.asgi import asking
from tests.threads import in_thread
from tests.unit.counted_work import counted

_BOMB = "{ ...f0 }" + "".join(f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }}" for n in range(30))
_AT_LIMIT: dict[str, Any] = {
    "max_query_characters": "{__typename}".ljust,
    "max_query_fields": lambda n: "{" + "...{__typename}" * 20 + "...f}" + f"fragment f on Query{{{'a ' * (n - 20)}}}",
    "max_query_depth": lambda n: "{a" * n + "}" * n,
    "max_query_aliases": lambda n: "{" + " ".join(f"a{i}: __typename" for i in range(n)) + "}",
    "max_query_alias_characters": lambda n: "{" + "a" * n + ": __typename}",
    "max_query_repeats": lambda n: "{" + "__typename " * n + "}",
    "max_query_directives": lambda n: "{__typename " + "@skip(if: false)" * n + "}",
    "max_query_fragments": lambda n: "{...f0}" + "".join(f"fragment f{i} on Query{{__typename}}" for i in range(n)),
    "max_query_operations": lambda n: " ".join(f"query q{i}{{__typename}}" for i in range(n)),
    "max_query_variables": lambda n: "query q0(" + " ".join(f"$v{i}: Int" for i in range(n)) + "){__typename}",
}


def _limit(monkeypatch: pytest.MonkeyPatch, **values: int) -> Environment:
    limits = dataclasses.replace(settings.ENVIRONMENT, **values)
    monkeypatch.setattr(settings, "ENVIRONMENT", limits)
    return limits


@pytest.mark.parametrize("name", _AT_LIMIT)
def test_a_document_may_reach_a_limit_and_not_pass_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    _limit(monkeypatch, **{"max_query_repeats": 1_000, name: 40})
    operation = "q0" if "q0" in _AT_LIMIT[name](40) else None

    operation_of(parsed(_AT_LIMIT[name](40)), operation)

    with pytest.raises(LimitExceeded) as refusal:
        operation_of(parsed(_AT_LIMIT[name](41)), operation)
    assert "is 41, more than 40" in refusal.value.message
    assert f"(DRIFTGRAPH_{name.upper()})" in refusal.value.message


def test_every_limit_of_documents_has_a_test() -> None:
    names = {field.name for field in dataclasses.fields(Environment) if field.name.startswith("max_query_")}

    assert names - {"max_query_tokens"} == set(_AT_LIMIT)


def test_a_bomb_of_fragments_is_measured_once_per_fragment() -> None:
    document = parsed(_BOMB + "fragment f30 on Query { __typename }")

    def measure() -> str:
        with pytest.raises(LimitExceeded) as refusal:
            operation_of(document, None)
        return refusal.value.message

    message, _ = counted(measure, at_most=5_000)

    assert message.startswith("The number of fields, a fragment's counted wherever it is spread, is more than")
    assert "DRIFTGRAPH_MAX_QUERY_FIELDS" in message


@pytest.mark.parametrize("size", [1, 2, 40])
def test_fragments_in_a_circle_are_measured_and_refused_by_validation(size: int) -> None:
    text = "{...f0}" + "".join(f"fragment f{n} on Query{{...f{(n + 1) % size}}}" for n in range(size))

    operation, _ = counted(lambda: operation_of(parsed(text), None), at_most=40_000)

    assert operation.selection_set.selections
    assert "within itself" in prepare(text, None).errors[0].message


def test_overlapping_fields_are_refused_before_they_are_compared() -> None:
    text = "{" + "payers{nodes{id}}" * 200 + "}"

    with pytest.raises(LimitExceeded, match="DRIFTGRAPH_MAX_QUERY_REPEATS"):
        prepare(text, None)


def test_validation_stops_at_ten_errors() -> None:
    prepared = prepare("{" + " ".join(f"payerz{n}" for n in range(300)) + "}", None)

    assert len(prepared.errors) == 11
    assert "Too many validation errors" in prepared.errors[-1].message


def test_as_many_findings_as_the_schema_promises_fit_into_a_request() -> None:
    texts = dict.fromkeys(("rule", "tool", "title", "message", "path"), "x")
    finding = {**texts, "severity": "LOW", "startLine": 1}

    def body(number: int) -> bytes:
        given = {"input": {"id": "x", "conclusion": "PASS", "findings": [finding] * number}}
        return orjson.dumps({"query": "mutation", "variables": given})

    refuse_costly_json(body(2_400))
    with pytest.raises(LimitExceeded, match="DRIFTGRAPH_MAX_JSON_VALUES"):
        refuse_costly_json(body(2_600))


def test_introspection_of_tools_is_within_the_limits() -> None:
    assert prepare(get_introspection_query(), None).errors == []


@pytest.mark.parametrize(
    "raw", [b"[0,0,0,0]", b'{"a":[[],[]]}', b'{"a":0,"b":0,"c":0,"d":0}', b'["a","b","c","d","e"]']
)
def test_json_with_too_many_values_is_refused(monkeypatch: pytest.MonkeyPatch, raw: bytes) -> None:
    _limit(monkeypatch, max_json_values=3)

    with pytest.raises(LimitExceeded, match="DRIFTGRAPH_MAX_JSON_VALUES"):
        refuse_costly_json(raw)


@pytest.mark.parametrize(
    "raw", [b"[0,0,0]", b'{"a":"[,,,,,[[[{{{"}', rb'{"a":"\\\"[,,,,,[[[{{{","b":"\\"}', b"[,,", b"{" * 3]
)
def test_what_looks_like_values_in_a_text_is_none(monkeypatch: pytest.MonkeyPatch, raw: bytes) -> None:
    _limit(monkeypatch, max_json_values=3)

    refuse_costly_json(raw)


def test_variables_may_be_nested_so_deep_and_no_deeper(monkeypatch: pytest.MonkeyPatch) -> None:
    _limit(monkeypatch, max_json_depth=3)

    look_through({"a": {"b": ["c"]}})

    with pytest.raises(LimitExceeded, match="DRIFTGRAPH_MAX_JSON_DEPTH"):
        look_through({"a": {"b": [["c"]]}})


@pytest.mark.parametrize("variables", [{"a": "\0"}, {"\0": 1}, {"a": [{"b": "x\0"}]}])
def test_nul_is_found_wherever_it_stands_among_variables(variables: dict[str, Any]) -> None:
    with pytest.raises(NulInText):
        look_through(variables)


@pytest.mark.parametrize(
    ("variables", "number"), [(None, 0), ({"a": 1}, 1), ({"a": [1, 2]}, 3), ({"a": [{"b": [], "c": {}}]}, 4)]
)
def test_values_of_variables_are_counted_in_lists_and_objects(variables: Any, number: int) -> None:
    assert look_through(variables) == number


async def test_a_query_may_have_fewer_values_in_its_variables_than_a_mutation(
    reads: Reads, writes: WriteThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    _limit(monkeypatch, max_variable_values=100)
    texts = {"query": "query($f: PayerFilter) { payers(filter: $f) { nodes { id } } }"}
    texts["mutation"] = "mutation($f: AgentRunFinishInput!) { agentRunFinish(input: $f) { __typename } }"
    said = {}

    async with asking(reads, writes) as client:
        for kind, text in texts.items():
            content = orjson.dumps({"query": text, "variables": {"f": {"or": [{}] * 99}}})
            answer = await client.post("/graphql", content=content, headers={"content-type": "application/json"})
            said[kind] = answer.json()["errors"][0]["message"]

    assert said["query"] == (
        "The number of values in the variables of a query is 101, more than 100 (DRIFTGRAPH_MAX_VARIABLE_VALUES)."
    )
    assert "DRIFTGRAPH" not in said["mutation"]


@pytest.mark.parametrize("text", ['"\\u0000"', '"\\u{0}"', '["x", {a: "\\u0000"}]'])
def test_nul_is_found_in_a_document(text: str) -> None:
    with pytest.raises(NulInText):
        parsed(f"{{ a(b: {text}) }}")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            b'{"query": "{__typename}", "variables": {"a": ' + b"[" * 500 + b"]" * 500 + b"}}",
            "DRIFTGRAPH_MAX_JSON_DEPTH",
        ),
        (b'{"query": "{__typename}", "variables": {"a": [' + b"[]," * 30_000 + b"[]]}}", "DRIFTGRAPH_MAX_JSON_VALUES"),
    ],
)
async def test_json_that_takes_long_is_a_clear_client_error(
    reads: Reads, writes: WriteThreads, content: bytes, says: str
) -> None:
    async with asking(reads, writes) as client:
        answer = await client.post("/graphql", content=content, headers={"content-type": "application/json"})

    error = answer.json()["errors"][0]
    assert (error["extensions"]["code"], says in error["message"]) == ("BAD_USER_INPUT", True)


async def test_a_page_that_says_nothing_of_its_size_is_no_larger_than_a_page_may_be(
    api: Api, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill() -> None:
        with acting_for(organization.id):
            for number in range(4):
                make.payer(organization, f"p{number}")

    await in_thread(fill)
    _limit(monkeypatch, max_page_size=3)

    data = await api.data("{ payers { nodes { code } pageInfo { hasNextPage } } }")
    refused = await api("{ payers(first: 4) { nodes { code } } }")

    assert data["payers"] == {"nodes": [{"code": f"p{n}"} for n in range(3)], "pageInfo": {"hasNextPage": True}}
    assert "DRIFTGRAPH_MAX_PAGE_SIZE" in refused.errors[0]["message"]
    [size] = prices(RootPage(PAYERS, None))
    assert size.assumed_size == 3
