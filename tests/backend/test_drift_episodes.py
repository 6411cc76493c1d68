"""Episodes over weeks of runs: found, dated, valued, nested, frozen, ended; never by back-tests or older dates."""

from collections.abc import Iterable
from datetime import date, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from drift_claims import LAST, new_batch, seed_claims, seed_codes

from backend.accounts.models import Organization
from backend.claims.models import BatchKind, Claim, Measure, OutcomeCount
from backend.core.actor import Actor
from backend.core.tenancy import acting_for
from backend.drift.models import DetectionRun, DriftEvent, DriftObservation, DriftTest, EventStatus, RunKind, Source
from backend.drift.selectors import drift_events, drift_observations, drift_tests, live_drift_events
from backend.drift.services import detection_run_execute, detection_run_start
from backend.payers.models import Payer, ProcedureCode

CHANGED = LAST - timedelta(days=34)


def _detect(actor: Actor, days: Iterable[date], kind: RunKind = RunKind.SCHEDULED) -> list[DetectionRun]:
    runs = []
    for day in days:
        run, _ = detection_run_start(actor=actor, as_of=day, kind=kind, queue=False)
        runs.append(detection_run_execute(actor=actor, run_id=run.id))
    return runs


def _weeks(count: int, last: date = LAST) -> list[date]:
    return [last - timedelta(weeks=count - 1 - week) for week in range(count)]


def test_a_jump_in_denials_is_one_dated_valued_episode(actor: Actor, organization: Organization) -> None:
    clinic = seed_claims(organization, changed=CHANGED, changed_rate=0.4)

    runs = _detect(actor, _weeks(4))

    with acting_for(organization.id):
        event = DriftEvent.objects.get(drift_type="DENIAL_RATE", payer=clinic.payers[0], group=None, direction="UP")
        assert (event.status, event.harmful, event.ended_on) == (EventStatus.CONFIRMED, True, None)
        assert (event.consecutive_runs, event.misses) == (4, 0)
        assert (event.first_run_id, event.last_run_id) == (runs[0].id, runs[-1].id)
        assert event.change_on is not None
        assert abs((event.change_on - CHANGED).days) <= 3
        assert event.change_low_on <= event.change_on <= event.change_high_on
        assert event.baseline_end < event.change_on  # frozen: the drift is no part of its own baseline
        assert event.baseline_value == pytest.approx(0.1, abs=0.03)
        assert event.current_value == pytest.approx(0.4, abs=0.06)
        # 12 claims a day x 30 days x 100 dollars x the change of the rate.
        assert event.revenue_at_risk_30d_cents == pytest.approx(12 * 30 * 10_000 * event.delta, rel=0.02)
        assert 0 <= event.revenue_low_cents <= event.revenue_at_risk_30d_cents <= event.revenue_high_cents
        assert {reason["code"] for reason in event.evidence["reasons"]} <= {"50", "197"}
        assert all(code["count"] >= 11 for code in event.evidence["procedures"])
        assert [seen.as_of for seen in drift_observations([event.id])] == _weeks(4)[::-1]

        assert event in live_drift_events(Source.CLAIMS)
        assert event in drift_events()
        children = DriftEvent.objects.filter(drift_type="DENIAL_RATE", direction="UP").exclude(group=None)
        assert {child.parent_id for child in children} == {event.id}
        assert not DriftEvent.objects.filter(payer__in=clinic.payers[1:], status="CONFIRMED").exists()
        assert runs[-1].tests_total == drift_tests(runs[-1].id).exclude(statistic=None).count()
        assert runs[-1].tests_significant == drift_tests(runs[-1].id).filter(significant=True).count() > 0


def test_an_episode_ends_when_its_sign_has_gone_twice(actor: Actor, organization: Organization) -> None:
    seed_claims(organization, changed=CHANGED, changed_rate=0.5)
    _detect(actor, _weeks(2, LAST - timedelta(weeks=2)))
    with acting_for(organization.id):
        event = DriftEvent.objects.get(drift_type="DENIAL_RATE", payer__code="p0", group=None, direction="UP")
        Claim.objects.filter(decided_on__gt=LAST - timedelta(days=40), outcome="DENIED").update(
            outcome="PAID", auth_denial=False
        )
        new_batch(organization, "corrections")

    seen = []
    for day in _weeks(2):
        (run,) = _detect(actor, [day])
        with acting_for(organization.id):
            event.refresh_from_db()
        seen.append((event.status, event.misses, event.ended_on, event.last_run_id == run.id))

    assert seen == [(EventStatus.CONFIRMED, 1, None, True), (EventStatus.RESOLVED, 2, LAST, True)]
    assert run.events_closed >= 1
    assert event.last_seen_on == LAST - timedelta(weeks=2)


