"""Emergency access: what it takes, that it is recorded, that it ends by itself, and that there is no way around it."""

from datetime import timedelta
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from people import member, person

from backend.accounts.authentication import authenticate_session
from backend.accounts.break_glass import glass_break
from backend.accounts.errors import AlreadyMember, NoMembership
from backend.accounts.models import ApiToken, EmergencyAccess, Membership, Organization, User
from backend.audit.models import AuditEntry
from backend.core.actor import Role
from backend.core.tenancy import acting_for

WHY = "restoring the imports of March"


@pytest.fixture
def root(organization: Organization) -> User:
    """An administrator of the platform, beside an organization that has an owner."""
    member(organization, person(organization, "ann"), Role.OWNER)
    return User.objects.create_superuser(f"root.{organization.id.hex}@example.org")


@pytest.fixture
def browser(root: User) -> Client:
    client = Client()
    client.force_login(root)
    return client


def _cookie(client: Client) -> str:
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def _end(organization: Organization) -> None:
    """Lets the hours go by."""
    with acting_for(organization.id):
        EmergencyAccess.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


def _choose(client: Client, organization: Organization) -> str:
    chosen = {"action": "pick", "_selected_action": [str(organization.id)]}
    return client.post("/admin/accounts/organization/", chosen, follow=True).content.decode()


def test_an_administrator_of_the_platform_is_nobody_in_an_organization(
    organization: Organization, root: User, browser: Client
) -> None:
    with pytest.raises(NoMembership):
        authenticate_session(_cookie(browser))

    assert "You are no member of this organization" in _choose(browser, organization)
    assert "Pick an organization first" in browser.get("/admin/accounts/membership/").content.decode()
    assert browser.get("/admin/accounts/apitoken/add/").status_code == 403


def test_emergency_access_lasts_as_long_as_it_lasts(organization: Organization, root: User, browser: Client) -> None:
    access = glass_break(organization=organization, user=root, reason=WHY, hours=2)

    actor = authenticate_session(_cookie(browser))
    assert (actor.organization_id, actor.role, actor.user_id) == (organization.id, Role.ADMIN, root.id)
    assert timedelta(hours=1.9) < access.expires_at - timezone.now() <= timedelta(hours=2)
    assert organization.name in _choose(browser, organization)
    assert "ann." in browser.get("/admin/accounts/membership/").content.decode()

    _end(organization)

    with pytest.raises(NoMembership):
        authenticate_session(_cookie(browser))
    assert "ann." not in browser.get("/admin/accounts/membership/").content.decode()
    assert browser.get("/admin/accounts/membership/add/").status_code == 403


def test_it_is_recorded_and_what_is_done_with_it_too(
    organization: Organization, root: User, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "oncall")
    access = glass_break(organization=organization, user=root, reason=WHY, hours=1)
    _choose(browser, organization)
    browser.post("/admin/accounts/membership/add/", {"user": str(person(organization, "bob").id), "role": "VIEWER"})
    browser.post("/accounts/logout/")

    with acting_for(organization.id):
        given = AuditEntry.objects.get(object_type="emergency_access")
        done = AuditEntry.objects.get(object_type="membership", actor_role="ADMIN")
        left = AuditEntry.objects.get(action="sign_out")
    assert (given.action, given.purpose, given.object_ids) == ("insert", "break_glass", [access.id])
    assert given.request_id == "os:oncall"
    assert (done.actor_id, done.purpose) == (root.id, "admin")
    assert (left.actor_id, left.actor_role) == (root.id, "ADMIN")
    assert WHY not in str(vars(given))


def test_an_emergency_administrator_makes_no_owner(organization: Organization, root: User, browser: Client) -> None:
    glass_break(organization=organization, user=root, reason=WHY, hours=1)
    _choose(browser, organization)
    given = {"user": str(person(organization, "bob").id), "role": "OWNER"}

    answer = browser.post("/admin/accounts/membership/add/", given, follow=True)

    assert "Only an OWNER" in answer.content.decode()


@pytest.mark.parametrize("role", [Role.ADMIN, Role.OWNER])
def test_nothing_that_it_makes_for_its_holder_outlives_it(
    organization: Organization, root: User, browser: Client, role: Role
) -> None:
    glass_break(organization=organization, user=root, role=role, reason=WHY, hours=1)
    _choose(browser, organization)
    given = {"name": "late", "role": "ADMIN", "days": 366}

    token = browser.post("/admin/accounts/apitoken/add/", given, follow=True).content.decode()
    joined = browser.post(
        "/admin/accounts/membership/add/", {"user": str(root.id), "role": "VIEWER"}, follow=True
    ).content.decode()

    assert "no API tokens" in token
    assert "no member of who has it" in joined
    with acting_for(organization.id):
        assert not ApiToken.objects.exists()
        assert not Membership.objects.filter(user=root).exists()


def test_an_organization_without_members_is_open_until_it_has_one(
    organization: Organization, other_organization: Organization, browser: Client
) -> None:
    assert other_organization.name in _choose(browser, other_organization)
    given = {"user": str(person(organization, "bob").id), "role": "OWNER"}

    browser.post("/admin/accounts/membership/add/", given)

    assert "bob." not in browser.get("/admin/accounts/membership/").content.decode()


def test_a_member_has_nothing_to_break(organization: Organization, root: User) -> None:
    member(organization, root, Role.VIEWER)

    with pytest.raises(AlreadyMember):
        glass_break(organization=organization, user=root, reason=WHY, hours=1)


def test_it_is_given_by_a_command(organization: Organization, root: User) -> None:
    out, asked = StringIO(), {"organization": organization.name, "user": root.email.upper(), "reason": WHY, "hours": 3}

    call_command("break_glass", role="AUDITOR", stdout=out, **asked)

    with acting_for(organization.id):
        access = EmergencyAccess.objects.get()
    assert (access.user_id, access.role, access.reason) == (root.id, "AUDITOR", WHY)
    assert out.getvalue() == f"AUDITOR until {access.expires_at:%Y-%m-%d %H:%M} UTC\n"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hours": 0}, "1 to 24 hours (DRIFTGRAPH_BREAK_GLASS_HOURS)"),
        ({"hours": 25}, "1 to 24 hours (DRIFTGRAPH_BREAK_GLASS_HOURS)"),
        ({"reason": " short "}, "10 to 500 printable characters"),
        ({"reason": "the claims of patient Mary Smith"}, "seems to identify a person"),
        ({"user": "nobody@example.org"}, "no person with this e-mail address"),
        ({"organization": "no such"}, "no organization of this name"),
    ],
)
def test_what_is_not_enough_is_refused(
    organization: Organization, root: User, changes: dict[str, object], message: str
) -> None:
    asked = {"organization": organization.name, "user": root.email, "reason": WHY, "hours": 1, **changes}

    with pytest.raises(CommandError) as refused:
        call_command("break_glass", **asked)

    assert message in str(refused.value)
    with acting_for(organization.id):
        assert not EmergencyAccess.objects.exists()
