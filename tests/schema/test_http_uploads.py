"""Files over HTTP to a real server: what is wrong with one is said by code and place, and nothing of it is kept."""

import datetime
import fcntl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from django.utils import timezone

from backend.accounts.models import ApiToken, Organization
from backend.accounts.services import secret_hash
from backend.agents.models import AgentRun
from backend.audit.models import TOKEN_ADDRESS, AuditEntry
from backend.audit.reads import READ
from backend.claims.batches import AuditAction
from backend.claims.models import Claim, ImportBatch, ImportIssue, QualityReport
from backend.core.tenancy import acting_for
from backend.payers.models import Payer, ProcedureCode
from tests.serving import PEAK_IS_KNOWN, Serving, serving

LIMIT, PART = 1_000_000, 1 << 20
FILE_PATH, MEGABYTE = ["file"], 1_000_000
IMPORT = """mutation($input: ClaimsImportInput!) { claimsImport(input: $input) {
  importBatch { id status errorCode rowsRejected issues(first: 1) { nodes { rule } } }
  duplicateOf { id } userErrors { code message path } } }"""
SARIF = """mutation($input: AgentRunImportSarifInput!) { agentRunImportSarif(input: $input) {
  agentRuns { id } userErrors { code message path } } }"""
ROLLBACK = "mutation($i: ImportRollbackInput!) { importRollback(input: $i) { userErrors { code path } } }"
HEADER = "claim_id,payer,procedure_code,submitted_date,decided_date,outcome,billed_amount\n"
X12 = (
    f"ISA*00*{'':10}*00*{'':10}*ZZ*{'A':15}*ZZ*{'B':15}*250120*1200*^*00501*000000001*0*P*:~"
    "GS*HP*A*B*20250120*1200*1*X*005010X221A1~"
)


