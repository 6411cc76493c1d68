"""A mutation with a key has one effect."""

import uuid
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from django.db import OperationalError, connection, transaction
from django.db.transaction import TransactionManagementError
from django.utils import timezone
from people import at_once

from backend.accounts import idempotency
from backend.accounts.idempotency import BadIdempotencyKey, RetryInProgress, claim_key, once, request_hash
from backend.accounts.models import IdempotencyKey, Organization
from backend.accounts.tasks import forget_idempotency_keys
from backend.core.actor import Actor, Role
from backend.core.errors import IdempotencyConflict
from backend.core.ids import uuid7_floor
from backend.core.tenancy import write
from backend.payers.models import Payer


def ask(actor: Actor, code: str, *, key: str = "k1", request: str | None = None) -> dict:
    """Makes a payer under a key."""

    def work() -> dict:
        payer = Payer.objects.create(organization_id=actor.organization_id, code=code, name=code, kind="OTHER")
        return {"payer": str(payer.id), "nested": {"list": [1, None, "ä"]}}

    return once(actor=actor, key=key, request_hash=request_hash("payerCreate", {"code": request or code}), work=work)


def payers(actor: Actor) -> int:
    with write(actor):
        return Payer.objects.count()


def test_a_retry_gets_the_first_answer_and_has_no_effect(actor: Actor) -> None:
    first = ask(actor, "a")
    second = ask(actor, "b", request="a")

    assert first == second
    assert first["nested"] == {"list": [1, None, "ä"]}
    assert payers(actor) == 1


def test_the_key_of_another_request_is_a_conflict(actor: Actor) -> None:
    ask(actor, "a")

    with pytest.raises(IdempotencyConflict) as refusal:
        ask(actor, "b")

    assert refusal.value.code == "IDEMPOTENCY_CONFLICT"
    assert payers(actor) == 1


def test_the_same_key_of_another_principal_is_another_key(actor: Actor) -> None:
    ask(actor, "a")
    ask(replace(actor, user_id=uuid.uuid4()), "b")
    ask(replace(actor, token_id=uuid.uuid4()), "c")

    assert payers(actor) == 3


def test_the_same_key_of_another_organization_is_another_key(actor: Actor, other_organization) -> None:
    ask(actor, "a")
    ask(replace(actor, organization_id=other_organization.id), "b")

    assert payers(actor) == 1


def test_failed_work_leaves_the_key_free(actor: Actor) -> None:
    def fail() -> dict:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        once(actor=actor, key="k1", request_hash=request_hash("payerCreate", {"code": "a"}), work=fail)

    ask(actor, "a")
    assert payers(actor) == 1


def test_eight_retries_at_once_have_one_effect(actor: Actor) -> None:
    answers = at_once(*[lambda: ask(actor, "a")] * 8)

    assert all(answer == answers[0] and isinstance(answer, dict) for answer in answers), answers
    assert payers(actor) == 1
    with write(actor):
        assert IdempotencyKey.objects.count() == 1


def test_a_retry_that_waits_too_long_may_be_sent_again(actor: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "LOCK_TIMEOUT", "100ms")
    with psycopg.connect(**connection.get_connection_params(), autocommit=False) as first:
        first.execute("SELECT set_config('app.organization_id', %s, true)", [str(actor.organization_id)])
        digest = request_hash("payerCreate", {"code": "a"})
        identity = [uuid.uuid4(), actor.organization_id, actor.organization_id, "k1", digest]
        first.execute(idempotency._INSERT, identity)

        with pytest.raises(RetryInProgress) as refusal:
            ask(actor, "a")
        first.rollback()

    assert refusal.value.retryable
    assert ask(actor, "a")["payer"]


def test_another_failure_of_the_database_is_not_taken_for_a_retry(actor: Actor) -> None:
    with psycopg.connect(**connection.get_connection_params(), autocommit=False) as first:
        first.execute("SELECT set_config('app.organization_id', %s, true)", [str(actor.organization_id)])
        identity = [uuid.uuid4(), actor.organization_id, actor.organization_id, "k1", b"x"]
        first.execute(idempotency._INSERT, identity)

        with write(actor), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '100ms'")
            with pytest.raises(OperationalError, match="statement timeout"):
                claim_key(actor=actor, key="k1", request_hash=b"x")
            transaction.set_rollback(True)
        first.rollback()


def test_the_patience_for_the_key_ends_with_it(actor: Actor) -> None:
    with write(actor), connection.cursor() as cursor:
        claim_key(actor=actor, key="k1", request_hash=b"x")
        cursor.execute("SELECT current_setting('lock_timeout')")
        assert cursor.fetchone() == ("0",)


def test_a_key_is_claimed_within_the_transaction_of_its_work(actor: Actor) -> None:
    with pytest.raises(TransactionManagementError):
        claim_key(actor=actor, key="k1", request_hash=b"x")


@pytest.mark.parametrize("key", ["", "k" * 201, "a\nb"])
def test_a_bad_key_is_refused(actor: Actor, key: str) -> None:
    with pytest.raises(BadIdempotencyKey):
        ask(actor, "a", key=key)

    assert payers(actor) == 0


def test_the_order_of_fields_makes_no_other_request() -> None:
    assert request_hash("m", {"a": 1, "b": 2}) == request_hash("m", {"b": 2, "a": 1})
    assert request_hash("m", {"a": 1}) != request_hash("n", {"a": 1})


def age(actor: Actor, key: str, hours: float, number: int = 0) -> None:
    """The key as if it had been made so long ago."""
    made = uuid7_floor(timezone.now() - timedelta(hours=hours))
    with write(actor):
        IdempotencyKey.objects.filter(key=key).update(id=uuid.UUID(int=made.int + number))


def keys(actor: Actor) -> list[str]:
    with write(actor):
        return list(IdempotencyKey.objects.order_by("key").values_list("key", flat=True))


def test_old_keys_of_every_organization_are_forgotten_and_young_ones_are_not(
    actor: Actor, other_organization: Organization
) -> None:
    stranger = Actor(organization_id=other_organization.id, role=Role.OWNER)
    for one in (actor, stranger):
        for code in ("old", "young"):
            ask(one, code, key=code)
        age(one, "old", hours=24.01)
        age(one, "young", hours=23.99)

    forget_idempotency_keys(0)

    assert (keys(actor), keys(stranger)) == (["young"], ["young"])
    ask(actor, "new", key="old")
    assert payers(actor) == 3


def test_keys_are_forgotten_in_portions_past_those_in_use(actor: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "FORGOTTEN_AT_ONCE", 2)
    for number in range(6):
        ask(actor, str(number), key=str(number))
        age(actor, str(number), hours=30, number=number)

    with write(actor):
        IdempotencyKey.objects.select_for_update().get(key="3")
        [forgotten] = at_once(lambda: idempotency.keys_forget(actor=actor, before=timezone.now()))

    assert (forgotten, keys(actor)) == (5, ["3"])


def test_a_key_that_is_forgotten_while_it_is_asked_for_is_a_new_one(actor: Actor) -> None:
    ask(actor, "a")
    age(actor, "k1", hours=30)

    def forget_first(execute, sql, params, many, context):  # type: ignore[no-untyped-def]  # as Django calls it
        if sql.startswith("SELECT request_hash") and keys_left:
            keys_left.pop()
            at_once(lambda: idempotency.keys_forget(actor=actor, before=timezone.now()))
        return execute(sql, params, many, context)

    keys_left = ["k1"]
    with connection.execute_wrapper(forget_first):
        ask(actor, "b", request="a")

    assert (payers(actor), keys_left, keys(actor)) == (2, [], ["k1"])
