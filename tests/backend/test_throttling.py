"""Guessing: how many log-ins may fail, what the next one gets, and that a good one is not held against anybody."""

import dataclasses
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.test import Client
from people import at_once, member, person

from backend.accounts.models import Organization, User
from backend.accounts.throttling import Allowance, Attempts, TooManyAttempts
from backend.audit.models import AuditEntry
from backend.core.actor import Role
from backend.core.tenancy import acting_for

PASSWORD = "a long enough passphrase"


@pytest.fixture
def ann(organization: Organization, monkeypatch: pytest.MonkeyPatch) -> User:
    found = person(organization, "ann")
    found.set_password(PASSWORD)
    found.save()
    member(organization, found, Role.VIEWER)
    few = {"sign_in_failures_per_account": 2, "sign_in_failures_per_address": 4}
    monkeypatch.setattr(settings, "ENVIRONMENT", dataclasses.replace(settings.ENVIRONMENT, **few))
    return found


def _network(organization: Organization, number: int = 0) -> str:
    """An address that no other test uses."""
    digits = organization.id.hex
    return f"2001:{digits[:4]}:{digits[4:8]}:{number}::1"


def _sign_in(email: str, password: str, address: str, page: str = "/accounts/login/") -> Any:
    return Client().post(page, {"username": email, "password": password}, REMOTE_ADDR=address)


def _throttled_entries(organization: Organization) -> int:
    with acting_for(organization.id):
        return AuditEntry.objects.filter(action="sign_in.throttled").count()


def test_an_account_has_few_failures_from_wherever_they_come(organization: Organization, ann: User) -> None:
    failed = [_sign_in(ann.email, "wrong", _network(organization, one)).status_code for one in range(2)]
    # The form takes letters that are the same to Unicode for one another, such as those of full width.
    spellings = (ann.email.upper(), "".join(chr(ord(one) + 0xFEE0) for one in ann.email))
    refused = [_sign_in(one, PASSWORD, _network(organization, number)) for number, one in enumerate(spellings, 2)]

    assert failed == [200, 200]
    assert [answer.status_code for answer in refused] == [429, 429]
    assert 1 <= int(refused[0]["Retry-After"]) <= 15 * 60
    page = refused[0].content.decode()
    assert "more than 2 in 15 minutes (DRIFTGRAPH_SIGN_IN_FAILURES_PER_ACCOUNT)" in page
    assert ann.email not in page
    assert refused[0]["Content-Security-Policy"].startswith("default-src 'none'")
    assert _throttled_entries(organization) == 1  # of the first one


@pytest.mark.parametrize("page", ["/accounts/login/", "/admin/login/"])
def test_an_address_has_few_failures_whoever_is_tried(organization: Organization, ann: User, page: str) -> None:
    nobody = f"{organization.id.hex}@example.org"

    failed = [_sign_in(f"{one}.{nobody}", "wrong", _network(organization), page) for one in range(4)]
    refused = _sign_in(ann.email, PASSWORD, _network(organization), page)
    elsewhere = _sign_in(ann.email, PASSWORD, _network(organization, 1), page)

    assert {answer.status_code for answer in failed} == {200}
    assert refused.status_code == 429
    assert "DRIFTGRAPH_SIGN_IN_FAILURES_PER_ADDRESS" in refused.content.decode()
    assert elsewhere.status_code == (302 if page == "/accounts/login/" else 200)  # she is no administrator


def test_a_good_log_in_takes_nothing(organization: Organization, ann: User) -> None:
    for _ in range(3):
        assert _sign_in(ann.email, "wrong", _network(organization, 1)).status_code == 200
        good = [_sign_in(ann.email, PASSWORD, _network(organization)).status_code for _ in range(2)]
        assert good == [302, 302]


def test_many_at_once_are_no_more_than_one_after_the_other(organization: Organization, ann: User) -> None:
    answers = at_once(*[lambda: _sign_in(ann.email, "wrong", _network(organization)).status_code] * 6)

    assert sorted(answers) == [200, 200, 429, 429, 429, 429]


def test_an_unknown_account_takes_as_many_hashes(
    organization: Organization, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed, encode = [], Argon2PasswordHasher.encode
    verify = Argon2PasswordHasher.verify
    monkeypatch.setattr(Argon2PasswordHasher, "encode", lambda *a, **k: hashed.append("hash") or encode(*a, **k))
    monkeypatch.setattr(Argon2PasswordHasher, "verify", lambda *a, **k: hashed.append("hash") or verify(*a, **k))
    without_password = person(organization, "bob")
    without_password.set_unusable_password()
    without_password.save()
    away = person(organization, "eve")
    away.set_password(PASSWORD)
    away.is_active = False
    away.save()
    taken = {}

    for number, email in enumerate([ann.email, f"nobody.{organization.id.hex}", without_password.email, away.email]):
        hashed.clear()
        assert _sign_in(email, "wrong", _network(organization, number)).status_code == 200
        taken[email] = len(hashed)

    assert set(taken.values()) == {1}


def test_attempts_are_counted_here_while_the_shared_counts_are_away(caplog: pytest.LogCaptureFixture) -> None:
    attempts = Attempts("valkey://127.0.0.1:1/0")
    allowance = Allowance("tries", "k", 2, 1, "SETTING")

    attempts.take(allowance)
    attempts.take(allowance)
    with pytest.raises(TooManyAttempts) as first:
        attempts.take(allowance)
    with pytest.raises(TooManyAttempts) as second:
        attempts.take(allowance)

    assert (first.value.details["is_first"], second.value.details["is_first"]) == (True, False)
    assert 1 <= first.value.details["seconds"] <= 60
    assert [record.message for record in caplog.records] == [
        "DRIFTGRAPH_BUDGET_URL cannot be reached: StorageError. Each process counts attempts for itself."
    ]


def test_what_is_given_back_can_be_taken_again() -> None:
    attempts, allowance = Attempts(""), Allowance("tries", "k", 1, 1, "SETTING")
    attempts.take(allowance)
    with pytest.raises(TooManyAttempts):
        attempts.check(allowance)

    attempts.give_back(allowance)
    attempts.check(allowance)
    attempts.take(allowance)
    attempts.forget(allowance)

    attempts.check(allowance)