@pytest.fixture(scope="module")
def site(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("server")
    with serving(database, folder, DRIFTGRAPH_MAX_IMPORT_BYTES=str(LIMIT)) as found:
        yield found


def sign_in(organization: Organization, **values: Any) -> dict[str, str]:
    secret = "dg_" + organization.id.hex.ljust(43, "x")
    given = {
        "role": "ADMIN",
        "scopes": ["read", "claims:read", "import", "import:rollback", "agents:write", "agents:read"],
        "expires_at": timezone.now() + datetime.timedelta(days=1),
    }
    with acting_for(organization.id):
        ApiToken.objects.create(organization=organization, name="t", hash=secret_hash(secret), **given | values)
    return {"authorization": f"Bearer {secret}"}


@pytest.fixture
def token(organization: Organization) -> dict[str, str]:
    return sign_in(organization)


def stored(organization: Organization) -> dict[str, int]:
    """Rows by table; entries of the audit trail are those of changes: an answer that names issues is a read.

    Nor is the first use of a token, which is written down beside the request, a dry run, or that a mutation failed.
    """
    tables = (Claim, ImportBatch, ImportIssue, QualityReport, Payer, ProcedureCode, AgentRun)
    with acting_for(organization.id):
        told = [READ, TOKEN_ADDRESS, AuditAction.DRY_RUN]
        changes = AuditEntry.objects.exclude(action__in=told).exclude(outcome="ERROR", object_type="").count()
        return {"AuditEntry": changes, **{table.__name__: table.objects.count() for table in tables}}


def operations(query: str, **values: Any) -> str:
    return orjson.dumps({"query": query, "variables": {"input": {"file": None, **values}}}).decode()


def send(
    site: Serving, headers: dict[str, str], content: bytes | str, query: str = IMPORT, **values: Any
) -> httpx.Response:
    return httpx.post(
        f"{site.url}/graphql",
        headers=headers,
        data={"operations": operations(query, **values), "map": '{"0": ["variables.input.file"]}'},
        files={"0": ("file", content if isinstance(content, bytes) else content.encode(), "text/plain")},
        timeout=60,
    )


def payload(answer: httpx.Response) -> dict[str, Any]:
    body = answer.json()
    assert "errors" not in body, body
    [found] = body["data"].values()
    return found


def rows(count: int, **changes: str) -> str:
    cells = {
        "claim_id": "C{}", "payer": "Acme", "procedure_code": "99213", "submitted_date": "2026-01-05",
        "decided_date": "2026-01-14", "outcome": "PAID", "billed_amount": "100.00", **changes,
    }  # fmt: skip
    return "".join(",".join(cells.values()).format(number) + "\n" for number in range(count))


def claim_segments(*, trailer: str) -> str:
    body = "ST*835*0001~BPR*I*1*C*ACH************20250120~TRN*1*1*1~DTM*405*20250120~N1*PR*Acme~LX*1~"
    return X12 + body + "CLP*1*1*200*150**12*I*11*1~SVC*HC:99213*200*150**1~CAS*CO*45*50~" + trailer


def mapping(count: int) -> list[dict[str, str]]:
    return [{"name": f"x{number}", "header": "a"} for number in range(count)]


WRONG_FILES = {
    "empty": ("", {}, FILE_PATH, "holds no rows"),
    "blank": (" \n\n", {}, FILE_PATH, "holds no rows"),
    "a header alone": (HEADER, {}, FILE_PATH, "holds no rows"),
    "another header": ("claim_id,payer\n1,2\n", {}, FILE_PATH, "lacks required columns"),
    "a column twice": (HEADER.replace("payer", "claim_id") + rows(1), {}, FILE_PATH, "claim_id twice"),
    "another delimiter": ((HEADER + rows(3)).replace(",", "^"), {}, FILE_PATH, "lacks required columns"),
    "mixed encodings": ((HEADER + rows(1, payer="Bäd")).encode() + b"caf\xe9", {}, FILE_PATH, "mixes encodings"),
    "binary": (b"\x00\x01\x02", {}, FILE_PATH, "not text"),
    "a spreadsheet": (b"PK\x03\x04" + b"x" * 99, {}, FILE_PATH, "Export it as CSV"),
    "a kind it is not": (HEADER + rows(1), {"kind": "X12_835"}, ["kind"], "declared kind"),
    "an unknown column": ("a,b\n1,2\n", {"columns": mapping(1)}, ["columns"], "unknown field"),
    "too many columns": ("a,b\n1,2\n", {"columns": mapping(21)}, ["columns"], "more than 20"),
    "an 835 without a transaction": (X12, {}, FILE_PATH, "no transaction"),
    "an 835 cut off": (claim_segments(trailer="SE*10*0001~"), {}, FILE_PATH, "envelope is broken"),
    "an 835 of another count": (claim_segments(trailer="SE*99*0001~GE*1*1~IEA*1*000000001~"), {}, FILE_PATH, "broken"),
    "an 837": (X12 + "ST*837*0001~", {}, FILE_PATH, "837"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_wrong_file_is_refused_by_code_and_place_and_leaves_nothing(
    site: Serving, organization: Organization, token: dict[str, str], case: str
) -> None:
    content, options, path, message = WRONG_FILES[case]
    before = stored(organization)

    found = payload(send(site, token, content, **options))

    [error] = found["userErrors"]
    assert (found["importBatch"], error["code"], error["path"]) == (None, "BAD_USER_INPUT", path)
    assert message in error["message"]
    assert stored(organization) == before
    assert site.files() == []


WRONG_ROWS = {
    "the other date order": (rows(9, submitted_date="14/01/2026", decided_date="15/01/2026"), "E010"),
    "negative money": (rows(9, billed_amount="-1.00"), "E020"),
    "dates in the future": (rows(9, submitted_date="2999-01-01", decided_date="", outcome="PENDING"), "E010"),
    "decisions in the future": (rows(9, decided_date="2999-01-01"), "E011"),
    "more than a fifth of the rows": (rows(79) + rows(21, claim_id="D{}", billed_amount="1.2.3"), "E020"),
    "the only row cut off": (rows(1)[:20], "E906"),
    "the last of many rows cut off": (rows(99)[:-20], "E906"),
}


@pytest.mark.parametrize("case", WRONG_ROWS)
def test_a_file_with_too_many_wrong_rows_leaves_a_batch_that_says_which_and_no_rows(
    site: Serving, organization: Organization, token: dict[str, str], case: str
) -> None:
    lines, rule = WRONG_ROWS[case]

    found = payload(send(site, token, HEADER + lines))

    batch, code = found["importBatch"], "TRUNCATED" if rule == "E906" else "TOO_MANY_ERRORS"
    assert (found["userErrors"], batch["status"], batch["errorCode"]) == ([], "REJECTED", code)
    assert batch["issues"]["nodes"] == [{"rule": rule}]
    kept = stored(organization)
    assert (kept["Claim"], kept["Payer"], kept["ProcedureCode"], kept["ImportBatch"]) == (0, 0, 0, 1)


def test_a_file_with_a_few_wrong_rows_is_taken_without_them(
    site: Serving, organization: Organization, token: dict[str, str]
) -> None:
    lines = rows(80) + rows(20, claim_id="D{}", billed_amount="-1")

    batch = payload(send(site, token, HEADER + lines))["importBatch"]

    assert (batch["status"], batch["rowsRejected"]) == ("PARTIAL", 20)
    assert stored(organization)["Claim"] == 80


def test_dates_of_another_order_are_taken_where_it_is_declared(
    site: Serving, organization: Organization, token: dict[str, str]
) -> None:
    lines = rows(3, submitted_date="14/01/2026", decided_date="15/01/2026")

    assert payload(send(site, token, HEADER + lines, dateFormat="DMY"))["importBatch"]["status"] == "LOADED"


def test_uploads_of_one_file_at_once_are_one_batch(
    site: Serving, organization: Organization, token: dict[str, str]
) -> None:
    with ThreadPoolExecutor(4) as threads:
        answers = [threads.submit(send, site, token, HEADER + rows(500)) for _ in range(4)]
        found = [payload(answer.result()) for answer in answers]

    again = payload(send(site, token, HEADER + rows(500)))
    assert len({answer["importBatch"]["id"] for answer in (*found, again)}) == 1
    assert [answer["duplicateOf"] for answer in found].count(None) == 1
    assert again["duplicateOf"] == {"id": again["importBatch"]["id"]}
    kept = stored(organization)
    assert (kept["Claim"], kept["ImportBatch"]) == (500, 1)


def test_a_retry_with_the_header_gets_the_first_answer_and_another_file_is_a_conflict(
    site: Serving, organization: Organization, token: dict[str, str]
) -> None:
    keyed = {**token, "idempotency-key": "import-1"}
    rehearsed = payload(send(site, keyed, HEADER + rows(5), dryRun=True))

    first = payload(send(site, keyed, HEADER + rows(5)))
    before = stored(organization)
    again = payload(send(site, keyed, HEADER + rows(5)))
    other = payload(send(site, keyed, HEADER + rows(6)))

    assert rehearsed["importBatch"]["status"] == "LOADED"
    assert (first["importBatch"]["status"], first["duplicateOf"]) == ("LOADED", None)
    assert again == first
    assert [(error["code"], error["path"]) for error in other["userErrors"]] == [
        ("IDEMPOTENCY_CONFLICT", ["idempotencyKey"])
    ]
    assert stored(organization) == before


def test_a_key_of_a_refused_file_is_free_and_one_in_the_background_is_kept(
    site: Serving, organization: Organization, token: dict[str, str]
) -> None:
    keyed = {**token, "idempotency-key": "import-2"}

    refused = payload(send(site, keyed, "", background=True))
    first = payload(send(site, keyed, HEADER + rows(5), background=True))
    again = payload(send(site, keyed, HEADER + rows(5), background=True))

    assert [error["path"] for error in refused["userErrors"]] == [FILE_PATH]
    assert first["importBatch"]["status"] == "RECEIVED"
    assert again == first
    [spooled] = site.files()
    (site.data_dir / spooled).unlink()  # no worker is there to take it


def endless_form(sent: list[int]) -> Iterator[bytes]:
    """A form whose file has 500 MB; `sent` gets what the server lets the client send."""
    parts = {"operations": operations(IMPORT), "map": '{"0": ["variables.input.file"]}'}
    for name, text in parts.items():
        yield f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode()
    yield b'--B\r\nContent-Disposition: form-data; name="0"; filename="a.csv"\r\n\r\n' + HEADER.encode()
    for _ in range(500):
        sent.append(PART)
        yield b"x" * PART
    yield b"\r\n--B--\r\n"


@PEAK_IS_KNOWN
@pytest.mark.parametrize("length", [{}, {"content-length": str(500 * PART)}], ids=["unknown length", "told length"])
def test_a_file_of_500_megabytes_is_refused_while_it_is_sent(
    site: Serving, organization: Organization, token: dict[str, str], length: dict[str, str]
) -> None:
    before, memory, sent = stored(organization), site.peak_bytes(), list[int]()
    headers = {**token, **length, "content-type": "multipart/form-data; boundary=B"}

    answer = httpx.post(f"{site.url}/graphql", content=endless_form(sent), headers=headers, timeout=60)

    [error] = answer.json()["errors"]
    assert (answer.status_code, error["extensions"]["code"]) == (413, "BAD_USER_INPUT")
    assert "1000000 bytes" in error["message"]
    assert "DRIFTGRAPH_MAX_IMPORT_BYTES" in error["message"]
    assert sum(sent) < 100 * PART
    assert site.peak_bytes() - memory < 50 * MEGABYTE
    assert (site.files(), stored(organization)) == ([], before)


def test_files_that_are_together_too_large_are_refused(
    site: Serving, organization: Organization, token: dict[str, str]
) -> None:
    form = {"operations": operations(IMPORT), "map": '{"0": ["variables.input.file"]}'}
    files = {str(number): (f"{number}.csv", b"x" * 400_000) for number in range(3)}

    answer = httpx.post(f"{site.url}/graphql", headers=token, data=form, files=files, timeout=60)

    assert (answer.status_code, site.files()) == (413, [])


def test_two_files_of_one_name_are_refused_and_neither_is_kept(
    site: Serving, organization: Organization, token: dict[str, str]
) -> None:
    form = {"operations": operations(IMPORT), "map": '{"0": ["variables.input.file"]}'}
    files = [("0", ("a.csv", b"first")), ("0", ("b.csv", b"second"))]

    answer = httpx.post(f"{site.url}/graphql", headers=token, data=form, files=files, timeout=60)

    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (400, "BAD_USER_INPUT")
    assert (site.files(), stored(organization)["ImportBatch"]) == ([], 0)


def test_a_server_that_starts_removes_what_a_killed_one_left_and_nothing_else(database: str, tmp_path: Path) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    for name in ("upload-left", "upload-held", "other"):
        (folder / name).write_bytes(b"x")
    with (folder / "upload-held").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        with serving(database, tmp_path) as site:
            assert site.files() == ["uploads/other", "uploads/upload-held"]


@pytest.mark.parametrize("change", ["unknown", "expired"])
def test_a_file_with_a_token_that_is_not_good_is_not_read(
    site: Serving, organization: Organization, change: str
) -> None:
    headers = sign_in(organization, expires_at=timezone.now() - datetime.timedelta(seconds=1))
    if change == "unknown":
        headers = {"authorization": "Bearer dg_" + "u" * 43}
    sent: list[int] = []

    answer = httpx.post(
        f"{site.url}/graphql",
        content=endless_form(sent),
        headers={**headers, "content-type": "multipart/form-data; boundary=B"},
        timeout=60,
    )

    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (401, "UNAUTHENTICATED")
    assert sum(sent) < 100 * PART
    assert (site.files(), stored(organization)["ImportBatch"]) == ([], 0)


def test_a_token_of_another_organization_reaches_nothing_of_the_first(
    site: Serving, organization: Organization, other_organization: Organization, token: dict[str, str]
) -> None:
    batch = payload(send(site, token, HEADER + rows(3)))["importBatch"]["id"]
    stranger = sign_in(other_organization)
    before = stored(organization)

    def ask(query: str, **variables: Any) -> Any:
        body = {"query": query, "variables": variables}
        return httpx.post(f"{site.url}/graphql", json=body, headers=stranger, timeout=60).json()["data"]

    assert ask("query($i: ID!) { node(id: $i) { id } claims { totalCount } }", i=batch) == {
        "node": None,
        "claims": {"totalCount": 0},
    }
    assert ask(ROLLBACK, i={"id": batch}) == {"importRollback": {"userErrors": [{"code": "NOT_FOUND", "path": ["id"]}]}}
    assert payload(send(site, stranger, HEADER + rows(3)))["importBatch"]["id"] != batch
    assert stored(organization) == before


@pytest.mark.parametrize(
    ("content", "path", "message"),
    [
        ("", [], "not JSON"),
        ("{", [], "not JSON"),
        ("[]", [], "not an object"),
        ('{"version": "2.0.0", "runs": []}', ["version"], '"version": "2.1.0"'),
        ('{"version": "2.1.0", "runs": []}', ["runs"], "no run"),
        ('{"version": "2.1.0", "runs": [{"results": []}]}', ["runs", "0"], "schema"),
    ],
)
def test_a_document_that_is_no_sarif_is_refused_by_place_and_leaves_nothing(
    site: Serving, organization: Organization, token: dict[str, str], content: str, path: list[str], message: str
) -> None:
    before = stored(organization)

    found = payload(send(site, token, content, SARIF, kind="EXTERNAL", agent="scanner"))

    [error] = found["userErrors"]
    assert (error["code"], error["path"]) == ("BAD_USER_INPUT", ["file", *path])
    assert message in error["message"]
    assert stored(organization) == before


def test_a_document_sent_again_with_its_header_gives_its_runs_and_another_one_is_a_conflict(
    site: Serving, organization: Organization, token: dict[str, str]
) -> None:
    run = '{"tool": {"driver": {"name": "scanner"}}, "results": []}'
    document = '{"version": "2.1.0", "runs": [%s]}'
    keyed, of = {**token, "idempotency-key": "sarif-1"}, {"kind": "EXTERNAL", "agent": "scanner"}

    first = payload(send(site, keyed, document % f"{run}, {run}", SARIF, **of))
    again = payload(send(site, keyed, document % f"{run}, {run}", SARIF, **of))
    other = payload(send(site, keyed, document % run, SARIF, **of))
    elsewhere = payload(send(site, keyed, document % f"{run}, {run}", SARIF, **of, branch="side"))

    assert len(first["agentRuns"]) == 2
    assert again == first
    for refused in (other, elsewhere):
        assert [error["code"] for error in refused["userErrors"]] == ["IDEMPOTENCY_CONFLICT"]
    assert stored(organization)["AgentRun"] == 2
