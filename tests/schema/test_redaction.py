"""Recognisable patient data planted in every input, and looked for in every log line, error and audit entry."""

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from django.conf import settings
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    get_named_type,
    is_input_type,
    parse_value,
)
from graphql.utilities import validate_input_literal, validate_input_value

from backend.accounts.models import Organization
from backend.core.actor import Role
from schema.build import core_schema
from schema.reasons import reason
from tests import server
from tests.api import Api
from tests.attempts import Member, member, token
from tests.serving import serving

SURNAME, NUMBER, LETTERS = "Quillfeather", "219-09-9999", "MRN77120094"
MARKS = (SURNAME, SURNAME.lower(), NUMBER, NUMBER.replace("-", "_"), NUMBER.replace("-", ""), LETTERS)
# An answer tells its sender which name of the document is unknown; values it never repeats.
VALUES = ("Jane", NUMBER, LETTERS)
PLANTED = f"patient Jane {SURNAME} {NUMBER} {LETTERS}"
OPERATION_NAMES = (
    f"Patient_Jane_{SURNAME}_SSN_{NUMBER.replace('-', '_')}",
    f"ClaimsOfJane{SURNAME}",
    f"ssn{NUMBER.replace('-', '')}",
    f"x{NUMBER.replace('-', '')}Again",
    f"Get_{LETTERS}",
)
CSV = f"claim_id,payer,procedure_code,submitted_date,decided_date,outcome,{SURNAME}\n{PLANTED},{PLANTED},{PLANTED},{PLANTED},{PLANTED},{PLANTED},{PLANTED}\n"  # noqa: E501 - one row


def _value(kind: Any, depth: int = 2) -> Any:
    """A value of an input type with the planted text wherever it takes one; it need not be a good one."""
    if isinstance(kind, GraphQLNonNull):
        return _value(kind.of_type, depth)
    if isinstance(kind, GraphQLList):
        return [_value(kind.of_type, depth)]
    if isinstance(kind, GraphQLInputObjectType):
        inside = {name: one for name, one in kind.fields.items() if depth or get_named_type(one.type) is not kind}
        return {name: _value(one.type, depth - 1) for name, one in inside.items() if depth > 0 or _is_leaf(one.type)}
    if isinstance(kind, GraphQLEnumType):
        return next(iter(kind.values))
    plain = {"Int": 1, "Float": 1.5, "Boolean": True, "Upload": None}
    return plain.get(kind.name, PLANTED)


def _is_leaf(kind: Any) -> bool:
    return not isinstance(get_named_type(kind), GraphQLInputObjectType)


def _each_alone(value: Any) -> Iterator[Any]:
    """A value of an input object with one of its optional texts at a time, so that none hides another."""
    yield value
    if isinstance(value, dict):
        for name, inner in value.items():
            for one in _each_alone(inner) if isinstance(inner, dict) else (inner,):
                yield {name: one}


def _requests() -> Iterator[tuple[str, dict[str, Any]]]:
    """Documents and variables over every argument of every root field and mutation."""
    schema = core_schema()
    for word, root in (("query", schema.query_type), ("mutation", schema.mutation_type)):
        assert root is not None
        for name, kind in root.fields.items():
            below = "{ __typename userErrors { code message path } }" if word == "mutation" else "{ __typename }"
            for argument, declared in kind.args.items():
                for value in _each_alone(_value(declared.type)):
                    yield (
                        f"{word} {OPERATION_NAMES[0]}($v: {declared.type}) {{ {name}({argument}: $v) {below} }}",
                        {"v": value},
                    )
                yield f"{word} {{ {name}({argument}: {json.dumps(PLANTED)}) {below} }}", {}
                yield f"{word} {{ {name}({argument}: {{{SURNAME}: {json.dumps(PLANTED)}}}) {below} }}", {}


# Operations that make entries by their name: of reads, of a change; without the rights to them, of what is refused.
RECORDED = (
    "query %s { claims(first: 1) { nodes { id } } }",
    "query %s { auditEntries(first: 1) { nodes { id } } }",
    'mutation %s { payerMap(input: { rawName: "raw", payerCode: "code" }) { userErrors { code } } }',
)
HEADERS = (
    "idempotency-key",
    "x-request-id",
    "x-purpose",
    "user-agent",
    "origin",
    "referer",
    "accept",
    "x-forwarded-for",
)
DOCUMENTS = (
    f"{{ {SURNAME} }}",
    f"query {SURNAME} {{ viewer {{ role }} }}",
    f"query {SURNAME}($x: Int) {{ viewer {{ {SURNAME} }} }}",
    f"{{ viewer @{SURNAME} {{ role }} }}",
    f"{{ ...{SURNAME} }}",
    f"{{ viewer {{ role({SURNAME}: 1) }} }}",
    f"query($x: {SURNAME}) {{ viewer {{ role }} }}",
    f"{{ payers(first: ${SURNAME}) {{ totalCount }} }}",
    f"{{ payers(orderBy: {SURNAME}) {{ totalCount }} }}",
    f'{{ payers(first: "{PLANTED}") {{ totalCount }} }}',
    f'{{ viewer {{ role }} "{PLANTED}" }}',
    f"{{ viewer {{ role }} {NUMBER} }}",
    f"{PLANTED}",
)


