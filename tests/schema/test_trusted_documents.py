"""Documents by id and by hash: trusted ones, automatic persisted queries, and what a client may keep of an answer."""

import dataclasses
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from backend.accounts.models import Organization
from backend.config.env import BadSetting, read_environment
from backend.db.reads import Reads
from backend.db.writes import WriteThreads
from schema.execution.documents import OPERATIONS, price_of
from schema.execution.documents import _documents as kept_documents
from schema.execution.trusted import ManifestNotReadable, document_id, read_manifest, trusted_documents
from tests.asgi import asking, bearer
from tests.threads import in_thread

TEXT = "{ viewer { role } }"
ANSWER = {"viewer": {"role": "ADMIN"}}
AGENTS = (OPERATIONS / "Agents.graphql").read_text()


@pytest.fixture(autouse=True)
def documents() -> Iterator[None]:
    """Manifests are read again."""
    trusted_documents.cache_clear()
    yield
    trusted_documents.cache_clear()


@pytest.fixture
async def http(reads: Reads, writes: WriteThreads) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(reads, writes) as client:
        yield client


@pytest.fixture
async def token(organization: Organization) -> dict[str, str]:
    return await in_thread(bearer, organization)


def _set(monkeypatch: pytest.MonkeyPatch, **values: Any) -> None:
    monkeypatch.setattr(settings, "ENVIRONMENT", dataclasses.replace(settings.ENVIRONMENT, **values))


def _hash(text: str) -> dict[str, Any]:
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": document_id(text)}}}


def _error(answer: httpx.Response) -> tuple[str, str]:
    [error] = answer.json()["errors"]
    return error["extensions"]["code"], error["message"]


@pytest.mark.parametrize("prefix", ["", "sha256:"])
@pytest.mark.parametrize("way", ["any", "automatic", "trusted"])
async def test_a_trusted_document_is_executed_by_its_id(
    http: httpx.AsyncClient, token: dict[str, str], monkeypatch: pytest.MonkeyPatch, way: str, prefix: str
) -> None:
    _set(monkeypatch, documents=way)
    key = prefix + document_id(AGENTS)

    posted = await http.post("/graphql", json={"documentId": key, "variables": {"first": 1}}, headers=token)
    got = await http.get("/graphql", params={"documentId": key, "variables": '{"first": 1}'}, headers=token)

    assert posted.json()["data"] == got.json()["data"] == {"agents": {"nodes": []}}


async def test_only_trusted_documents_are_executed_where_that_is_set(
    http: httpx.AsyncClient, token: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(monkeypatch, documents="trusted")

    ours = await http.post("/graphql", json={"query": AGENTS}, headers=token)
    other = await http.post("/graphql", json={"query": TEXT}, headers=token)
    with_hash = await http.post("/graphql", json={"query": TEXT, **_hash(TEXT)}, headers=token)
    unknown = await http.post("/graphql", json={"documentId": document_id(TEXT)}, headers=token)

    assert ours.json()["data"] == {"agents": {"nodes": []}}
    assert _error(other) == _error(with_hash)
    assert _error(other)[0] == "FORBIDDEN"
    assert "DRIFTGRAPH_DOCUMENTS" in _error(other)[1]
    assert _error(unknown)[0] == "PERSISTED_QUERY_NOT_FOUND"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_hash_is_known_once_its_text_was_sent(
    http: httpx.AsyncClient, token: dict[str, str], method: str
) -> None:
    async def ask(**parameters: Any) -> httpx.Response:
        if method == "POST":
            return await http.post("/graphql", json=parameters, headers=token)
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in parameters.items()}
        return await http.get("/graphql", params=texts, headers=token)

    before = await ask(**_hash(TEXT))
    sent = await ask(query=TEXT, **_hash(TEXT))
    after = await ask(**_hash(TEXT))

    assert _error(before) == ("PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound")
    assert before.status_code == 200
    assert sent.json()["data"] == after.json()["data"] == ANSWER


