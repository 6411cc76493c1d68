"""Texts that identify a person, refused or blotted out wherever text enters."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backend.accounts.free_text import IdentifiesPerson, Screen
from backend.accounts.idempotency import once
from backend.accounts.models import IdempotencyKey, Organization
from backend.accounts.services import token_create
from backend.agents.models import AgentKind, AgentMetric, AgentRun, Conclusion, Finding, FindingState, FindingStatus
from backend.agents.services import (
    FindingInput,
    MetricInput,
    ToolInput,
    agent_run_finish,
    agent_run_import_sarif,
    agent_run_start,
    finding_triage,
)
from backend.claims.models import ImportBatch, ImportIssue
from backend.claims.services import ImportOptions, import_enqueue, import_file
from backend.core.actor import Actor, Right
from backend.core.tenancy import acting_for
from backend.ingestion.files import sanitised_filename
from backend.payers.models import Payer, ProcedureGroup
from backend.payers.services import payer_map
from tests import factories as make

SSN, PERSON = "219-09-9999", "patient Jane Roe"
HEADER = "claim_id,payer,procedure_code,procedure_group,submitted_date,decided_date,outcome\n"


@pytest.fixture
def redacting(organization: Organization) -> Organization:
    organization.phi_policy = "REDACT"
    organization.save(update_fields=["phi_policy"])
    return organization


def _run(actor: Actor) -> uuid.UUID:
    return agent_run_start(actor=actor, kind=AgentKind.EXTERNAL, name="scanner").id


def _finding(**texts: Any) -> FindingInput:
    return FindingInput(**{"rule": "R1", "tool": "t", "severity": 2, "title": "A title", **texts})


def _finish(actor: Actor, **parts: Any) -> AgentRun:
    return agent_run_finish(actor=actor, run_id=_run(actor), conclusion=Conclusion.FAIL, **parts)


def _sarif(**run: Any) -> bytes:
    base = {"tool": {"driver": {"name": "t"}}, "results": [{"message": {"text": f"holds {SSN}"}, "ruleId": "R1"}]}
    return orjson.dumps({"version": "2.1.0", "runs": [base | run]})


def _import_sarif(actor: Actor, document: bytes = b"", **values: Any) -> tuple[AgentRun, ...]:
    return agent_run_import_sarif(
        actor=actor, document=document or _sarif(), **{"kind": AgentKind.EXTERNAL, "name": "t", **values}
    )


def _triage(actor: Actor, organization: Organization) -> Any:
    with acting_for(organization.id):
        run = make.agent_run(make.agent(organization))
        state = make.finding_state(make.finding(run), run)
    return finding_triage(
        actor=actor,
        agent_id=state.agent_id,
        fingerprint=state.fingerprint,
        status=FindingStatus.ACKNOWLEDGED,
        justification=f"{PERSON} was told",
    )


ENTRIES: dict[str, tuple[tuple[str, ...], Callable[[Actor], object]]] = {
    "agent": (("agent",), lambda a: agent_run_start(actor=a, kind=AgentKind.EXTERNAL, name=f"x {SSN}")),
    "version": (("version",), lambda a: agent_run_start(actor=a, kind=AgentKind.EXTERNAL, name="x", version=SSN)),
    "branch": (("branch",), lambda a: agent_run_start(actor=a, kind=AgentKind.EXTERNAL, name="x", branch=SSN)),
    "trace": (
        ("external_trace_url",),
        lambda a: agent_run_start(actor=a, kind=AgentKind.EXTERNAL, name="x", external_trace_url=f"https://x.org/{SSN}"),
    ),
    "title": (("findings", "1", "title"), lambda a: _finish(a, findings=[_finding(), _finding(title=PERSON)])),
    "message": (("findings", "0", "message"), lambda a: _finish(a, findings=[_finding(message=f"log has {PERSON}")])),
    "rule": (("findings", "0", "rule"), lambda a: _finish(a, findings=[_finding(rule=SSN)])),
    "tool": (("findings", "0", "tool"), lambda a: _finish(a, findings=[_finding(tool=SSN)])),
    "category": (("findings", "0", "category"), lambda a: _finish(a, findings=[_finding(category=SSN)])),
    "path": (("findings", "0", "path"), lambda a: _finish(a, findings=[_finding(path="tests/patient_Jane_Roe.csv")])),
    "help": (("findings", "0", "help_uri"), lambda a: _finish(a, findings=[_finding(help_uri=f"https://x.org/{SSN}")])),
    "metric": (("metrics", "0", "name"), lambda a: _finish(a, metrics=[MetricInput(f"rows {SSN}", 1.0), ])),
    "unit": (("metrics", "0", "unit"), lambda a: _finish(a, metrics=[MetricInput("rows", 1.0, unit=SSN)])),
    "tool name": (("tools", "0", "name"), lambda a: _finish(a, tools=[ToolInput(SSN)])),
    "tool version": (("tools", "0", "version"), lambda a: _finish(a, tools=[ToolInput("t", SSN)])),
    "sarif": (("file", "runs", "0", "findings", "0", "title"), _import_sarif),
    "sarif branch": (
        ("file", "runs", "0", "branch"),
        lambda a: _import_sarif(
            a, _sarif(results=[], versionControlProvenance=[{"repositoryUri": "https://x.org", "branch": SSN}])
        ),
    ),
    "sarif agent": (("agent",), lambda a: _import_sarif(a, _sarif(results=[]), name=f"t {SSN}")),
    "payer name": (("raw_name",), lambda a: payer_map(actor=a, raw_name=f"Acme {SSN}", payer_code="acme")),
    "payer code": (("payer_code",), lambda a: payer_map(actor=a, raw_name="Acme", payer_code=SSN)),
    "token": (
        ("name",),
        lambda a: token_create(
            actor=a, name=f"x {SSN}", scopes=[Right.READ], expires_at=timezone.now() + timedelta(days=1)
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_text_that_identifies_a_person_is_refused_with_its_place(actor: Actor, entry: str) -> None:
    path, send = ENTRIES[entry]

    with pytest.raises(IdentifiesPerson) as refused:
        send(actor)

    assert refused.value.path == path
    assert "phi_policy" in refused.value.message
    assert SSN not in refused.value.message
    assert "Jane" not in refused.value.message


def test_a_triage_note_that_identifies_a_person_is_refused(actor: Actor, organization: Organization) -> None:
    with pytest.raises(IdentifiesPerson) as refused:
        _triage(actor, organization)

    assert refused.value.path == ("justification",)


def test_an_organization_that_redacts_keeps_the_rest_of_every_text(actor: Actor, redacting: Organization) -> None:
    findings = [_finding(title=f"Log holds {PERSON}", message=f"Number {SSN}", path="tests/patient_Jane_Roe.csv")]

    run = _finish(actor, findings=findings, metrics=[MetricInput(f"rows {SSN}", 1.0)], tools=[ToolInput(f"t {SSN}")])
    state = _triage(actor, redacting)
    [imported] = _import_sarif(actor)

    with acting_for(redacting.id):
        kept = Finding.objects.get(run=run)
        assert (kept.title, kept.message) == ("Log holds patient [NAME]", "Number [SSN]")
        assert kept.path == "tests/patient_[NAME].csv"
        assert FindingState.objects.get(id=state.id).justification == "patient [NAME] was told"
        assert AgentMetric.objects.get(run=run).name == "rows [SSN]"
        assert run.tools[0]["name"] == "t [SSN]"
        assert Finding.objects.get(run=imported).message == "holds [SSN]"


def test_a_clean_text_costs_no_statement_and_a_found_one_a_single_statement(
    actor: Actor, redacting: Organization
) -> None:
    screen = Screen(actor)

    with CaptureQueriesContext(connection) as clean:
        assert screen.of("Payer changed its edits") == "Payer changed its edits"
    with CaptureQueriesContext(connection) as found:
        assert [screen.of(f"{number} {SSN}") for number in range(3)] == ["0 [SSN]", "1 [SSN]", "2 [SSN]"]

    assert (len(clean), len(found)) == (0, 1)


def _file(folder: Path, name: str, *rows: str) -> Path:
    path = folder / name
    path.write_text(HEADER + "\n".join(rows or ("C1,Acme,99213,,2026-01-05,2026-01-20,PAID",)) + "\n")
    return path


@pytest.mark.parametrize("name", ["patient_Jane_Roe.csv", f"claims {SSN}.csv", "Roe, Jane.csv"])
def test_the_name_of_a_file_is_screened(actor: Actor, tmp_path: Path, name: str) -> None:
    for send in (import_file, import_enqueue):
        with pytest.raises(IdentifiesPerson) as refused:
            send(actor=actor, path=_file(tmp_path, name), options=ImportOptions())
        assert refused.value.path == ("file",)
    options = ImportOptions(original_filename=name)
    with pytest.raises(IdentifiesPerson):
        import_file(actor=actor, path=_file(tmp_path, "ok.csv"), options=options)

    with acting_for(actor.organization_id):
        assert not ImportBatch.objects.exists()


def test_an_organization_that_redacts_takes_the_file_under_a_name_without_the_person(
    actor: Actor, redacting: Organization, tmp_path: Path
) -> None:
    path = _file(tmp_path, "patient_Jane_Roe.csv")

    batch = import_file(actor=actor, path=path, options=ImportOptions()).batch

    # Not even the hash is that of the person's name.
    assert batch.filename == sanitised_filename("patient_[NAME].csv")
    assert batch.filename != sanitised_filename("patient_Jane_Roe.csv")


def test_headers_that_a_mapping_names_are_screened(actor: Actor, tmp_path: Path) -> None:
    with pytest.raises(IdentifiesPerson) as refused:
        import_file(actor=actor, path=_file(tmp_path, "a.csv"), options=ImportOptions(columns={"payer": PERSON}))

    assert refused.value.path == ("columns",)


def test_a_file_names_no_person_as_payer_or_group(actor: Actor, tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        "claims.csv",
        "C1,Acme,99213,Imaging,2026-01-05,2026-01-20,PAID",
        f"C2,Acme {SSN},99213,,2026-01-05,2026-01-20,PAID",
        f"C3,Acme,99214,{PERSON},2026-01-05,2026-01-20,PAID",
        *(f"D{n},Acme,99213,,2026-01-05,2026-01-20,PAID" for n in range(5)),
    )

    batch = import_file(actor=actor, path=path, options=ImportOptions()).batch

    with acting_for(actor.organization_id):
        rules = list(
            ImportIssue.objects.filter(batch=batch).order_by("row_no", "id").values_list("row_no", "rule_code")
        )
        assert (3, "E004") in rules
        assert (4, "W102") in rules
        assert [payer.name for payer in Payer.objects.all()] == ["Acme"]
        assert sorted(ProcedureGroup.objects.values_list("code", flat=True)) == ["Imaging", "OTHER"]


@pytest.mark.parametrize("key", [f"ssn {SSN}", "patient_Jane_Smith_MRN_77120094", f"import-{SSN}-retry"])
def test_an_idempotency_key_that_identifies_a_person_works_and_is_kept_as_a_hash(actor: Actor, key: str) -> None:
    done: list[int] = []

    def work() -> dict[str, Any]:
        done.append(1)
        return {"n": len(done)}

    answers = [once(actor=actor, key=key, request_hash=b"h" * 32, work=work) for _ in range(2)]

    assert (answers, len(done)) == ([{"n": 1}, {"n": 1}], 1)
    with acting_for(actor.organization_id):
        assert len(IdempotencyKey.objects.get().key) == 64
