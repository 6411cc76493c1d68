"""Who may use the admin for an organization: the settings, the members and the tokens are its own people's."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from people import member, person

from backend.accounts import errors
from backend.accounts.break_glass import glass_break
from backend.accounts.models import Membership, Organization, User
from backend.accounts.services import organization_change, token_create
from backend.audit.models import AuditEntry
from backend.core.actor import Actor, Role
from backend.core.errors import Forbidden
from backend.core.tenancy import acting_for

SETTINGS = {
    "timezone": "UTC",
    "phi_policy": "REDACT",
    "retention_days": 760,
    "fdr_q": 0.05,
    "severity_lift_cents": 5_000_000,
    "small_cells": "EVERYONE",
}


@pytest.fixture
def root(organization: Organization) -> User:
    """The platform's superuser, beside an organization that has an owner."""
    member(organization, person(organization, "ann"), Role.OWNER)
    return User.objects.create_superuser(f"root.{organization.id.hex}@example.org")


def browser_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def staff(organization: Organization, role: Role, name: str = "cy") -> User:
    user = person(organization, name)
    User.objects.filter(id=user.id).update(is_staff=True)
    member(organization, user, role)
    return user


def change(client: Client, organization: Organization, **changes: Any) -> int:
    """The status of the page that takes changed settings."""
    given = {"name": organization.name, **SETTINGS, **changes}
    return client.post(f"/admin/accounts/organization/{organization.id}/change/", given).status_code


def stored(organization: Organization) -> tuple[str, int, str]:
    found = Organization.objects.get(id=organization.id)
    return found.phi_policy, found.retention_days, found.small_cells


def choose(client: Client, organization: Organization) -> str:
    chosen = {"action": "pick", "_selected_action": [str(organization.id)]}
    return client.post("/admin/accounts/organization/", chosen, follow=True).content.decode()


def test_a_superuser_sees_settings_and_changes_none(organization: Organization, root: User) -> None:
    browser = browser_of(root)

    assert browser.get(f"/admin/accounts/organization/{organization.id}/change/").status_code == 200
    assert change(browser, organization, retention_days=1) == 403
    assert stored(organization) == ("REJECT", 760, "VIEWERS")


@pytest.mark.parametrize(("role", "days"), [(Role.ADMIN, 760), (Role.OWNER, 100)])
def test_settings_change_by_emergency_access_and_by_name(
    organization: Organization, root: User, role: Role, days: int
) -> None:
    glass_break(organization=organization, user=root, role=role, reason="restoring the imports", hours=1)

    assert change(browser_of(root), organization, retention_days=100) == 302

    assert stored(organization) == ("REDACT", days, "EVERYONE")
    with acting_for(organization.id):
        entry = AuditEntry.objects.get(object_type="organization", action="update")
    assert (entry.actor_id, entry.actor_role, entry.purpose) == (root.id, role.value, "admin")


@pytest.mark.parametrize(("role", "days"), [(Role.ADMIN, 760), (Role.OWNER, 100)])
def test_an_organizations_own_people_change_its_settings_and_no_others(
    organization: Organization, other_organization: Organization, role: Role, days: int
) -> None:
    browser = browser_of(staff(organization, role))

    listed = browser.get("/admin/accounts/organization/").content.decode()

    assert organization.name in listed
    assert str(other_organization.id) not in listed
    assert change(browser, organization, retention_days=100) == 302
    assert stored(organization) == ("REDACT", days, "EVERYONE")
    assert change(browser, other_organization) == 302  # to the index: there is no such organization for them
    assert stored(other_organization) == ("REJECT", 760, "VIEWERS")
    assert browser.get("/admin/accounts/organization/add/").status_code == 403
    assert browser.get("/admin/accounts/user/").status_code == 403


@pytest.mark.parametrize("role", [Role.ANALYST, Role.VIEWER, Role.AUDITOR])
def test_who_manages_nothing_finds_nothing(organization: Organization, role: Role) -> None:
    browser = browser_of(staff(organization, role))

    for page in ("organization/", f"organization/{organization.id}/change/", "membership/", "apitoken/"):
        assert browser.get(f"/admin/accounts/{page}").status_code == 403
    assert change(browser, organization) == 403


def test_an_organizations_own_people_manage_its_members_and_tokens(
    organization: Organization, other_organization: Organization
) -> None:
    owner, bob = staff(organization, Role.OWNER), person(organization, "bob")
    member(other_organization, person(organization, "dan"), Role.OWNER)
    browser = browser_of(owner)

    assert browser.get("/admin/accounts/membership/add/").status_code == 403
    assert other_organization.name not in choose(browser, other_organization)
    choose(browser, organization)
    assert 'type="email"' in browser.get("/admin/accounts/membership/add/").content.decode()
    nobody = browser.post("/admin/accounts/membership/add/", {"user": "nobody@example.org", "role": "VIEWER"})
    browser.post("/admin/accounts/membership/add/", {"user": bob.email.upper(), "role": "VIEWER"})
    browser.post("/admin/accounts/apitoken/add/", {"name": "loader", "role": "SERVICE", "scopes": ["read"], "days": 9})
    members, tokens = (browser.get(f"/admin/accounts/{page}/").content.decode() for page in ("membership", "apitoken"))

    assert "There is no person with this e-mail address" in nobody.content.decode()
    assert (bob.email in members, "dan." in members) == (True, False)
    assert "loader" in tokens
    with acting_for(organization.id):
        Membership.objects.filter(user=owner).update(role=Role.VIEWER)
    assert browser.get("/admin/accounts/membership/").status_code == 403


def test_no_staff_but_superusers_adds_a_first_member(
    organization: Organization, other_organization: Organization
) -> None:
    owner = staff(organization, Role.OWNER)
    session = (browser := browser_of(owner)).session
    session["admin_organization"] = str(other_organization.id)
    session.save()

    browser.post("/admin/accounts/membership/add/", {"user": owner.email, "role": "OWNER"})

    with acting_for(other_organization.id):
        assert not Membership.objects.exists()


def test_the_list_of_tokens_says_who_made_each(organization: Organization, root: User) -> None:
    ann = User.objects.get(email=f"ann.{organization.id.hex}@example.org")
    actor = Actor(organization_id=organization.id, role=Role.OWNER, user_id=ann.id)
    token_create(actor=actor, name="loader", scopes=["read"], expires_at=timezone.now() + timedelta(days=1))
    browser = browser_of(root)
    glass_break(organization=organization, user=root, reason="restoring the imports", hours=1)
    choose(browser, organization)

    assert ann.email in browser.get("/admin/accounts/apitoken/").content.decode()


def test_the_service_takes_settings_from_who_manages_that_organization(
    organization: Organization, other_organization: Organization
) -> None:
    admin, viewer = (Actor(organization_id=organization.id, role=role) for role in (Role.ADMIN, Role.VIEWER))
    other_organization.retention_days = organization.retention_days = 1

    with pytest.raises(errors.RetentionOfOwners):
        organization_change(actor=admin, organization=organization)
    with pytest.raises(errors.OutOfReach):
        organization_change(actor=admin, organization=other_organization)
    with pytest.raises(Forbidden):
        organization_change(actor=viewer, organization=organization)

    assert stored(organization) == stored(other_organization) == ("REJECT", 760, "VIEWERS")
