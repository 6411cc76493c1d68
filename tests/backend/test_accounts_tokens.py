"""API tokens: what is kept of them, who may give which, and when they let nobody in."""

import hashlib
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from backend.accounts import authentication, errors
from backend.accounts.models import ApiToken, Organization
from backend.accounts.selectors import token_get, tokens_all
from backend.accounts.services import token_create, token_revoke
from backend.core.actor import Actor, Right, Role
from backend.core.errors import Forbidden, NotFound, Unauthenticated
from backend.core.tenancy import acting_for


def soon():
    return timezone.now() + timedelta(days=30)


def a_token(actor: Actor, **changes):
    given = {"name": "loader", "role": Role.SERVICE, "scopes": [Right.IMPORT, Right.READ], "expires_at": soon()}
    return token_create(actor=actor, **(given | changes))


def test_only_the_hash_of_a_secret_is_kept(actor: Actor) -> None:
    token, secret = a_token(actor)

    assert re.fullmatch(r"dg_[A-Za-z0-9_-]{43}", secret)
    with acting_for(actor.organization_id), connection.cursor() as cursor:
        cursor.execute("SELECT to_jsonb(t)::text, hash FROM api_token t WHERE id = %s", [token.id])
        row, kept = cursor.fetchone()
    assert bytes(kept) == hashlib.sha256(secret.encode()).digest()
    assert secret not in row
    assert secret[3:] not in row


def test_a_token_gives_its_organization_role_and_scopes(actor: Actor) -> None:
    token, secret = a_token(actor)

    found = authentication.authenticate_bearer(secret)

    assert (found.organization_id, found.token_id, found.user_id) == (actor.organization_id, token.id, None)
    assert found.rights == {Right.IMPORT, Right.READ}


@pytest.mark.parametrize(
    "secret",
    ["", "dg_", "dg_" + "a" * 42, "dg_" + "a" * 44, "xx_" + "a" * 43, "dg_" + "ä" * 43, "dg_" + "a" * 43 + "\n"],
)
def test_a_malformed_secret_is_refused_without_a_statement(database: str, secret: str) -> None:
    with pytest.raises(errors.MalformedToken):
        authentication.authenticate_bearer(secret)


def test_an_unknown_secret_is_refused(database: str) -> None:
    with pytest.raises(errors.UnknownToken) as refusal:
        authentication.authenticate_bearer("dg_" + "A" * 43)

    assert isinstance(refusal.value, Unauthenticated)
    assert "AAAA" not in refusal.value.message


def test_an_expired_token_lets_nobody_in(actor: Actor) -> None:
    token, secret = a_token(actor)
    with acting_for(actor.organization_id):
        ApiToken.objects.filter(id=token.id).update(expires_at=timezone.now() - timedelta(seconds=1))

    with pytest.raises(errors.ExpiredToken):
        authentication.authenticate_bearer(secret)


def test_a_revoked_token_lets_nobody_in_and_stays_as_a_record(actor: Actor) -> None:
    token, secret = a_token(actor)
    first = token_revoke(actor=actor, token_id=token.id)
    again = token_revoke(actor=actor, token_id=token.id)

    with pytest.raises(errors.RevokedToken):
        authentication.authenticate_bearer(secret)

    assert first.revoked_at == again.revoked_at
    with acting_for(actor.organization_id):
        assert token_get(token.id).revoked_at is not None


def test_the_database_says_of_a_revoked_token_that_it_expired_and_can_do_nothing(actor: Actor) -> None:
    token, secret = a_token(actor)
    token_revoke(actor=actor, token_id=token.id)

    with connection.cursor() as cursor:
        cursor.execute(authentication.TOKEN_SQL, [authentication.token_key(secret)])
        scopes, expired, revoked = cursor.fetchone()[3:6]

    assert (scopes, expired, revoked) == ([], True, True)


def test_without_an_organization_the_server_sees_no_token(actor: Actor) -> None:
    a_token(actor)

    assert not tokens_all().exists()


def test_another_organization_neither_sees_nor_revokes_a_token(actor: Actor, other_organization: Organization) -> None:
    token, secret = a_token(actor)
    stranger = Actor(organization_id=other_organization.id, role=Role.OWNER)

    with pytest.raises(NotFound):
        token_revoke(actor=stranger, token_id=token.id)
    with acting_for(other_organization.id), pytest.raises(NotFound):
        token_get(token.id)

    assert authentication.authenticate_bearer(secret).token_id == token.id


