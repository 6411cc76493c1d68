"""Episodes over weeks of runs: found, dated, valued, nested, frozen, ended; never by back-tests or older dates."""

from collections.abc import Iterable
from datetime import date, timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from drift_claims import LAST, new_batch, seed_claims, seed_codes

from backend.accounts.models import Organization
from backend.claims.models import BatchKind, Claim, Measure, OutcomeCount
from backend.core.actor import Actor
from backend.core.tenancy import acting_for
from backend.drift.models import DetectionRun, DriftEvent, DriftObservation, DriftTest, EventStatus, RunKind, Source
from backend.drift.runs import Overrides, detection_run_start
from backend.drift.selectors import (
    counted_by,
    decisive_runs,
    drift_events,
    drift_observations,
    drift_tests,
    live_drift_events,
)
from backend.drift.services import detection_run_execute
from backend.payers.models import Payer, ProcedureCode
from tests import factories

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
        assert event.streak_started_on == event.first_seen_on == _weeks(4)[0]
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


def test_a_change_that_lasts_outlives_weeks_that_do_not_prove_it(actor: Actor, organization: Organization) -> None:
    clinic = seed_claims(organization, payers=12, changed=CHANGED, changed_rate=0.4)
    _detect(actor, _weeks(1, LAST - timedelta(weeks=3)))
    with acting_for(organization.id):
        event = DriftEvent.objects.get(drift_type="DENIAL_RATE", payer=clinic.payers[0], group=None, direction="UP")
        # In all windows from then on there are few claims, more of them denied than before, but not surely so.
        late = Claim.objects.filter(payer=clinic.payers[0], decided_on__gt=LAST - timedelta(weeks=6))
        kept = list(late.order_by("decided_on", "procedure_code__code").values_list("id", flat=True)[::10])
        late.exclude(id__in=kept).delete()
        late.update(outcome="PAID", auth_denial=False)
        late.filter(id__in=kept[::5]).update(outcome="DENIED")
        new_batch(organization, "corrections")
    runs = _detect(actor, _weeks(3))

    with acting_for(organization.id):
        event.refresh_from_db()
        tests = DriftTest.objects.filter(run__in=runs, drift_type="DENIAL_RATE", payer=event.payer, group=None)
        assert not tests.filter(significant=True).exists()
        for run in runs:
            assert max(test.effect for test in tests.filter(run=run).exclude(statistic=None)) >= 0.03
        assert (event.status, event.ended_on, event.misses) == (EventStatus.CONFIRMED, None, 0)
        assert (event.consecutive_runs, event.last_run_id) == (0, runs[-1].id)
        assert event.last_seen_on == LAST - timedelta(weeks=3)


def test_a_streak_that_nobody_noted_begins_with_the_last_sighting(actor: Actor, organization: Organization) -> None:
    seed_claims(organization, changed=CHANGED, changed_rate=0.4)
    (first,) = _detect(actor, _weeks(1, LAST - timedelta(weeks=1)))
    with acting_for(organization.id):
        DriftEvent.objects.update(streak_started_on=None, status=EventStatus.OPEN)

    _detect(actor, _weeks(1))

    with acting_for(organization.id):
        event = DriftEvent.objects.get(drift_type="DENIAL_RATE", payer__code="p0", group=None, direction="UP")
        assert (event.status, event.consecutive_runs) == (EventStatus.CONFIRMED, 2)
        assert event.streak_started_on == first.as_of


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


@pytest.mark.parametrize(
    "overrides", [Overrides(q=0.5), Overrides(q=1e-9), Overrides(window_days=(7, 21)), Overrides(min_effect=0.9)]
)
def test_a_what_if_keeps_its_tests_and_leaves_episodes_alone(
    actor: Actor, organization: Organization, overrides: Overrides
) -> None:
    seed_claims(organization, changed=CHANGED, changed_rate=0.4)
    _detect(actor, _weeks(1, LAST - timedelta(weeks=1)))
    with acting_for(organization.id):
        before = list(DriftEvent.objects.order_by("id").values())
        observed = DriftObservation.objects.count()

    for day in [LAST, LAST - timedelta(weeks=1)]:
        run, _ = detection_run_start(actor=actor, as_of=day, overrides=overrides, queue=False)
        run = detection_run_execute(actor=actor, run_id=run.id)

        with acting_for(organization.id):
            assert list(DriftEvent.objects.order_by("id").values()) == before != []
            assert DriftObservation.objects.count() == observed
            tested = DriftTest.objects.filter(run=run)
            assert tested.exists()
            assert set(tested.values_list("window_days", flat=True)) == set(overrides.window_days or (14, 28))
        assert (run.what_if, run.events_opened, run.events_closed) == (True, 0, 0)


def test_a_what_if_opens_nothing_and_does_not_stand_in_the_way(actor: Actor, organization: Organization) -> None:
    seed_claims(organization, changed=CHANGED, changed_rate=0.4)

    run, _ = detection_run_start(actor=actor, overrides=Overrides(q=0.2), queue=False)
    run = detection_run_execute(actor=actor, run_id=run.id)
    with acting_for(organization.id):
        assert run.tests_significant > 0
        assert not DriftEvent.objects.exists()

    # A later what-if neither makes an earlier run of record an old one nor sets the scale for it.
    (decided,) = _detect(actor, _weeks(1, LAST - timedelta(weeks=1)))
    (following,) = _detect(actor, _weeks(1))
    assert decided.events_opened > 0
    with acting_for(organization.id):
        assert list(decisive_runs(Source.CLAIMS)) == [following, decided]


