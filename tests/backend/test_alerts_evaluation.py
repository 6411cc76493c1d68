"""Rules and live events: what is alerted, what stays quiet, what ends; nothing twice."""

from datetime import date, timedelta
from typing import Any

import pytest
from drift_claims import seed_codes

from backend.accounts.models import Organization
from backend.accounts.services import organization_create
from backend.alerts.models import Alert, AlertRule, AlertStatus
from backend.alerts.services import DEFAULT_RULE, NESTED, AlertsEvaluated, alert_rule_default, alerts_evaluate
from backend.core.actor import Actor, Role
from backend.core.errors import Forbidden
from backend.core.tenancy import acting_for
from backend.drift.models import DetectionRun, DriftEvent, EventStatus, RunKind, RunStatus, Severity, Source
from backend.payers.models import Payer

DAY = date(2025, 6, 1)


@pytest.fixture
def run(organization: Organization) -> DetectionRun:
    with acting_for(organization.id):
        return DetectionRun.objects.create(
            organization=organization, as_of=DAY, kind=RunKind.SCHEDULED, source=Source.CLAIMS, config={},
            config_hash=b"1", data_watermark="w", status=RunStatus.SUCCEEDED, q=0.05,
        )  # fmt: skip


def _event(organization: Organization, run: DetectionRun, code: str = "a", **values: Any) -> DriftEvent:
    with acting_for(organization.id):
        payer, _ = Payer.objects.get_or_create(organization=organization, code=code, defaults={"name": code})
        defaults: dict[str, Any] = {
            "drift_type": "DENIAL_RATE", "source": "CLAIMS", "direction": "UP", "harmful": True,
            "status": EventStatus.CONFIRMED, "unit": "RATE", "first_run": run, "last_run": run, "first_seen_on": DAY,
            "last_seen_on": DAY, "baseline_value": 0.1, "current_value": 0.3, "delta": 0.2, "ci_low": 0.1,
            "ci_high": 0.3, "q_value": 0.001, "confidence": 0.999, "severity": Severity.HIGH, "severity_score": 0.6,
            "n0": 100, "n1": 100, "baseline_start": DAY - timedelta(days=100), "baseline_end": DAY - timedelta(days=20),
            "current_start": DAY - timedelta(days=19), "current_end": DAY, "revenue_at_risk_30d_cents": 500_000,
        }  # fmt: skip
        return DriftEvent.objects.create(organization=organization, payer=payer, **{**defaults, **values})


def _alerts(organization: Organization) -> list[Alert]:
    with acting_for(organization.id):
        return list(Alert.objects.order_by("event_id", "rule_id"))


def test_the_default_rule_is_made_once(actor: Actor, organization: Organization) -> None:
    first, second = alert_rule_default(actor), alert_rule_default(actor)

    assert first.id == second.id
    assert (first.name, first.harmful_only, first.require_confirmed) == (DEFAULT_RULE, True, True)
    with pytest.raises(Forbidden):
        alert_rule_default(Actor(organization_id=organization.id, role=Role.ANALYST))


def test_an_event_is_alerted_once_and_the_alert_follows_it(
    actor: Actor, organization: Organization, run: DetectionRun
) -> None:
    alert_rule_default(actor)
    event = _event(organization, run)

    outcomes = [alerts_evaluate(actor=actor, run=run) for _ in range(2)]
    assert outcomes == [AlertsEvaluated(raised=1), AlertsEvaluated()]
    with acting_for(organization.id):
        DriftEvent.objects.filter(id=event.id).update(severity=Severity.CRITICAL)
        Alert.objects.update(status=AlertStatus.ACKNOWLEDGED)
    assert alerts_evaluate(actor=actor, run=run) == AlertsEvaluated()
    (alert,) = _alerts(organization)
    assert (alert.severity, alert.status) == (Severity.CRITICAL, AlertStatus.ACKNOWLEDGED)

    with acting_for(organization.id):
        DriftEvent.objects.filter(id=event.id).update(status=EventStatus.RESOLVED, ended_on=DAY)
    assert alerts_evaluate(actor=actor, run=run) == AlertsEvaluated(resolved=1)
    (alert,) = _alerts(organization)
    assert alert.status == AlertStatus.RESOLVED
    assert alert.resolved_at is not None