async def test_hashes_of_strangers_push_out_none_of_who_is_signed_in(
    http: httpx.AsyncClient, token: dict[str, str]
) -> None:
    mine = "query Kept { viewer { role } }"
    await http.post("/graphql", json={"query": mine, **_hash(mine)}, headers=token)

    theirs = [f"query S{number} {{ viewer {{ role }} }}" for number in range(520)]
    for text in theirs:
        await http.post("/graphql", json={"query": text, **_hash(text)})

    by_hash = await http.post("/graphql", json=_hash(mine), headers=token)
    last, first = [await http.post("/graphql", json=_hash(text)) for text in (theirs[-1], theirs[0])]
    assert by_hash.json()["data"] == ANSWER
    assert _error(last)[0] == "UNAUTHENTICATED"  # it was executed
    assert _error(first)[0] == "PERSISTED_QUERY_NOT_FOUND"


async def test_a_hash_of_another_text_is_refused_and_not_remembered(
    http: httpx.AsyncClient, token: dict[str, str]
) -> None:
    wrong = await http.post("/graphql", json={"query": "{ __typename }", **_hash(TEXT)}, headers=token)
    after = await http.post("/graphql", json=_hash(TEXT), headers=token)

    assert _error(wrong)[0] == "BAD_USER_INPUT"
    assert _error(after)[1] == "PersistedQueryNotFound"


@pytest.mark.parametrize("is_signed_in", [True, False])
async def test_asking_a_trusted_document_for_an_operation_that_it_lacks_is_paid_for(
    http: httpx.AsyncClient, token: dict[str, str], monkeypatch: pytest.MonkeyPatch, is_signed_in: bool
) -> None:
    monkeypatch.setattr("schema.cost.budgets.time.time", lambda: 1_000_000_005.0)
    _set(monkeypatch, cost_per_minute=2 * price_of(AGENTS))

    async def asked(number: int) -> int:
        ask = {"documentId": document_id(AGENTS), "operationName": f"lacking{number}"}
        return (await http.post("/graphql", json=ask, headers=token if is_signed_in else {})).status_code

    assert [await asked(number) for number in range(3)] == [200, 200, 429]


