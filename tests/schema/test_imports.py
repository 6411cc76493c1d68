"""Files through the API: claims as CSV and X12, the same file twice, refused files, rollback, mapping, detection."""

import dataclasses
import datetime
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backend.accounts.models import Organization
from backend.audit.models import AuditEntry
from backend.core.actor import Actor, Right, Role
from backend.core.tenancy import acting_for
from schema.http.upload import UploadedFile
from tests import server
from tests.api import Api
from tests.threads import in_thread

HEADER = "claim_id,payer,procedure_code,submitted_date,decided_date,outcome,billed_amount,denial_code\n"
IMPORT = """mutation($input: ClaimsImportInput!) { claimsImport(input: $input) {
  importBatch { id status kind rowsTotal rowsAccepted rowsDuplicate rowsRejected
    issues(first: 10) { totalCount nodes { rowNo rule column severity message } } }
  duplicateOf { id } userErrors { code message path } } }"""
COUNTS = "{ claims { totalCount } importBatches { totalCount } payers { totalCount } }"


def _upload(tmp_path: Path, content: bytes | str, name: str = "claims.csv") -> UploadedFile:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return UploadedFile(name=name, path=path)


def _rows(count: int, outcome: str = "PAID") -> str:
    day = datetime.date(2026, 1, 5)
    decided = day + datetime.timedelta(days=9)
    return "".join(f"C{n},Acme,99213,{day},{decided},{outcome},100.00,\n" for n in range(count))


async def _import(api: Api, file: UploadedFile, **values: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await api.data(IMPORT, input={"file": file, **values}))["claimsImport"]
    return found


async def test_the_same_file_twice_is_the_same_batch(api: Api, tmp_path: Path) -> None:
    file = _upload(tmp_path, HEADER + _rows(5))

    first = await _import(api, file)
    again = await _import(api, file)

    assert first["userErrors"] == []
    assert (first["importBatch"]["status"], first["importBatch"]["rowsAccepted"]) == ("LOADED", 5)
    assert again["importBatch"]["id"] == first["importBatch"]["id"]
    assert again["duplicateOf"] == {"id": first["importBatch"]["id"]}
    assert await api.data(COUNTS) == {
        "claims": {"totalCount": 5},
        "importBatches": {"totalCount": 1},
        "payers": {"totalCount": 1},
    }


async def test_a_token_that_may_only_import_sees_its_batch_and_no_claim(
    organization: Organization, api: Api, tmp_path: Path
) -> None:
    scopes = frozenset({Right.IMPORT})
    token = api.as_(Actor(organization_id=organization.id, role=Role.SERVICE, token_id=uuid.uuid4(), scopes=scopes))

    batch = (await _import(token, _upload(tmp_path, HEADER + _rows(5))))["importBatch"]
    listed = await token.data(
        "{ importBatches { nodes { id status issues { totalCount } } } dataQuality { nodes { score batch { id } } } }"
    )

    (found,) = listed["importBatches"]["nodes"]
    assert (found["id"], found["status"]) == (batch["id"], "LOADED")
    assert [report["batch"]["id"] for report in listed["dataQuality"]["nodes"]] == [batch["id"]]
    assert (await token("{ claims { totalCount } }")).codes == ["FORBIDDEN"]


async def test_a_dry_run_keeps_nothing(api: Api, tmp_path: Path) -> None:
    found = await _import(api, _upload(tmp_path, HEADER + _rows(3)), dryRun=True)

    assert found["importBatch"]["rowsAccepted"] == 3
    assert (await api.data(COUNTS))["claims"]["totalCount"] == 0
    assert (await api.data(COUNTS))["importBatches"]["totalCount"] == 0


async def test_a_dry_run_is_recorded_since_it_tells_which_lines_there_are(
    api: Api, organization: Organization, tmp_path: Path
) -> None:
    await _import(api, _upload(tmp_path, HEADER + _rows(3)))
    who = Actor(organization_id=organization.id, role=Role.ANALYST, user_id=uuid.uuid4(), request_id="r1")

    again = await _import(api.as_(who), _upload(tmp_path, HEADER + _rows(3) + "\n"), dryRun=True)

    def entries() -> list[tuple[Any, ...]]:
        with acting_for(organization.id):
            kept = ("action", "object_type", "object_count", "fields_phi", "outcome", "request_id")
            return list(AuditEntry.objects.filter(actor_id=who.user_id).exclude(action="read").values_list(*kept))

    assert again["importBatch"]["rowsDuplicate"] == 3
    assert await in_thread(entries) == [("claims.import_dry_run", "claim", 3, True, "OK", "r1")]


async def test_a_dry_run_needs_a_purpose_where_claim_lines_do(
    api: Api, organization: Organization, tmp_path: Path
) -> None:
    await in_thread(lambda: Organization.objects.filter(id=organization.id).update(purpose_required=True))
    who = Actor(organization_id=organization.id, role=Role.ANALYST, user_id=uuid.uuid4())
    asked = {"input": {"file": _upload(tmp_path, HEADER + _rows(3)), "dryRun": True}}

    without = await api.as_(who)(IMPORT, **asked)
    given = await api.as_(dataclasses.replace(who, purpose="PAYMENT"))(IMPORT, **asked)

    def entries() -> list[tuple[Any, ...]]:
        with acting_for(organization.id):
            found = AuditEntry.objects.filter(action="claims.import_dry_run").order_by("id")
            return list(found.values_list("outcome", "purpose"))

    assert (without.codes, "rowsAccepted" in str(without.data)) == (["FORBIDDEN"], False)
    assert (given.codes, given.data["claimsImport"]["importBatch"]["rowsAccepted"]) == ([], 3)
    assert await in_thread(entries) == [("DENIED", ""), ("OK", "PAYMENT")]