async def _send_all(http: httpx.AsyncClient, own: Member, refused: dict[str, str]) -> list[str]:
    """The answers to everything; `refused` are headers of somebody who has few rights."""
    answers = [
        await http.post("/graphql", headers=own.headers, json={"query": text, "variables": variables})
        for text, variables in _requests()
    ]
    for text in DOCUMENTS:
        answers += [
            await http.post("/graphql", headers=own.headers, json={"query": text}),
            await http.get("/graphql", headers=own.headers, params={"query": text, SURNAME: PLANTED}),
        ]
    answers += [
        await http.post("/graphql", headers=headers, json={"query": text % name})
        for text in RECORDED
        for name in OPERATION_NAMES
        for headers in (own.headers, refused)
    ]
    strange = [{**own.headers, name: PLANTED} for name in HEADERS]
    strange += [{"authorization": f"Bearer {PLANTED}"}, {"cookie": f"sessionid={SURNAME}; a={SURNAME}"}]
    answers += [await http.post("/graphql", headers=one, json={"query": "{ viewer { role } }"}) for one in strange]
    for body in (
        {"query": 1, SURNAME: PLANTED},
        {"query": "{ viewer { role } }", "operationName": SURNAME},
        {"query": "query A($v: Int) { viewer { role } }", "variables": {"v": PLANTED}},
        {"query": "{ viewer { role } }", "variables": PLANTED},
    ):
        answers.append(await http.post("/graphql", headers=own.headers, json=body))
    answers.append(await http.post("/graphql", headers=own.headers, content=PLANTED.encode()))
    answers.append(await http.get(f"/{SURNAME}", headers=own.headers))
    answers.append(await http.get(f"/graphql/static/{SURNAME}"))
    answers += [await _upload(http, own, name, content) for name, content in _uploads()]
    return [f"{answer.headers} {answer.text}" for answer in answers]


def _uploads() -> Iterator[tuple[str, bytes]]:
    result = {"message": {"text": PLANTED}, "ruleId": PLANTED}
    run = {"tool": {"driver": {"name": PLANTED, "rules": [{"id": PLANTED}]}}, "results": [result]}
    for content in (
        CSV.encode(),
        PLANTED.encode(),
        json.dumps({"version": "2.1.0", "runs": [run]}).encode(),
        json.dumps({"version": PLANTED, SURNAME: PLANTED, "runs": [{"tool": PLANTED}]}).encode(),
        f"ISA*00*{PLANTED}".encode(),
    ):
        for name in ("a.csv", f"{SURNAME}.csv", f"patient_Jane_{SURNAME}.csv"):
            yield name, content


async def _upload(http: httpx.AsyncClient, own: Member, name: str, content: bytes) -> httpx.Response:
    mutation, given = ("claimsImport", {}) if b"runs" not in content else (
        "agentRunImportSarif", {"kind": "EXTERNAL", "agent": "t"}
    )  # fmt: skip
    kind = f"{mutation[0].upper()}{mutation[1:]}Input"
    operations = {
        "query": f"mutation($v: {kind}!) {{ {mutation}(input: $v) {{ userErrors {{ code message path }} }} }}",
        "variables": {"v": {"file": None, **given}},
    }
    form = {"operations": json.dumps(operations), "map": '{"0": ["variables.v.file"]}', SURNAME: PLANTED}
    return await http.post("/graphql", headers=own.headers, data=form, files={"0": (name, content)})


@pytest.fixture
def own(organization: Organization) -> Member:
    return member(organization, "zzown")


@pytest.fixture
def refused(own: Member) -> dict[str, str]:
    """Headers of somebody who has few rights."""
    secret = token(own.organization, f"viewer{own.organization.id.hex}", Role.VIEWER, "read")
    return {"authorization": f"Bearer {secret}"}