def test_a_what_if_measures_against_the_baselines_of_the_run_beside_it(
    actor: Actor, organization: Organization
) -> None:
    clinic = seed_claims(organization, changed=LAST - timedelta(days=90), changed_rate=0.4)
    _detect(actor, _weeks(10, LAST - timedelta(weeks=1)))
    what_if, _ = detection_run_start(actor=actor, overrides=Overrides(q=0.2), queue=False)
    detection_run_execute(actor=actor, run_id=what_if.id)
    (standard,) = _detect(actor, _weeks(1))

    with acting_for(organization.id):
        rows = [
            list(
                DriftTest.objects.filter(run=run, payer=clinic.payers[0])
                .order_by("drift_type", "group_id", "window_days")
                .values_list("drift_type", "group_id", "window_days", "n0", "x0", "effect")
            )
            for run in (standard, what_if)
        ]
        assert rows[0] == rows[1] != []


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


def _seed_years(organization: Organization, years: Iterable[int], changed: int, until: int) -> None:
    """Carriers whose approvals keep their rate, but the first one's fall in a year; it reports up to another."""
    with acting_for(organization.id):
        seed_codes(organization)
        batch = new_batch(organization, "counts", BatchKind.OUTCOME_COUNTS)
        for number in range(12):
            payer = Payer.objects.create(organization=organization, code=f"c{number}", name=f"Carrier {number}")
            for code in ProcedureCode.objects.all():
                for year in years:
                    if number == 0 and year > until:
                        continue
                    rate = 0.6 if number == 0 and year >= changed else 0.9 + 0.001 * (number % 3 if year % 2 else 0)
                    OutcomeCount.objects.create(
                        organization=organization, payer=payer, procedure_code=code, group_id=code.group_id,
                        measure=Measure.AUTHORIZATION_APPROVAL, period_start=date(year, 1, 1),
                        period_end=date(year, 12, 31), total=1_000, favourable=round(1_000 * rate), batch=batch,
                        source_row_no=1,
                    )  # fmt: skip


def test_an_episode_of_years_outlives_a_missing_one(actor: Actor, organization: Organization) -> None:
    _seed_years(organization, range(2015, 2022), changed=2017, until=2017)

    seen = []
    for year in range(2017, 2022):
        run, _ = detection_run_start(actor=actor, as_of=date(year, 12, 31), source=Source.OUTCOME_COUNTS, queue=False)
        detection_run_execute(actor=actor, run_id=run.id)
        with acting_for(organization.id):
            event = DriftEvent.objects.get(payer__code="c0", group=None)
            seen.append((event.status, event.ended_on))

    assert seen == [(EventStatus.CONFIRMED, None)] * 3 + [(EventStatus.EXPIRED, date(2020, 12, 31))] * 2


def test_a_period_from_before_any_data_is_left_out(actor: Actor, organization: Organization) -> None:
    _seed_years(organization, [2023], changed=2023, until=2023)
    with acting_for(organization.id):
        OutcomeCount.objects.filter(payer__code="c0").update(period_start=date.min)
        OutcomeCount.objects.filter(payer__code="c1").update(period_end=date.max)

    run, _ = detection_run_start(actor=actor, source=Source.OUTCOME_COUNTS, queue=False)
    run = detection_run_execute(actor=actor, run_id=run.id)

    assert (run.as_of, run.status) == (date(2023, 12, 31), "SUCCEEDED")
    with acting_for(organization.id):
        carriers = {test.payer.code for test in drift_tests(run.id).select_related("payer")}
        assert carriers == {f"c{number}" for number in range(2, 12)}


def test_periods_drift_without_date_or_revenue(actor: Actor, organization: Organization) -> None:
    _seed_years(organization, [2022, 2023], changed=2023, until=2023)

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


def test_the_claims_of_an_event_are_those_that_it_counts(actor: Actor, organization: Organization) -> None:
    seed_claims(organization, changed=CHANGED, changed_rate=0.6)
    _detect(actor, _weeks(1))

    with acting_for(organization.id):
        found = {
            event.drift_type: (event.n1, Claim.objects.filter(counted_by(event.id), superseded_at=None).count())
            for event in DriftEvent.objects.order_by("drift_type")
        }
    assert set(found) >= {"DENIAL_RATE", "AUTH_FAILURE_RATE"}
    assert {kind: counted for kind, (counted, _) in found.items()} == {kind: rows for kind, (_, rows) in found.items()}


@pytest.mark.parametrize("of_group", [False, True])
def test_the_database_lets_a_run_open_an_episode_once(actor: Actor, organization: Organization, of_group: bool) -> None:
    """Also one that has ended since, which the key of live episodes does not hold."""
    with acting_for(organization.id):
        run, payer = factories.detection_run(organization), factories.payer(organization)
        cell = {"group": factories.group(organization) if of_group else None}
        ended = {"status": EventStatus.RESOLVED, "ended_on": run.as_of}
        factories.drift_event(payer, run, **cell, **ended)

        with pytest.raises(IntegrityError, match="drift_event_opened_uq"), transaction.atomic():
            factories.drift_event(payer, run, **cell)
        factories.drift_event(payer, factories.detection_run(organization, LAST), **cell)

        assert DriftEvent.objects.count() == 2
