"""`manage.py detect` from the words of a person to runs, events and alerts."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from drift_claims import LAST, seed_claims

from backend.accounts.models import Organization
from backend.alerts.models import Alert
from backend.alerts.services import alert_rule_default
from backend.core.actor import Actor
from backend.core.tenancy import acting_for
from backend.drift.models import DetectionRun, DriftEvent


def _detect(organization: Organization, *words: str) -> None:
    call_command("detect", "--organization", organization.name, *words, stdout=StringIO())


def test_a_span_of_weeks_finds_confirms_and_alerts(
    actor: Actor, organization: Organization, capsys: pytest.CaptureFixture[str]
) -> None:
    seed_claims(organization, changed=LAST - timedelta(days=30), changed_rate=0.4)
    alert_rule_default(actor)

    first = LAST - timedelta(weeks=2)
    _detect(organization, "--from", first.isoformat(), "--to", LAST.isoformat())

    with acting_for(organization.id):
        runs = list(DetectionRun.objects.order_by("as_of"))
        assert [run.as_of for run in runs] == [first, first + timedelta(weeks=1), LAST]
        assert {run.status for run in runs} == {"SUCCEEDED"}
        event = DriftEvent.objects.get(drift_type="DENIAL_RATE", payer__code="p0", group=None, direction="UP")
        assert Alert.objects.get(event=event).status == "OPEN"
    assert "SUCCEEDED" in capsys.readouterr().out


def test_one_date_by_default_the_last_of_the_data(organization: Organization) -> None:
    seed_claims(organization, payers=1)

    _detect(organization, "--backtest", "--q", "0.1")

    with acting_for(organization.id):
        run = DetectionRun.objects.get()
        assert (run.as_of, run.kind, run.q) == (LAST, "BACKTEST", 0.1)


def test_a_threshold_of_ones_own_is_a_what_if_and_alerts_nobody(
    actor: Actor, organization: Organization, capsys: pytest.CaptureFixture[str]
) -> None:
    seed_claims(organization, changed=LAST - timedelta(days=30), changed_rate=0.4)
    alert_rule_default(actor)

    _detect(organization, "--q", "0.2")

    with acting_for(organization.id):
        assert DetectionRun.objects.get().tests_significant > 0
        assert not DriftEvent.objects.exists()
        assert not Alert.objects.exists()
    assert "what-if" in capsys.readouterr().out

    _detect(organization)
    with acting_for(organization.id):
        assert Alert.objects.exists()
    assert "what-if" not in capsys.readouterr().out


def test_a_span_of_counts_takes_the_ends_of_its_periods(organization: Organization) -> None:
    _detect(organization, "--source", "outcome-counts", "--from", "2020-01-01", "--to", "2023-12-31")

    with acting_for(organization.id):
        assert not DetectionRun.objects.exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--from", "2025-01-01"],
        ["--to", "2025-01-01"],
        ["--from", "2025-02-01", "--to", "2025-01-01"],
        ["--from", "2025-01-01", "--to", "2025-02-01", "--as-of", "2025-01-15"],
        ["--from", "2025-01-01", "--to", "2025-02-01", "--every", "0"],
        ["--q", "3"],
        ["--as-of", "2999-01-01"],
        ["--as-of", "0001-01-01"],
        ["--q", "nan"],
        ["--min-effect", "1"],
    ],
)
def test_contradictions_are_refused(organization: Organization, words: list[str]) -> None:
    with pytest.raises(CommandError):
        _detect(organization, *words)

    with acting_for(organization.id):
        assert not DetectionRun.objects.exists()


def test_an_unknown_organization_is_refused(database: str) -> None:
    with pytest.raises(CommandError):
        call_command("detect", "--organization", "nobody")
