"""Recognisable patient data planted in every input, and looked for in every log line, error and audit entry."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLList, GraphQLNonNull, get_named_type

from backend.accounts.models import Organization
from schema.build import core_schema
from tests import server
from tests.attempts import Member, member
from tests.serving import serving

SURNAME, NUMBER, LETTERS = "Quillfeather", "219-09-9999", "MRN77120094"
MARKS = (SURNAME, SURNAME.lower(), NUMBER, LETTERS)
# An answer tells its sender which name of the document is unknown; values it never repeats.
VALUES = ("Jane", NUMBER, LETTERS)
PLANTED = f"patient Jane {SURNAME} {NUMBER} {LETTERS}"
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
                    yield f"{word}($v: {declared.type}) {{ {name}({argument}: $v) {below} }}", {"v": value}
                yield f"{word} {{ {name}({argument}: {json.dumps(PLANTED)}) {below} }}", {}
                yield f"{word} {{ {name}({argument}: {{{SURNAME}: {json.dumps(PLANTED)}}}) {below} }}", {}


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


async def _send_all(http: httpx.AsyncClient, own: Member) -> list[str]:
    """The answers to everything."""
    answers = [
        await http.post("/graphql", headers=own.headers, json={"query": text, "variables": variables})
        for text, variables in _requests()
    ]
    for text in DOCUMENTS:
        answers += [
            await http.post("/graphql", headers=own.headers, json={"query": text}),
            await http.get("/graphql", headers=own.headers, params={"query": text, SURNAME: PLANTED}),
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


async def test_planted_patient_data_is_in_no_log_no_error_and_no_audit_entry(
    database: str, own: Member, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(database, tmp_path) as at:
        async with httpx.AsyncClient(base_url=at.url, timeout=60) as http:
            answers = await _send_all(http, own)
    log = "".join(capfd.readouterr())

    with psycopg.connect(server.url("postgres", database)) as superuser:
        entries = superuser.execute(
            "SELECT e::text FROM audit_entry e WHERE organization_id = %s", [own.organization.id]
        ).fetchall()
        jobs = superuser.execute("SELECT j::text FROM procrastinate_jobs j").fetchall()
    files = [name for _, _, names in os.walk(tmp_path) for name in names]
    rows = [row for (row,) in (*entries, *jobs)]
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
    assert entries
    assert found == {"log": [], "answers": [], "rows": [], "files": []}