async def test_planted_patient_data_is_in_no_log_no_error_and_no_audit_entry(
    database: str, own: Member, refused: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(database, tmp_path) as at:
        async with httpx.AsyncClient(base_url=at.url, timeout=60) as http:
            answers = await _send_all(http, own, refused)
    log = "".join(capfd.readouterr())

    with psycopg.connect(server.url("postgres", database)) as superuser:
        entries = superuser.execute(
            "SELECT e::text FROM audit_entry e WHERE organization_id = %s", [own.organization.id]
        ).fetchall()
        jobs = superuser.execute("SELECT j::text FROM procrastinate_jobs j").fetchall()
        used = superuser.execute("SELECT u::text FROM schema_use u").fetchall()
        named = superuser.execute(
            "SELECT DISTINCT action FROM audit_entry WHERE organization_id = %s AND operation_name = 'other'",
            [own.organization.id],
        ).fetchall()
    files = [name for _, _, names in os.walk(tmp_path) for name in names]
    rows = [row for (row,) in (*entries, *jobs, *used)]
    found = {
        kind: [text for text in texts if any(mark in text for mark in marks)]
        for kind, texts, marks in (
            ("log", log.splitlines(), MARKS),
            ("answers", answers, VALUES),
            ("rows", rows, MARKS),
            ("files", files, MARKS),
        )
    }
    assert len(answers) > 250
    assert "Not Found" in log  # the log was listened to
    assert {"read", "refuse", "insert"} <= {action for (action,) in named}
    assert used
    assert found == {"log": [], "answers": [], "rows": [], "files": []}


MARK = "Quill-219099999\n. Did you mean 'x'? found: value: Jane"
TEXT = json.dumps(MARK)
NODE = "query($v: ID!) { node(id: $v) { id } }"
PAYER_MAP = "mutation($v: PayerMapInput!) { payerMap(input: $v) { userErrors { code } } }"
CLAIMS = "query($v: ClaimFilter) { claims(filter: $v) { totalCount } }"
EVENTS = "query($v: DriftSeverity!) { driftEvents(filter: { severity: { eq: $v } }) { totalCount } }"
PAGE = "query($v: Int) { payers(first: $v) { totalCount } }"
MAPPED = {"rawName": MARK, "payerCode": MARK}
# Variables that do not fit, and what is said behind "Variable '$v' has invalid value".
OF_VARIABLES: tuple[tuple[str, dict[str, Any], str], ...] = (
    (NODE, {}, ": Expected a value of non-null type 'ID!' to be provided."),
    (NODE, {"v": None}, ": Expected value of non-null type 'ID!' not to be None."),
    (NODE, {"v": {MARK: MARK}}, ": ID cannot represent value."),
    (PAYER_MAP, {"v": MARK}, ": Expected value of type 'PayerMapInput' to be an object."),
    (
        PAYER_MAP,
        {"v": {"rawName": MARK}},
        ": Expected value of type 'PayerMapInput' to include required field 'payerCode'.",
    ),
    (
        PAYER_MAP,
        {"v": {**MAPPED, "payerCodes": MARK}},
        ": Expected value of type 'PayerMapInput' not to include unknown field 'payerCodes'. Did you mean 'payerCode'?",
    ),
    (
        PAYER_MAP,
        {"v": {**MAPPED, MARK: MARK}},
        ": Expected value of type 'PayerMapInput' not to include unknown field.",
    ),
    (EVENTS, {"v": MARK}, ": The value does not exist in 'DriftSeverity' enum."),
    (EVENTS, {"v": "HIG"}, ": The value does not exist in 'DriftSeverity' enum. Did you mean the enum value 'HIGH'?"),
    (EVENTS, {"v": [MARK]}, ": Enum 'DriftSeverity' cannot represent non-string value."),
    (PAGE, {"v": MARK}, ": Int cannot represent non-integer value."),
    (PAGE, {"v": 219099999000}, ": Int cannot represent non 32-bit signed integer value."),
    (CLAIMS, {"v": {"billed": {"eq": MARK}}}, " at .billed.eq: Decimal is a number as a string, such as 12.34."),
    (
        CLAIMS,
        {"v": {"and": [{"authorizationDenial": {"eq": MARK}}]}},
        " at .and[0].authorizationDenial.eq: Boolean cannot represent a non boolean value.",
    ),
    (
        CLAIMS,
        {"v": {"denialCarc": {"eq": 219099999}}},
        " at .denialCarc.eq: String cannot represent a non string value.",
    ),
)
# Documents that are not valid, with the text for %s.
OF_DOCUMENTS = (
    (
        "{ driftEvents(filter: { severity: { eq: %s } }) { totalCount } }",
        "Enum 'DriftSeverity' cannot represent non-enum value.",
    ),
    (
        "{ driftEvents(filter: { severity: { eq: Quill2190 } }) { totalCount } }",
        "The value does not exist in 'DriftSeverity' enum.",
    ),
    ("{ payers(first: 219099999000) { totalCount } }", "Int cannot represent non 32-bit signed integer value."),
    ("{ payers(first: 219.099999) { totalCount } }", "Int cannot represent non-integer value."),
    ("{ payers(after: 219099999) { totalCount } }", "String cannot represent a non string value."),
    ("query($v: Int = %s) { payers(first: $v) { totalCount } }", "Int cannot represent non-integer value."),
    ("{ payers @include(if: %s) { totalCount } }", "Boolean cannot represent a non boolean value."),
    ("{ node(id: [%s]) { id } }", "ID cannot represent a non-string and non-integer value."),
    ("{ claims(filter: %s) { totalCount } }", "Expected value of type 'ClaimFilter' to be an object."),
    (
        "{ claims(filter: { payers: %s }) { totalCount } }",
        "Expected value of type 'ClaimFilter' not to include unknown field 'payers'. Did you mean 'payer'?",
    ),
    (
        "mutation { payerMap(input: { rawName: %s }) { userErrors { code } } }",
        "Expected value of type 'PayerMapInput' to include required field 'payerCode'.",
    ),
    ("219099999", "Syntax Error: Unexpected Int."),
    ("{ payers 219.099999 }", "Syntax Error: Expected Name, found Float."),
    ("{ payers %s }", "Syntax Error: Expected Name, found String."),
    ('{ payers """Quill 219099999""" }', "Syntax Error: Expected Name, found BlockString."),
    ("query %s { payers }", "Syntax Error: Expected '{', found String."),
    ("{ payers(first: .219099999) }", "Syntax Error: Invalid number, expected digit before '.'."),
    ('{ node(id: "\\u{219099999}") }', "Syntax Error: Invalid Unicode escape sequence."),
    ('{ node(id: "Quill', "Syntax Error: Unterminated string."),
)


@pytest.fixture
def suggests(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = dataclasses.replace(settings.ENVIRONMENT, suggestions=True, introspection="on")
    monkeypatch.setattr(settings, "ENVIRONMENT", shown)


@pytest.mark.usefixtures("suggests")
@pytest.mark.parametrize(("document", "variables", "said"), OF_VARIABLES)
async def test_what_is_said_of_a_variable_has_the_reason_and_not_the_value(
    api: Api, document: str, variables: dict[str, Any], said: str
) -> None:
    answer = await api(document, **variables)

    assert answer.codes == ["BAD_USER_INPUT"]
    assert [error["message"] for error in answer.errors] == [f"Variable '$v' has invalid value{said}"]


@pytest.mark.usefixtures("suggests")
@pytest.mark.parametrize(("document", "said"), OF_DOCUMENTS)
async def test_what_is_said_of_a_document_has_the_reason_and_not_the_value(api: Api, document: str, said: str) -> None:
    text = document.replace("%s", TEXT)
    answer = await api(text)
    priced = await api("query($d: String!) { cost(document: $d) { requested } }", d=text)

    assert [error["message"] for error in answer.errors] == [said]
    assert [error["message"] for error in priced.errors] == [f"The document to be priced is not valid: {said}"]


def test_what_is_said_of_any_type_and_any_wrong_value_does_not_repeat_it() -> None:
    wrong = [MARK, 219099999.5, 219099999000, True, [MARK], {MARK: MARK}, {"Quill 219099999": {MARK: [MARK]}}, [[MARK]]]
    kinds = [kind for kind in core_schema().type_map.values() if is_input_type(kind) and kind.name != "Upload"]
    said: list[tuple[str, str]] = []

    def note(kind: Any) -> Any:
        return lambda error, _path: said.append((kind.name, reason(error.message)))

    for kind in kinds:
        fields = kind.fields if isinstance(kind, GraphQLInputObjectType) else {}
        for value in (*wrong, *({name: one} for name in fields for one in wrong)):
            validate_input_value(value, kind, note(kind))
            validate_input_literal(parse_value(_literal(value)), kind, note(kind))

    assert len(said) > 1_000
    assert [one for one in said if any(mark in one[1] for mark in ("Quill", "2190", "Jane"))] == []
    assert [one for one in said if not any(kind.name in one[1] for kind in kinds)] == []  # the reason is there


def _literal(value: Any) -> str:
    """The value in GraphQL, where names of fields are names and may be repeated."""
    if isinstance(value, dict):
        fields = (f"{name if name.isidentifier() else 'x'}: {_literal(one)}" for name, one in value.items())
        return f"{{{' '.join(fields)}}}"
    return f"[{_literal(value[0])}]" if isinstance(value, list) else json.dumps(value)
