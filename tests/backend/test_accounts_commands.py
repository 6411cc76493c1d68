"""The commands that make organizations and tokens."""

from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from backend.accounts.authentication import authenticate_bearer
from backend.accounts.models import Organization, User
from backend.accounts.selectors import memberships_all, organization_named
from backend.audit.models import AuditEntry
from backend.core.actor import Right, Role
from backend.core.operators import os_operator
from backend.core.tenancy import acting_for


def run(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command(*arguments, stdout=out, stderr=err)
    return out.getvalue().strip(), err.getvalue()


def test_an_organization_is_made_with_its_owner(organization: Organization) -> None:
    name = f"Clinic {organization.id}"

    printed, _ = run("organization_create", name, "--owner", f"ann.{organization.id.hex}@example.org")

    assert printed == str(organization_named(name).id)
    with acting_for(organization_named(name).id):
        assert [found.role for found in memberships_all()] == ["OWNER"]
    with pytest.raises(CommandError, match="of this name"):
        run("organization_create", name)


def test_the_secret_is_all_that_is_printed(organization: Organization) -> None:
    secret, remark = run(
        "token_create", "--organization", organization.name, "--name", "loader", "--scope", "import", "--scope", "read"
    )

    actor = authenticate_bearer(secret)
    assert (actor.organization_id, actor.role, actor.rights) == (
        organization.id,
        Role.SERVICE,
        {Right.IMPORT, Right.READ},
    )
    assert "import, read" in remark
    assert secret not in remark


def test_the_trail_tells_whose_account_made_a_token(organization: Organization) -> None:
    run("token_create", "--organization", organization.name, "--name", "loader", "--scope", "read")

    with acting_for(organization.id):
        [entry] = AuditEntry.objects.filter(object_type="api_token", action="insert")
        assert (entry.request_id, entry.purpose) == (f"os:{os_operator()}", "token_create")


def test_the_longest_term_is_allowed_and_no_longer_one(organization: Organization) -> None:
    given = ("token_create", "--organization", organization.name, "--role", "VIEWER")

    run(*given, "--name", "year", "--days", "366")
    for days in ("367", "999999999999", "0"):
        with pytest.raises(CommandError, match="from 1 to 366"):
            run(*given, "--name", "more", "--days", days)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--organization", "no such clinic", "--name", "n"), "no organization of this name"),
        (("--organization", "", "--name", "n", "--scope", "read", "--role", "SERVICE"), "no organization"),
    ],
)
def test_what_is_wrong_is_said(database: str, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run("token_create", *arguments)


def test_a_scope_that_a_service_cannot_have_is_refused_with_those_it_can(organization: Organization) -> None:
    allowed = "agents:read, agents:write, claims:read, detect, import, read"

    with pytest.raises(CommandError, match=f"members is no scope of a SERVICE token; those are {allowed}."):
        run("token_create", "--organization", organization.name, "--name", "n", "--scope", "members")


@pytest.mark.parametrize("typed", [str.upper, str.title, lambda address: f" {address}"])
def test_a_password_is_changed_by_the_address_however_it_is_typed(
    organization: Organization, monkeypatch: pytest.MonkeyPatch, typed: Callable[[str], str]
) -> None:
    address, password = f"ann.{organization.id.hex}@example.org", "correct horse battery staple"
    User.objects.create_user(address, "old")
    monkeypatch.setattr("getpass.getpass", lambda prompt: password if prompt else "")

    run("changepassword", typed(address))

    assert User.objects.get(email=address).check_password(password)


def test_a_service_token_without_a_scope_is_refused(organization: Organization) -> None:
    with pytest.raises(CommandError, match="at least one scope"):
        run("token_create", "--organization", organization.name, "--name", "n")
