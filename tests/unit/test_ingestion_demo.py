"""The demo year: deterministic, clean under its own import rules, with its changes visible in the rates."""

import hashlib
from collections import Counter
from datetime import date, timedelta

import pytest

from backend.ingestion.claims_csv import read_claims
from backend.ingestion.demo import write_demo_claims
from backend.ingestion.files import inspect_file
from backend.ingestion.keys import ClaimHasher
from backend.ingestion.records import ReadOptions

ENDS_ON = date(2025, 11, 2)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    path = tmp_path_factory.mktemp("demo") / "claims.csv"
    changes = write_demo_claims(path, ends_on=ENDS_ON)
    profile = inspect_file(path, max_bytes=100_000_000)
    options = ReadOptions(today=ENDS_ON)
    rows = list(read_claims(path, profile=profile, hasher=ClaimHasher(b"k" * 32), options=options))
    return profile, changes, rows


def test_every_row_passes_its_own_import(demo):
    _, _, rows = demo

    found = Counter(item.rule_code for _, issues in rows for item in issues)

    assert len(rows) == 40_000
    assert all(claim is not None for claim, _ in rows)
    assert found.keys() == {"W131"}
    assert found["W131"] < 100


def test_it_is_a_year_of_eight_payers_six_groups_and_thirty_codes(demo):
    _, _, rows = demo
    claims = [claim for claim, _ in rows]

    submitted = {claim.submitted_on for claim in claims}
    assert (min(submitted), max(submitted)) == (ENDS_ON - timedelta(days=364), ENDS_ON)
    assert len({claim.payer_name for claim in claims}) == 8
    assert all("Example" in claim.payer_name for claim in claims)
    assert len({claim.procedure_group for claim in claims}) == 6
    assert len({claim.procedure_code for claim in claims}) == 30
    assert len({claim.claim_key for claim in claims}) == len(claims)
    assert max(claim.decided_on for claim in claims if claim.decided_on) <= ENDS_ON
    assert max(claim.paid_on for claim in claims if claim.paid_on) <= ENDS_ON
    assert not [claim for claim in claims if claim.decided_on and claim.decided_on.weekday() >= 5]
    weekend = sum(claim.submitted_on.weekday() >= 5 for claim in claims) / len(claims)
    assert 0.01 < weekend < 0.06


def test_equal_arguments_give_equal_bytes(demo, tmp_path):
    profile, changes, _ = demo

    again = write_demo_claims(tmp_path / "again.csv", ends_on=ENDS_ON)
    other = write_demo_claims(tmp_path / "other.csv", ends_on=ENDS_ON, seed=7, claims=500)

    assert again == changes == other
    assert hashlib.sha256((tmp_path / "again.csv").read_bytes()).digest() == profile.sha256
    assert len((tmp_path / "other.csv").read_text().splitlines()) == 501


def hits(claims, drift_type: str) -> tuple[int, int]:
    if drift_type == "DENIAL_RATE":
        return sum(claim.outcome == "DENIED" for claim in claims), len(claims)
    if drift_type == "AUTH_FAILURE_RATE":
        needing = [claim for claim in claims if claim.auth_required]
        return sum(claim.auth_denial for claim in needing), len(needing)
    allowed = [claim for claim in claims if claim.outcome != "DENIED"]
    return sum(claim.outcome == "PAID" for claim in allowed), len(allowed)


def test_the_injected_changes_are_in_the_rates(demo):
    _, changes, rows = demo

    assert Counter(change.drift_type for change in changes) == {
        "DENIAL_RATE": 2,
        "APPROVAL_RATE": 1,
        "AUTH_FAILURE_RATE": 1,
    }
    for change in changes:
        concerned = [
            claim
            for claim, _ in rows
            if claim.decided_on and claim.payer_name == change.payer and change.group in {None, claim.procedure_group}
        ]
        before, before_n = hits([c for c in concerned if c.decided_on < change.changed_on], change.drift_type)
        after, after_n = hits([c for c in concerned if c.decided_on >= change.changed_on], change.drift_type)
        moved = after / after_n - before / before_n
        assert moved == pytest.approx(change.effect, abs=0.05)
        assert change.direction == ("UP" if change.effect > 0 else "DOWN")
        assert min(before_n, after_n) > 150