@pytest.mark.parametrize("role", [Role.ANALYST, Role.VIEWER, Role.AUDITOR, Role.SERVICE])
def test_only_owner_and_admin_give_tokens(actor_as, role: Role) -> None:
    with pytest.raises(Forbidden):
        a_token(actor_as(role))


def test_an_admin_gives_no_token_of_an_owner_and_revokes_none(actor: Actor, actor_as) -> None:
    token, _ = a_token(actor, role=Role.OWNER, scopes=[])

    with pytest.raises(errors.OwnersOnly):
        a_token(actor_as(Role.ADMIN), role=Role.OWNER, name="second")
    with pytest.raises(errors.OwnersOnly):
        token_revoke(actor=actor_as(Role.ADMIN), token_id=token.id)


def test_a_token_gives_no_token_with_more_than_it_has(actor: Actor) -> None:
    _, secret = a_token(actor, role=Role.ADMIN, scopes=[Right.MEMBERS, Right.READ])
    narrow = authentication.authenticate_bearer(secret)

    with pytest.raises(errors.MoreThanYouHave):
        a_token(narrow, name="wide", role=Role.ADMIN, scopes=[])
    token, _ = a_token(narrow, name="equal", scopes=[Right.READ])

    assert token.scopes == ["read"]


def test_a_token_of_a_persons_role_has_all_its_rights_unless_cut(actor: Actor) -> None:
    _, whole = a_token(actor, name="whole", role=Role.AUDITOR, scopes=[])
    _, cut = a_token(actor, name="cut", role=Role.AUDITOR, scopes=["read"])

    assert authentication.authenticate_bearer(whole).rights == {Right.READ, Right.AGENTS_READ, Right.AUDIT_READ}
    assert authentication.authenticate_bearer(cut).rights == {Right.READ}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"scopes": []}, errors.NoScopes),
        ({"scopes": ["members"]}, errors.BadScope),
        ({"scopes": ["everything"]}, errors.BadScope),
        ({"role": Role.VIEWER, "scopes": ["import"]}, errors.BadScope),
        ({"name": " "}, errors.BadName),
        ({"name": "a\tb"}, errors.BadName),
        ({"name": "n" * 121}, errors.BadName),
        ({"expires_at": timezone.now() - timedelta(days=1)}, errors.BadExpiry),
        ({"expires_at": timezone.now() + timedelta(days=400)}, errors.BadExpiry),
    ],
)
def test_bad_input_is_named_and_makes_no_token(actor: Actor, changes: dict, error: type[Exception]) -> None:
    with pytest.raises(error) as refusal:
        a_token(actor, **changes)

    assert refusal.value.code == "BAD_USER_INPUT"
    assert "everything" not in refusal.value.message
    with acting_for(actor.organization_id):
        assert not tokens_all().exists()


def test_a_name_is_given_once_and_the_transaction_around_it_lives_on(actor: Actor) -> None:
    a_token(actor)

    with acting_for(actor.organization_id):
        with pytest.raises(errors.TokenNameTaken):
            a_token(actor)
        assert tokens_all().count() == 1


def test_the_last_use_is_written_at_most_once_a_minute(actor: Actor) -> None:
    token, secret = a_token(actor)
    user = authentication.authenticate_bearer(secret)

    due = [authentication.token_use_is_due(token.id) for _ in range(3)]
    written = [authentication.token_use_record(user) for _ in range(2)]

    assert due == [True, False, False]
    assert written == [True, False]
    with acting_for(actor.organization_id):
        assert token_get(token.id).last_used_at is not None


def test_the_use_of_no_token_is_not_written(actor: Actor) -> None:
    assert authentication.token_use_record(actor) is False


def test_the_memory_of_uses_is_bounded(actor: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    token, _ = a_token(actor)
    monkeypatch.setattr(authentication, "_REMEMBERED_USES", 1)
    monkeypatch.setattr(authentication, "_uses", {actor.organization_id: 0.0})

    assert authentication.token_use_is_due(token.id)

    assert list(authentication._uses) == [token.id]