@pytest.mark.parametrize("budget", [15, 1_000])  # 15 is what the operation costs, and less than its text would
async def test_a_trusted_document_that_is_new_to_the_process_costs_nothing_by_itself(
    http: httpx.AsyncClient, token: dict[str, str], monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    monkeypatch.setattr("schema.cost.budgets.time.time", lambda: 1_000_000_005.0)
    _set(monkeypatch, cost_per_minute=budget)
    kept_documents.cache_clear()

    answer = await http.post(
        "/graphql", json={"documentId": document_id(AGENTS), "variables": {"first": 1}}, headers=token
    )

    cost = answer.json()["extensions"]["cost"]
    assert (cost["requested"], cost["remaining"]) == (15, budget - cost["actual"])


async def test_the_id_of_a_document_does_not_put_it_under_the_hash_of_another(
    http: httpx.AsyncClient, token: dict[str, str]
) -> None:
    other = "query NotSentYet { viewer { role } }"

    answer = await http.post(
        "/graphql", json={"documentId": document_id(AGENTS), "variables": {"first": 1}, **_hash(other)}, headers=token
    )
    by_hash = await http.post("/graphql", json=_hash(other), headers=token)

    assert answer.json()["data"] == {"agents": {"nodes": []}}
    assert _error(by_hash) == ("PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound")


async def test_a_text_that_is_not_valid_is_not_remembered(http: httpx.AsyncClient, token: dict[str, str]) -> None:
    await http.post("/graphql", json={"query": "{ nothing }", **_hash("{ nothing }")}, headers=token)
    after = await http.post("/graphql", json=_hash("{ nothing }"), headers=token)

    assert _error(after)[1] == "PersistedQueryNotFound"


async def test_clients_are_told_to_send_texts_where_hashes_are_not_kept(
    http: httpx.AsyncClient, token: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(monkeypatch, documents="any")

    sent = await http.post("/graphql", json={"query": TEXT, **_hash(TEXT)}, headers=token)
    after = await http.post("/graphql", json=_hash(TEXT), headers=token)

    assert sent.json()["data"] == ANSWER
    assert _error(after) == ("PERSISTED_QUERY_NOT_SUPPORTED", "PersistedQueryNotSupported")


@pytest.mark.parametrize(
    "parameters",
    [
        {"extensions": {"persistedQuery": {"version": 2, "sha256Hash": "a"}}},
        {"extensions": {"persistedQuery": {"version": 1}}},
        {"extensions": {"persistedQuery": "a"}},
        {"documentId": 3},
        {"documentId": "a", "query": TEXT},
        {"extensions": {}},
    ],
)
async def test_malformed_ids_and_hashes_are_client_errors(
    http: httpx.AsyncClient, token: dict[str, str], parameters: dict[str, Any]
) -> None:
    answer = await http.post("/graphql", json=parameters, headers=token)

    assert (answer.status_code, _error(answer)[0]) == (400, "BAD_USER_INPUT")


async def test_a_client_keeps_an_answer_to_get_until_it_changes(
    http: httpx.AsyncClient, token: dict[str, str], organization: Organization
) -> None:
    ask = {"query": "{ viewer { organization { name } } }"}
    first = await http.get("/graphql", params=ask, headers=token)
    kept = {**token, "if-none-match": f'W/"other", {first.headers["etag"]}'}

    same = await http.get("/graphql", params=ask, headers=kept)
    organization.name = f"{organization.name[:100]} renamed"
    await in_thread(organization.save)
    changed = await http.get("/graphql", params=ask, headers=kept)

    assert first.headers["cache-control"] == "private, no-cache"
    assert first.headers["vary"] == "Accept, Authorization, Cookie"
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", first.headers["etag"])
    assert (changed.status_code, changed.json()["data"]["viewer"]["organization"]["name"]) == (200, organization.name)


async def test_a_client_may_name_what_it_keeps_in_several_lines_or_as_anything(
    http: httpx.AsyncClient, token: dict[str, str]
) -> None:
    ask = {"query": "{ viewer { role } }"}
    tag = (await http.get("/graphql", params=ask, headers=token)).headers["etag"]

    found = [
        (await http.get("/graphql", params=ask, headers=[*token.items(), *(("if-none-match", one) for one in lines)]))
        for lines in ([tag, '"other"'], ['W/"other", "more"', f"W/{tag}"], ["*"], ['"*"'], ['"other"', '"more"'])
    ]

    assert [answer.status_code for answer in found] == [304, 304, 304, 200, 200]


async def test_an_etag_belongs_to_one_principal_of_one_organization(
    http: httpx.AsyncClient, token: dict[str, str], organization: Organization, other_organization: Organization
) -> None:
    others = [
        await in_thread(bearer, organization, "other"),
        await in_thread(bearer, other_organization),
    ]
    ask = {"query": TEXT}
    first = await http.get("/graphql", params=ask, headers=token)

    answers = [
        await http.get("/graphql", params=ask, headers={**one, "if-none-match": first.headers["etag"]})
        for one in others
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert len({first.headers["etag"], *(answer.headers["etag"] for answer in answers)}) == 3


async def test_neither_errors_nor_posts_are_kept(http: httpx.AsyncClient, token: dict[str, str]) -> None:
    failed = await http.get("/graphql", params={"query": '{ node(id: "malformed") { id } }'}, headers=token)
    posted = await http.post("/graphql", json={"query": TEXT}, headers=token)

    assert [one.headers["cache-control"] for one in (failed, posted)] == ["no-store", "no-store"]
    assert not any("etag" in one.headers for one in (failed, posted))


@pytest.mark.parametrize(
    "query",
    [
        "{ claims(first: 1) { nodes { id } } }",
        "{ auditEntries(first: 1) { nodes { id } } }",
        "{ importBatches(first: 1) { nodes { issues { totalCount } } } }",
        "query($is: Boolean = true) { viewer { role } claims(first: 1) @include(if: $is) { nodes { id } } }",
    ],
)
async def test_what_is_protected_is_kept_by_no_browser(
    http: httpx.AsyncClient, token: dict[str, str], query: str
) -> None:
    answer = await http.get("/graphql", params={"query": query}, headers={**token, "if-none-match": "*"})

    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert "etag" not in answer.headers
    assert answer.json()["data"]
    assert "errors" not in answer.json()


async def test_a_manifest_that_was_built_is_trusted(
    http: httpx.AsyncClient, token: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "Role.graphql").write_text("query Role { viewer { role } }\n")
    (tmp_path / "Name.graphql").write_text("{ viewer { organization { name } } }")

    call_command("documents_build", str(tmp_path))
    _set(monkeypatch, documents="trusted", documents_manifest=str(tmp_path / "manifest.json"))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    ids = {one["name"]: one["id"] for one in manifest["operations"]}
    answer = await http.post("/graphql", json={"documentId": ids["Role"]}, headers=token)

    assert (manifest["format"], manifest["version"]) == ("apollo-persisted-query-manifest", 1)
    assert {one["name"]: one["type"] for one in manifest["operations"]} == {"Role": "query", "Name": "query"}
    assert ids["Role"] == document_id("query Role { viewer { role } }\n")
    assert answer.json()["data"] == ANSWER


def test_what_cannot_be_read_or_written_is_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "Latin.graphql").write_bytes("# Größe\n{ viewer { role } }".encode("latin-1"))
    with pytest.raises(CommandError, match=r"^Latin\.graphql: it is not UTF-8\.$"):
        call_command("documents_build", str(tmp_path))

    (tmp_path / "Latin.graphql").unlink()
    (tmp_path / "Folder.graphql").mkdir()
    with pytest.raises(CommandError, match=r"^Folder\.graphql: it cannot be read"):
        call_command("documents_build", str(tmp_path))

    (tmp_path / "Folder.graphql").rmdir()
    (tmp_path / "Good.graphql").write_text(TEXT)
    with pytest.raises(CommandError, match=r"nowhere/x\.json cannot be written: No such file or directory"):
        call_command("documents_build", str(tmp_path), "--output", str(tmp_path / "nowhere" / "x.json"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{ nothing }", "Cannot query field 'nothing'"),
        ("{", "Syntax Error"),
        ("{" + "viewer{role}" * 60 + "}", "DRIFTGRAPH_MAX_QUERY_REPEATS"),
        ("query A{__typename} query B{__typename}", "not exactly one operation"),
    ],
)
def test_no_manifest_is_written_with_a_document_that_would_be_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "Good.graphql").write_text(TEXT)
    (tmp_path / "Wrong.graphql").write_text(text)

    with pytest.raises(CommandError, match=r"Wrong\.graphql: ") as refusal:
        call_command("documents_build", str(tmp_path))

    assert says in str(refusal.value)
    assert not (tmp_path / "manifest.json").exists()


def test_a_folder_without_documents_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"no \.graphql file"):
        call_command("documents_build", str(tmp_path))


def test_the_manifest_of_relay_is_read_as_well(tmp_path: Path) -> None:
    file = tmp_path / "persisted.json"
    file.write_text(json.dumps({"0123": TEXT}))

    assert read_manifest(file) == {"0123": TEXT}


@pytest.mark.parametrize("content", ["[", "[]", '{"operations": [{"id": "a"}]}', '{"a": 1}', None])
def test_a_file_that_is_no_manifest_is_a_clear_error(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "manifest.json"
    if content is not None:
        file.write_text(content)

    with pytest.raises(ManifestNotReadable, match="DRIFTGRAPH_DOCUMENTS_MANIFEST"):
        read_manifest(file)


def test_the_settings_are_checked() -> None:
    with pytest.raises(BadSetting, match="DRIFTGRAPH_DOCUMENTS"):
        read_environment({"DRIFTGRAPH_DOCUMENTS": "all"})
    with pytest.raises(BadSetting, match="DRIFTGRAPH_BUDGET_URL"):
        read_environment({"DRIFTGRAPH_BUDGET_URL": "localhost:6379"})
