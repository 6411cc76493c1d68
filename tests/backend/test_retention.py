"""What is past its time goes, what is not stays, and whatever refers to something goes before it."""

import datetime
import uuid
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import models

from backend.accounts.models import Organization
from backend.agents.models import AgentMetric, AgentRun, Finding, FindingState
from backend.alerts.models import Alert
from backend.audit.models import AuditEntry
from backend.claims.models import Claim, ImportBatch, ImportIssue, OutcomeCount, QualityReport
from backend.core.actor import Actor, Role
from backend.core.errors import Forbidden
from backend.core.ids import uuid7, uuid7_floor
from backend.core.tenancy import acting_for
from backend.drift.models import DetectionRun, DriftEvent, DriftObservation, DriftTest
from backend.retention import services
from backend.retention.services import retention_due, retention_run
from tests import factories as make

NOW = datetime.datetime.now(datetime.UTC)
TABLES: tuple[type[models.Model], ...] = (
    ImportIssue, Claim, OutcomeCount, DriftTest, Alert, DriftObservation, DriftEvent, DetectionRun, FindingState,
    Finding, AgentMetric, AgentRun,
)  # fmt: skip


def made(days: int) -> dict[str, uuid.UUID]:
    """The id of a row that was made so many days ago."""
    return {"id": uuid.UUID(int=uuid7_floor(NOW - datetime.timedelta(days=days)).int | uuid7().int & (1 << 60) - 1)}


def day(days: int) -> datetime.date:
    return (NOW - datetime.timedelta(days=days)).date()


def rows(organization: Organization) -> dict[str, int]:
    with acting_for(organization.id):
        return {model._meta.db_table: model.objects.count() for model in TABLES}


def fill(organization: Organization, age: Callable[[int], int], number: int) -> None:
    """A row in every table, as old as `age` makes of its period in days."""
    claims, tests, agents, drift = age(760), age(90), age(400), age(2190)
    with acting_for(organization.id):
        of, sorted_into = make.payer(organization, f"p{number}"), make.group(organization, f"g{number}")
        code, source = make.procedure(organization, sorted_into, f"9921{number}"), make.batch(organization, f"{number}")
        for version, superseded in ((1, NOW), (2, None)):
            dates: dict[str, Any] = {"submitted_on": day(claims + 20), "decided_on": day(claims)}
            make.claim(of, code, source, number, **dates, version=version, superseded_at=superseded)
        ImportIssue.objects.filter(id=make.import_issue(source).id).update(**made(claims))
        OutcomeCount.objects.create(
            organization=organization, payer=of, procedure_code=code, group=sorted_into, measure="CLAIM_DENIAL",
            period_start=day(drift + 30), period_end=day(drift), total=2, favourable=1, batch=source, source_row_no=2,
        )  # fmt: skip
        run = make.detection_run(organization, day(drift), **made(drift))
        ended: dict[str, Any] = {"status": "RESOLVED", "ended_on": day(drift)}
        event = make.drift_event(of, run, **ended)
        make.drift_event(of, run, drift_type="PAYMENT_AMOUNT", parent=event, **ended)
        make.drift_observation(event, run)
        make.alert(event, make.alert_rule(organization, f"r{number}"))
        newest = make.detection_run(organization, day(0), data_watermark=f"{number}")
        make.drift_test(of, newest, **made(tests))
        auditor = make.agent(organization, f"a{number}")
        execution = make.agent_run(auditor, **made(agents))
        make.agent_run(auditor, baseline_run=execution)
        reported = make.finding(execution)
        seen = NOW - datetime.timedelta(days=agents)
        make.finding_state(reported, execution, status="FIXED", last_seen_at=seen)
        make.agent_metric(execution)


def test_each_row_goes_after_its_period_and_none_before(actor: Actor, organization: Organization) -> None:
    fill(organization, lambda days: days + 1, 1)
    fill(organization, lambda days: days - 1, 2)
    before, due = rows(organization), retention_due(actor=actor)

    assert retention_run(actor=actor) == due

    assert due == {
        "import_issue": 1, "claim": 2, "outcome_count": 1, "drift_test": 1, "alert": 1, "drift_observation": 1,
        "drift_event": 2, "detection_run": 1, "finding_state": 1, "finding": 1, "agent_metric": 1, "agent_run": 1,
    }  # fmt: skip
    assert rows(organization) == {table: before[table] - number for table, number in due.items()}
    assert set(retention_run(actor=actor).values()) == {0}
    with acting_for(organization.id):
        assert Claim.objects.filter(superseded_at=None).count() == 1
        assert ImportBatch.objects.count() == 2