async def test_a_dry_run_tells_nothing_without_its_entry(api: Api, database: str, tmp_path: Path) -> None:
    with psycopg.connect(server.url("postgres", database), autocommit=True) as superuser:
        superuser.execute(
            "CREATE FUNCTION no_entry() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'full'; END $$"
        )
        superuser.execute(
            "CREATE TRIGGER no_entry BEFORE INSERT ON audit_entry FOR EACH ROW"
            " WHEN (NEW.action = 'claims.import_dry_run') EXECUTE FUNCTION no_entry()"
        )
        try:
            answer = await api(IMPORT, input={"file": _upload(tmp_path, HEADER + _rows(3)), "dryRun": True})
        finally:
            superuser.execute("DROP FUNCTION no_entry CASCADE")

    assert answer.codes == ["READ_ONLY"]
    assert "rowsAccepted" not in str(answer.data)


async def test_issues_name_the_rule_and_never_the_value(api: Api, tmp_path: Path) -> None:
    bad = "SECRET77,Acme,99213,2026-01-05,2026-01-01,PAID,100.00,\n"

    found = await _import(api, _upload(tmp_path, HEADER + _rows(20) + bad))

    batch = found["importBatch"]
    assert (batch["status"], batch["rowsRejected"]) == ("PARTIAL", 1)
    errors = [issue for issue in batch["issues"]["nodes"] if issue["severity"] == "ERROR"]
    assert [(issue["rule"], issue["rowNo"]) for issue in errors] == [("E011", 22)]
    assert "SECRET77" not in str(found)


@pytest.mark.parametrize(
    "content",
    ["", "claim_id,payer\n1,2\n", HEADER.replace("payer", "claim_id"), b"\x00\x01\x02", b"ISA*00*broken"],
    ids=["empty", "missing-columns", "duplicate-column", "binary", "broken-envelope"],
)
async def test_a_refused_file_leaves_nothing_but_a_clear_error(api: Api, tmp_path: Path, content: bytes | str) -> None:
    answer = await api(IMPORT, input={"file": _upload(tmp_path, content)})

    assert answer.errors == []
    payload = answer.data["claimsImport"]
    status = (payload["importBatch"] or {}).get("status")
    assert payload["userErrors"] or status in ("FAILED", "REJECTED")
    assert (await api.data(COUNTS))["claims"]["totalCount"] == 0


async def test_an_import_is_taken_back(api: Api, tmp_path: Path) -> None:
    batch = (await _import(api, _upload(tmp_path, HEADER + _rows(4))))["importBatch"]

    data = await api.data(
        "mutation($i: ImportRollbackInput!) { importRollback(input: $i) {"
        " importBatch { status } userErrors { code } } }",
        i={"id": batch["id"]},
    )

    assert data["importRollback"] == {"importBatch": {"status": "ROLLED_BACK"}, "userErrors": []}
    assert (await api.data(COUNTS))["claims"]["totalCount"] == 0


async def test_a_name_is_mapped_to_a_payer(api: Api, tmp_path: Path) -> None:
    await _import(api, _upload(tmp_path, HEADER + _rows(4)))

    data = await api.data(
        "mutation($i: PayerMapInput!) { payerMap(input: $i) {"
        " payer { code mapped } claimsMoved userErrors { code } } }",
        i={"rawName": "ACME", "payerCode": "ACME-1"},
    )

    assert data["payerMap"] == {"payer": {"code": "acme-1", "mapped": True}, "claimsMoved": 4, "userErrors": []}
    of_payer = await api.data('{ claims(filter: {payer: {code: {eq: "ACME-1"}}}) { totalCount } }')
    assert of_payer["claims"]["totalCount"] == 4


async def test_a_detection_run_is_started_once(api: Api, tmp_path: Path) -> None:
    await _import(api, _upload(tmp_path, HEADER + _rows(4)))
    start = """mutation($i: DetectionRunStartInput!) { detectionRunStart(input: $i) {
      created detectionRun { id status asOf q } userErrors { code path } } }"""

    first = (await api.data(start, i={"asOf": "2026-02-01"}))["detectionRunStart"]
    again = (await api.data(start, i={"asOf": "2026-02-01"}))["detectionRunStart"]
    other = (await api.data(start, i={"asOf": "2026-02-01", "config": {"q": 0.1}}))["detectionRunStart"]
    wrong = (await api.data(start, i={"asOf": "2026-02-01", "config": {"q": 7}}))["detectionRunStart"]

    assert first["created"] is True
    assert first["detectionRun"]["status"] == "QUEUED"
    assert (again["created"], again["detectionRun"]["id"]) == (False, first["detectionRun"]["id"])
    assert other["detectionRun"]["id"] != first["detectionRun"]["id"]
    assert wrong["userErrors"][0]["code"] == "BAD_USER_INPUT"


async def test_an_auditor_may_not_import(api: Api, organization: Organization, tmp_path: Path) -> None:
    auditor = Actor(organization_id=organization.id, role=Role.AUDITOR)

    answer = await api.as_(auditor)(IMPORT, input={"file": _upload(tmp_path, HEADER)})

    assert answer.codes == ["FORBIDDEN"]