def test_what_a_person_decided_stays(actor: Actor, organization: Organization) -> None:
    seed_claims(organization, changed=CHANGED, changed_rate=0.4)
    _detect(actor, _weeks(1, LAST - timedelta(weeks=1)))
    with acting_for(organization.id):
        acknowledged = DriftEvent.objects.filter(drift_type="DENIAL_RATE", group=None).get()
        DriftEvent.objects.filter(id=acknowledged.id).update(status=EventStatus.ACKNOWLEDGED)
        DriftEvent.objects.exclude(id=acknowledged.id).update(status=EventStatus.DISMISSED)

    _detect(actor, _weeks(1))

    with acting_for(organization.id):
        acknowledged.refresh_from_db()
        assert (acknowledged.status, acknowledged.last_seen_on) == (EventStatus.ACKNOWLEDGED, LAST)
        old = DriftEvent.objects.filter(first_seen_on__lt=LAST).exclude(id=acknowledged.id)
        assert {event.status for event in old} == {EventStatus.DISMISSED}


@pytest.mark.parametrize("kind", [RunKind.BACKTEST, RunKind.MANUAL])
def test_a_back_test_or_an_older_date_leaves_episodes_alone(
    actor: Actor, organization: Organization, kind: RunKind
) -> None:
    seed_claims(organization, changed=CHANGED, changed_rate=0.4)
    _detect(actor, _weeks(1))
    with acting_for(organization.id):
        before = list(DriftEvent.objects.order_by("id").values())

    day = LAST if kind is RunKind.BACKTEST else LAST - timedelta(days=7)
    (run,) = _detect(actor, [day], kind)

    with acting_for(organization.id):
        assert before
        assert list(DriftEvent.objects.order_by("id").values()) == before
        assert DriftTest.objects.filter(run=run).exists()
        assert not DriftObservation.objects.filter(run=run).exists()
    assert (run.events_opened, run.events_closed) == (0, 0)


def test_the_number_of_statements_does_not_depend_on_the_number_of_events(
    actor: Actor, organization: Organization, other_organization: Organization
) -> None:
    def statements(target: Organization, payers: int) -> tuple[int, int]:
        seed_claims(target, payers=payers, changed=CHANGED, changed_rate=0.5)
        acting = Actor.system(target.id, "test")
        with CaptureQueriesContext(connection) as captured:
            _detect(acting, _weeks(1))
        with acting_for(target.id):
            return len(captured), DriftTest.objects.count()

    few, few_tests = statements(organization, 1)
    many, many_tests = statements(other_organization, 6)

    assert many_tests > few_tests
    assert many == few


def test_periods_drift_without_date_or_revenue(actor: Actor, organization: Organization) -> None:
    with acting_for(organization.id):
        seed_codes(organization)
        batch = new_batch(organization, "counts", BatchKind.OUTCOME_COUNTS)
        for number in range(12):
            payer = Payer.objects.create(organization=organization, code=f"c{number}", name=f"Carrier {number}")
            for code in ProcedureCode.objects.all():
                for year, rate in ((2022, 0.9), (2023, 0.6 if number == 0 else 0.9 + 0.001 * (number % 3))):
                    OutcomeCount.objects.create(
                        organization=organization, payer=payer, procedure_code=code, group_id=code.group_id,
                        measure=Measure.AUTHORIZATION_APPROVAL, period_start=date(year, 1, 1),
                        period_end=date(year, 12, 31), total=1_000, favourable=round(1_000 * rate), batch=batch,
                        source_row_no=1,
                    )  # fmt: skip

    run, _ = detection_run_start(actor=actor, source=Source.OUTCOME_COUNTS, queue=False)
    run = detection_run_execute(actor=actor, run_id=run.id)

    with acting_for(organization.id):
        event = DriftEvent.objects.get(payer__code="c0", group=None)
        assert (event.drift_type, event.direction, event.source) == ("APPROVAL_RATE", "DOWN", "OUTCOME_COUNTS")
        assert (event.change_on, event.revenue_at_risk_30d_cents) == (None, 0)
        assert (event.baseline_start, event.current_end) == (date(2022, 1, 1), date(2023, 12, 31))
        assert event.evidence["procedures"][0]["rate"] == pytest.approx(0.6)
        assert set(DriftEvent.objects.values_list("payer__code", flat=True)) == {"c0"}
    assert run.as_of == date(2023, 12, 31)