def test_batches_are_small_and_an_interrupted_run_is_taken_up(
    actor: Actor, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(organization, lambda days: days + 1, 1)
    with acting_for(organization.id):
        run = DetectionRun.objects.latest("id")
        others = [make.payer(organization, f"x{number}") for number in range(5)]
        for of in others:
            make.drift_test(of, run, **made(100))
    remove, seen = services._remove, []

    def stop(actor: Actor, expiry: Any, *rest: Any) -> Any:
        seen.append(expiry.table)
        if seen.count("drift_test") == 3:
            raise ConnectionError
        return remove(actor, expiry, *rest)

    monkeypatch.setattr(services, "_remove", stop)
    with pytest.raises(ConnectionError):
        retention_run(actor=actor, rows_at_once=2)
    monkeypatch.setattr(services, "_remove", remove)

    assert retention_due(actor=actor)["drift_test"] == 2
    assert retention_run(actor=actor, rows_at_once=2)["drift_test"] == 2
    with acting_for(organization.id):
        entries = AuditEntry.objects.filter(action="retention.remove").order_by("at")
        told = [(entry.outcome, "drift_test=4" in entry.fields, "drift_test=2" in entry.fields) for entry in entries]
        batches = AuditEntry.objects.filter(action="delete", object_type="drift_test").order_by("at")
        assert [entry.object_count for entry in batches] == [2, 2, 2]
    assert told == [("ERROR", True, False), ("OK", False, True)]


def test_what_is_not_over_keeps_what_it_refers_to(actor: Actor, organization: Organization) -> None:
    with acting_for(organization.id):
        of = make.payer(organization)
        run = make.detection_run(organization, **made(3000))
        make.drift_event(of, run)
        execution = make.agent_run(make.agent(organization), **made(500))
        reported = make.finding(execution)
        make.finding(execution, "two")
        make.finding_state(reported, execution, last_seen_at=NOW - datetime.timedelta(days=500))
        code = make.procedure(organization, make.group(organization))
        make.claim(of, code, make.batch(organization), 1, submitted_on=day(900), decided_on=day(10))

    removed = retention_run(actor=actor)

    assert {table: number for table, number in removed.items() if number} == {"finding": 1}
    with acting_for(organization.id):
        assert Finding.objects.get().id == reported.id


def test_an_organization_can_keep_claims_longer(actor: Actor, organization: Organization) -> None:
    fill(organization, lambda days: days + 1, 1)
    Organization.objects.filter(id=organization.id).update(retention_days=1000)

    assert retention_due(actor=actor)["claim"] == 0


def test_nothing_of_another_organization_is_touched(
    actor: Actor, organization: Organization, other_organization: Organization
) -> None:
    fill(other_organization, lambda days: days + 1, 1)
    before = rows(other_organization)

    assert set(retention_run(actor=actor).values()) == {0}

    assert rows(other_organization) == before


def test_the_command_prints_the_same_table_dry_or_not(organization: Organization) -> None:
    fill(organization, lambda days: days + 1, 1)
    printed = []

    for words in (["--dry-run"], []):
        out = StringIO()
        call_command("retention", "--organization", organization.name, *words, stdout=out)
        lines = [line.split("│")[1:3] for line in out.getvalue().splitlines() if "│" in line]
        printed.append([(table.strip(), number.strip()) for table, number in lines])

    assert printed[0] == printed[1]
    assert printed[0][1] == ("claim", "2")
    with pytest.raises(CommandError, match="no organization"):
        call_command("retention", "--organization", "nobody")


def test_the_trail_itself_and_reports_of_imports_stay(actor: Actor, organization: Organization) -> None:
    with acting_for(organization.id):
        make.quality_report(make.batch(organization, **made(5000)), **made(5000))
        before = AuditEntry.objects.count()

    retention_run(actor=actor)

    with acting_for(organization.id):
        assert QualityReport.objects.count() == ImportBatch.objects.count() == 1
        assert AuditEntry.objects.count() == before + 1


def test_only_the_owner_may(actor_as: Callable[[Role], Actor]) -> None:
    for role in set(Role) - {Role.OWNER}:
        for act in (retention_due, retention_run):
            with pytest.raises(Forbidden):
                act(actor=actor_as(role))
