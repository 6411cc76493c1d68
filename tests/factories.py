"""Rows with sane values for tests. Call them inside `acting_for(organization.id)`."""

import datetime
import hashlib
import uuid
from typing import Any

from backend.accounts.models import Organization
from backend.agents.models import Agent, AgentMetric, AgentRun, Finding, FindingState
from backend.alerts.models import Alert, AlertRule
from backend.audit.models import AuditEntry
from backend.claims.models import Claim, ImportBatch, ImportIssue, QualityReport
from backend.core.actor import Actor, Role
from backend.core.tenancy import acting_for
from backend.drift.models import DetectionRun, DriftEvent, DriftObservation, DriftTest
from backend.payers.models import Payer, ProcedureCode, ProcedureGroup

DAY = datetime.date(2026, 3, 1)
NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def payer(organization: Organization, code: str = "acme", **values: Any) -> Payer:
    return Payer.objects.create(**{"organization": organization, "code": code, "name": code.title(), **values})


def group(organization: Organization, code: str = "imaging") -> ProcedureGroup:
    return ProcedureGroup.objects.create(organization=organization, code=code, name=code.title())


def procedure(organization: Organization, of: ProcedureGroup, code: str = "99213") -> ProcedureCode:
    return ProcedureCode.objects.create(organization=organization, code=code, system="CPT", group=of)


def batch(organization: Organization, name: str = "one", **values: Any) -> ImportBatch:
    defaults = {"kind": "CSV", "filename": "0.csv", "file_sha256": digest(name), "file_bytes": 1, "status": "LOADED"}
    return ImportBatch.objects.create(organization=organization, **{**defaults, **values})


def claim(of: Payer, code: ProcedureCode, source: ImportBatch, number: int, **values: Any) -> Claim:
    defaults: dict[str, Any] = {
        "claim_key": digest(str(number))[:16],
        "line_no": 1,
        "submitted_on": DAY,
        "decided_on": DAY + datetime.timedelta(days=10),
        "outcome": "PAID",
        "billed_cents": 10_000,
        "source_row_no": number,
        "row_sha256": digest(str(number)),
    }
    return Claim.objects.create(
        organization_id=of.organization_id,
        payer=of,
        procedure_code=code,
        group_id=code.group_id,
        batch=source,
        **{**defaults, **values},
    )


def detection_run(organization: Organization, as_of: datetime.date = DAY, **values: Any) -> DetectionRun:
    defaults = {
        "as_of": as_of,
        "kind": "MANUAL",
        "config": {},
        "config_hash": digest("config"),
        "data_watermark": "w",
        "status": "SUCCEEDED",
        "q": 0.05,
    }
    return DetectionRun.objects.create(organization=organization, **{**defaults, **values})


_MEASURED: dict[str, Any] = {
    "baseline_value": 0.1,
    "current_value": 0.2,
    "delta": 0.1,
    "ci_low": 0.05,
    "ci_high": 0.15,
    "q_value": 0.001,
    "confidence": 0.999,
    "severity": 2,
    "severity_score": 0.4,
    "n0": 1000,
    "n1": 300,
    "baseline_start": datetime.date(2025, 11, 1),
    "baseline_end": datetime.date(2026, 1, 31),
    "current_start": datetime.date(2026, 2, 1),
    "current_end": datetime.date(2026, 2, 28),
}


def drift_event(of: Payer, run: DetectionRun, **values: Any) -> DriftEvent:
    defaults: dict[str, Any] = {
        "drift_type": "DENIAL_RATE",
        "source": "CLAIMS",
        "direction": "UP",
        "harmful": True,
        "status": "CONFIRMED",
        "unit": "RATE",
        "first_run": run,
        "last_run": run,
        "first_seen_on": run.as_of,
        "last_seen_on": run.as_of,
    }
    return DriftEvent.objects.create(
        organization_id=of.organization_id, payer=of, **{**_MEASURED, **defaults, **values}
    )


def drift_observation(of: DriftEvent, run: DetectionRun, **values: Any) -> DriftObservation:
    return DriftObservation.objects.create(
        organization_id=of.organization_id, event=of, run=run, as_of=run.as_of, **{**_MEASURED, **values}
    )


