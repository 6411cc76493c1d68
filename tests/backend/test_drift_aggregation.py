"""Counts made by SQL against counts made claim by claim in Python."""

from collections import Counter
from datetime import date, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from drift_claims import LAST, new_batch, seed_claims, seed_codes

from backend.accounts.models import Organization
from backend.claims.models import BatchKind, Claim, ClaimOutcome, Measure, OutcomeCount
from backend.core.tenancy import acting_for
from backend.detection.config import CLAIMS_CONFIG
from backend.detection.drift_type import DriftType
from backend.detection.types import CellKey
from backend.detection.windows import windows_for
from backend.drift.aggregation import count_claims, count_periods
from backend.payers.models import Payer, ProcedureCode

AS_OF = LAST - timedelta(days=10)


def _expected(claims: list[Claim], cell: CellKey, first: date, last: date) -> tuple[int, int]:
    outcomes: Counter[str] = Counter()
    for claim in claims:
        if claim.payer_id != cell.payer or (cell.group and claim.group_id != cell.group):
            continue
        if claim.decided_on is None or not first <= claim.decided_on <= last:
            continue
        if cell.drift_type is DriftType.DENIAL_RATE:
            outcomes["n"] += 1
            outcomes["x"] += claim.outcome == "DENIED"
        elif cell.drift_type is DriftType.APPROVAL_RATE and claim.outcome != "DENIED":
            outcomes["n"] += 1
            outcomes["x"] += claim.outcome == "PAID"
        elif cell.drift_type is DriftType.AUTH_FAILURE_RATE and claim.auth_required:
            outcomes["n"] += 1
            outcomes["x"] += claim.auth_denial
    return outcomes["x"], outcomes["n"]


@pytest.mark.parametrize("frozen_days", [None, 40])
def test_every_cell_equals_a_count_claim_by_claim(organization: Organization, frozen_days: int | None) -> None:
    clinic = seed_claims(organization, payers=2, changed=AS_OF - timedelta(days=20))
    change_on = AS_OF - timedelta(days=frozen_days) if frozen_days else None
    frozen_cell = CellKey(DriftType.DENIAL_RATE, clinic.payers[0].id, clinic.groups[1].id)

    with acting_for(organization.id), CaptureQueriesContext(connection) as statements:
        frozen = {frozen_cell: change_on} if change_on else {}
        counted = count_claims(AS_OF, config=CLAIMS_CONFIG, frozen=frozen)
    with acting_for(organization.id):
        claims = list(Claim.objects.all())

    assert len([query for query in statements if "width_bucket" in query["sql"]]) == 1
    assert len(counted.counts) == 2 * 3 * 3 * 2  # payers x (payer and 2 groups) x types x windows
    for counts in counted.counts:
        windows = windows_for(AS_OF, counts.window_days, config=CLAIMS_CONFIG, change_on=frozen.get(counts.cell))
        assert counted.windows[counts.cell, counts.window_days] == windows
        before = _expected(claims, counts.cell, windows.baseline_start, windows.baseline_end)
        after = _expected(claims, counts.cell, windows.current_start, windows.current_end)
        assert (counts.x0.sum(), counts.n0.sum()) == before
        assert (counts.x1.sum(), counts.n1.sum()) == after
        assert len(counts.n0) == (4 if counts.group is None else 2)  # strata: procedure codes


def test_claims_decided_later_superseded_or_of_another_tenant_do_not_count(
    organization: Organization, other_organization: Organization
) -> None:
    seed_claims(organization, payers=1)
    seed_claims(other_organization, payers=1, rate=0.9)
    with acting_for(organization.id):
        before = count_claims(AS_OF, config=CLAIMS_CONFIG, frozen={})

    with acting_for(organization.id):
        Claim.objects.filter(decided_on__gt=AS_OF).update(outcome=ClaimOutcome.DENIED)
        later = count_claims(AS_OF, config=CLAIMS_CONFIG, frozen={})
        gone = Claim.objects.filter(decided_on=AS_OF)
        removed = gone.count()
        gone.update(superseded_at="2025-07-01T00:00:00Z")
        fewer = count_claims(AS_OF, config=CLAIMS_CONFIG, frozen={})

    assert removed > 0
    assert [counts.x1.tolist() for counts in later.counts] == [counts.x1.tolist() for counts in before.counts]
    assert later.counts[0].n1.sum() - fewer.counts[0].n1.sum() == removed


def test_without_claims_there_is_nothing_to_test(organization: Organization) -> None:
    with acting_for(organization.id):
        assert count_claims(AS_OF, config=CLAIMS_CONFIG, frozen={}).counts == ()
        assert count_periods(AS_OF).counts == ()


def test_a_period_is_compared_with_the_adjoining_one_of_its_length(organization: Organization) -> None:
    with acting_for(organization.id):
        seed_codes(organization)
        payer = Payer.objects.create(organization=organization, code="a", name="A")
        batch = new_batch(organization, "counts", BatchKind.OUTCOME_COUNTS)
        first, second = ProcedureCode.objects.order_by("code")[:2]
        for code, year, total, favourable in (
            (first, 2022, 100, 90),
            (first, 2023, 200, 120),
            (second, 2021, 50, 50),  # a year is missing: nothing to compare with
            (second, 2023, 60, 30),
        ):
            OutcomeCount.objects.create(
                organization=organization, payer=payer, procedure_code=code, group_id=code.group_id,
                measure=Measure.AUTHORIZATION_APPROVAL, period_start=date(year, 1, 1), period_end=date(year, 12, 31),
                total=total, favourable=favourable, batch=batch, source_row_no=1,
            )  # fmt: skip

        counted = count_periods(date(2023, 12, 31))

    whole, group = counted.counts
    assert (whole.drift_type, whole.group, whole.window_days) == (DriftType.APPROVAL_RATE, None, 365)
    assert group.group == first.group_id
    figures = sorted(zip(whole.x0, whole.n0, whole.x1, whole.n1, strict=True))
    assert figures == [(0, 0, 30, 60), (90, 100, 120, 200)]
    windows = counted.windows[whole.cell, 365]
    assert (windows.baseline_start, windows.baseline_end) == (date(2022, 1, 1), date(2022, 12, 31))
    assert (windows.current_start, windows.current_end) == (date(2023, 1, 1), date(2023, 12, 31))