@pytest.mark.parametrize(
    ("event", "rule", "matches"),
    [
        ({}, {}, True),
        ({"status": EventStatus.OPEN}, {}, False),
        ({"status": EventStatus.OPEN}, {"require_confirmed": False}, True),
        ({"status": EventStatus.ACKNOWLEDGED}, {}, True),
        ({"status": EventStatus.DISMISSED}, {"require_confirmed": False}, False),
        ({"harmful": False, "direction": "DOWN"}, {}, False),
        ({"harmful": False, "direction": "DOWN"}, {"harmful_only": False}, True),
        ({}, {"directions": ["DOWN"]}, False),
        ({}, {"directions": ["UP"]}, True),
        ({}, {"drift_types": ["APPROVAL_RATE"]}, False),
        ({}, {"drift_types": ["APPROVAL_RATE", "DENIAL_RATE"]}, True),
        ({}, {"min_severity": Severity.CRITICAL}, False),
        ({}, {"min_severity": Severity.HIGH}, True),
        ({}, {"min_confidence": 0.9995}, False),
        ({}, {"min_revenue_cents": 500_001}, False),
        ({}, {"min_revenue_cents": 500_000}, True),
        ({}, {"payer_ids": ["00000000-0000-0000-0000-000000000001"]}, False),
        ({}, {"group_ids": ["00000000-0000-0000-0000-000000000001"]}, False),
        ({}, {"enabled": False}, False),
        ({"source": "OUTCOME_COUNTS"}, {}, False),
    ],
)
def test_every_condition_of_a_rule_counts(
    actor: Actor,
    organization: Organization,
    run: DetectionRun,
    event: dict[str, Any],
    rule: dict[str, Any],
    matches: bool,
) -> None:
    with acting_for(organization.id):
        AlertRule.objects.create(organization=organization, name="r", **rule)
    _event(organization, run, **event)

    assert alerts_evaluate(actor=actor, run=run).raised == matches
    assert len(_alerts(organization)) == matches


def test_a_rule_for_a_payer_and_group_matches_them_alone(
    actor: Actor, organization: Organization, run: DetectionRun
) -> None:
    with acting_for(organization.id):
        group, other = seed_codes(organization)
    wanted = _event(organization, run, "a", group=group)
    _event(organization, run, "a", group=other)
    _event(organization, run, "b", group=group)
    with acting_for(organization.id):
        AlertRule.objects.create(organization=organization, name="r", payer_ids=[wanted.payer_id], group_ids=[group.id])

    assert alerts_evaluate(actor=actor, run=run).raised == 1
    assert [alert.event_id for alert in _alerts(organization)] == [wanted.id]


def test_a_group_stays_quiet_while_its_payer_speaks(
    actor: Actor, organization: Organization, run: DetectionRun
) -> None:
    alert_rule_default(actor)
    parent = _event(organization, run)
    with acting_for(organization.id):
        group = seed_codes(organization)[0]
    child = _event(organization, run, group=group, parent=parent)

    assert alerts_evaluate(actor=actor, run=run).raised == 1
    quiet = {alert.event_id: (alert.status, alert.reason) for alert in _alerts(organization)}
    assert quiet == {parent.id: ("OPEN", ""), child.id: ("SUPPRESSED", NESTED)}

    with acting_for(organization.id):
        DriftEvent.objects.filter(id=parent.id).update(status=EventStatus.RESOLVED, ended_on=DAY)
        DriftEvent.objects.filter(id=child.id).update(parent=None)
    assert alerts_evaluate(actor=actor, run=run) == AlertsEvaluated(raised=1, resolved=1)
    spoken = {alert.event_id: (alert.status, alert.reason) for alert in _alerts(organization)}
    assert spoken[child.id] == ("OPEN", "")


@pytest.mark.parametrize("values", [{"kind": RunKind.BACKTEST}, {"status": RunStatus.FAILED}, {"what_if": True}])
def test_a_back_test_what_if_or_failed_run_alerts_nobody(
    actor: Actor, organization: Organization, run: DetectionRun, values: dict[str, object]
) -> None:
    alert_rule_default(actor)
    _event(organization, run)
    with acting_for(organization.id):
        DetectionRun.objects.filter(id=run.id).update(**values)
        run.refresh_from_db()

    assert alerts_evaluate(actor=actor, run=run) == AlertsEvaluated()
    assert _alerts(organization) == []


def test_another_tenants_rules_and_events_do_not_meet(
    actor: Actor, organization: Organization, other_organization: Organization, run: DetectionRun
) -> None:
    alert_rule_default(Actor.system(other_organization.id, "test"))
    _event(organization, run)

    assert alerts_evaluate(actor=actor, run=run) == AlertsEvaluated()
    with pytest.raises(Forbidden):
        alerts_evaluate(actor=Actor(organization_id=organization.id, role=Role.VIEWER), run=run)


def test_an_organization_begins_with_a_rule(organization: Organization) -> None:
    made = organization_create(name=f"Begins {organization.id}")

    with acting_for(made.id):
        (rule,) = AlertRule.objects.all()
    assert (rule.name, rule.enabled, rule.harmful_only, rule.require_confirmed) == (DEFAULT_RULE, True, True, True)