def drift_test(of: Payer, run: DetectionRun, **values: Any) -> DriftTest:
    defaults: dict[str, Any] = {
        "drift_type": "DENIAL_RATE",
        "level": "PAYER",
        "window_days": 28,
        "n0": 100,
        "n1": 50,
        "x0": 10,
        "x1": 5,
        "q_value": 0.5,
        "reason_not_flagged": "FDR",
    }
    return DriftTest.objects.create(organization_id=of.organization_id, payer=of, run=run, **{**defaults, **values})


def agent(organization: Organization, name: str = "ruff", kind: str = "CODE_QUALITY") -> Agent:
    return Agent.objects.create(organization=organization, name=name, kind=kind)


def agent_run(of: Agent, started_at: datetime.datetime = NOW, **values: Any) -> AgentRun:
    defaults: dict[str, Any] = {
        "trigger": "CI",
        "status": "SUCCEEDED",
        "conclusion": "PASS",
        "started_at": started_at,
        "finished_at": started_at + datetime.timedelta(seconds=3),
    }
    return AgentRun.objects.create(organization_id=of.organization_id, agent=of, **{**defaults, **values})


def finding(of: AgentRun, name: str = "one", **values: Any) -> Finding:
    defaults: dict[str, Any] = {
        "fingerprint": digest(name),
        "rule": "S608",
        "tool": "ruff",
        "severity": 3,
        "title": "SQL injection",
        "message": "SQL injection",
        "path": "app/api/views.py",
    }
    return Finding.objects.create(organization_id=of.organization_id, run=of, **{**defaults, **values})


def finding_state(of: Finding, run: AgentRun, **values: Any) -> FindingState:
    defaults: dict[str, Any] = {
        "fingerprint": of.fingerprint,
        "severity": of.severity,
        "rule": of.rule,
        "path": of.path,
        "first_seen_at": run.started_at,
        "last_seen_at": run.started_at,
    }
    return FindingState.objects.create(
        organization_id=of.organization_id,
        agent_id=run.agent_id,
        first_seen_run=run,
        last_seen_run=run,
        latest_finding=of,
        **{**defaults, **values},
    )


def agent_metric(of: AgentRun, name: str = "coverage.line", **values: Any) -> AgentMetric:
    return AgentMetric.objects.create(organization_id=of.organization_id, run=of, name=name, **{"value": 0.9, **values})


def import_issue(of: ImportBatch, row_no: int = 2) -> ImportIssue:
    return ImportIssue.objects.create(
        organization_id=of.organization_id,
        batch=of,
        row_no=row_no,
        rule_code="E010",
        severity="ERROR",
        message="No date.",
    )


def quality_report(of: ImportBatch, **values: Any) -> QualityReport:
    defaults: dict[str, Any] = {
        "score": 0.9,
        "completeness": {"claim_id": 1.0},
        "rule_counts": {"E010": 2},
        "duplicate_rate": 0.0,
        "lag_stats": {},
    }
    return QualityReport.objects.create(organization_id=of.organization_id, batch=of, **{**defaults, **values})


def alert_rule(organization: Organization, name: str = "Any") -> AlertRule:
    return AlertRule.objects.create(organization=organization, name=name)


def alert(of: DriftEvent, rule: AlertRule) -> Alert:
    return Alert.objects.create(organization_id=of.organization_id, event=of, rule=rule, severity=of.severity)


def owner(organization: Organization) -> Actor:
    return Actor(organization_id=organization.id, role=Role.OWNER, request_id="test")


def every_node(organization: Organization) -> dict[str, uuid.UUID]:
    """The keys of one row of every type that has a global id, by the type's tag; sets the organization itself."""
    with acting_for(organization.id):
        of, sorted_into = payer(organization), group(organization)
        code, source = procedure(organization, sorted_into), batch(organization)
        run = detection_run(organization)
        event = drift_event(of, run)
        auditor = agent(organization)
        execution = agent_run(auditor)
        reported = finding(execution)
        rows: dict[str, Any] = {
            "PY": of,
            "PG": sorted_into,
            "PC": code,
            "IB": source,
            "CL": claim(of, code, source, 1),
            "DR": run,
            "DE": event,
            "DT": drift_test(of, run),
            "DO": drift_observation(event, run),
            "AG": auditor,
            "RU": execution,
            "FI": reported,
            "FS": finding_state(reported, execution),
            "AM": agent_metric(execution),
            "II": import_issue(source),
            "QR": quality_report(source),
            "AR": (rule := alert_rule(organization)),
            "AL": alert(event, rule),
            "AE": AuditEntry.objects.earliest("at"),
        }
        return {tag: row.pk for tag, row in rows.items()}
