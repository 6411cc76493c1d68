"""Organizations, their members, and the last owner."""

import uuid
from datetime import timedelta

import pytest
from django.db import IntegrityError
from django.utils import timezone
from people import at_once, member, person

from backend.accounts import errors
from backend.accounts.authentication import authenticate_bearer
from backend.accounts.models import Membership, Organization, User
from backend.accounts.selectors import memberships_all, organization_named, organizations_all
from backend.accounts.services import (
    membership_remove,
    membership_set,
    organization_change,
    organization_create,
    token_create,
    user_ensure,
)
from backend.core.actor import Actor, Right, Role
from backend.core.errors import Forbidden, NotFound
from backend.core.tenancy import acting_for


def roles(organization: Organization) -> dict[str, str]:
    with acting_for(organization.id):
        return {found.user.email.split(".")[0]: found.role for found in memberships_all()}


def test_no_two_accounts_differ_in_case_alone(organization: Organization) -> None:
    ann = person(organization, "ann")

    assert User.objects.get_by_natural_key(ann.email.upper()) == ann
    assert user_ensure(email=f" {ann.email.upper()}") == ann
    with pytest.raises(IntegrityError, match="user_account_email_ck"):
        User.objects.filter(id=ann.id).update(email=ann.email.title())
    with pytest.raises(IntegrityError, match="user_account_email_ck"):
        User.objects.create(email=ann.email.title())


@pytest.mark.parametrize(
    "changes",
    [{"fdr_q": 0.6}, {"fdr_q": 0}, {"severity_lift_cents": -5}, {"retention_days": 0}, {"name": "a\x07"}],
    ids=lambda changes: next(iter(changes)),
)
def test_the_database_holds_no_settings_that_nothing_could_work_with(organization: Organization, changes: dict) -> None:
    with pytest.raises(IntegrityError, match=r"organization_\w+_ck"):
        Organization.objects.filter(id=organization.id).update(**changes)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": "a\nb"}, errors.BadName),
        ({"timezone": "Mars/X"}, errors.BadTimezone),
        ({"timezone": "localtime"}, errors.BadTimezone),  # of whom, and unknown to PostgreSQL
        ({"retention_days": 0}, errors.BadRetention),
        ({"fdr_q": 0.6}, errors.BadThreshold),
        ({"fdr_q": float("nan")}, errors.BadThreshold),
        ({"severity_lift_cents": -5}, errors.BadSeverityLift),
        ({"name": "taken"}, errors.OrganizationExists),
    ],
)
def test_a_refused_change_leaves_the_organization_as_it_was(
    organization: Organization, other_organization: Organization, changes: dict, error: type[Exception]
) -> None:
    if error is errors.OrganizationExists:
        changes = {"name": f"taken {organization.id}"}
        Organization.objects.filter(id=other_organization.id).update(**changes)
    before = Organization.objects.values().get(id=organization.id)
    organization.name = str(organization.id)
    for field, value in changes.items():
        setattr(organization, field, value)

    with pytest.raises(error) as refusal:
        organization_change(actor=Actor(organization_id=organization.id, role=Role.OWNER), organization=organization)

    assert refusal.value.path == (next(iter(changes)),)
    assert Organization.objects.values().get(id=organization.id) == before


def test_an_organization_begins_with_its_owner(organization: Organization) -> None:
    address = f"Ann.{organization.id.hex}@Example.org"

    made = organization_create(name=f"  Clinic {organization.id}  ", owner_email=address, timezone_name="Europe/Oslo")

    assert (made.name, made.timezone) == (f"Clinic {organization.id}", "Europe/Oslo")
    with acting_for(made.id):
        owner = Membership.objects.select_related("user").get()
    assert (owner.role, owner.user.email) == ("OWNER", address.casefold())
    assert not owner.user.has_usable_password()
    assert organization_named(made.name) == made
    assert made in organizations_all()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": ""}, errors.BadName),
        ({"timezone_name": "Mars/Olympus"}, errors.BadTimezone),
        ({"owner_email": "nobody"}, errors.BadEmail),
    ],
)
def test_a_bad_organization_is_not_made(organization: Organization, changes: dict, error: type[Exception]) -> None:
    name = f"Bad {organization.id}"

    with pytest.raises(error):
        organization_create(**({"name": name} | changes))

    assert not Organization.objects.filter(name=name).exists()


def test_names_of_organizations_are_unique(organization: Organization) -> None:
    with pytest.raises(errors.OrganizationExists):
        organization_create(name=organization.name, owner_email=f"x.{organization.id.hex}@example.org")

    assert not User.objects.filter(email=f"x.{organization.id.hex}@example.org").exists()
    with pytest.raises(errors.NoSuchOrganization):
        organization_named("no such organization")


def test_a_person_is_found_by_any_spelling_of_the_address(organization: Organization) -> None:
    first = user_ensure(email=f"bo.{organization.id.hex}@example.org", name="Bo")

    assert user_ensure(email=f" BO.{organization.id.hex}@EXAMPLE.org ") == first


def test_a_role_is_set_and_changed(organization: Organization, actor: Actor) -> None:
    ann = person(organization, "ann")

    membership_set(actor=actor, user_id=ann.id, role=Role.VIEWER)
    membership_set(actor=actor, user_id=ann.id, role=Role.ANALYST)

    assert roles(organization) == {"ann": "ANALYST"}


def test_an_admin_manages_everybody_but_owners(organization: Organization, actor_as) -> None:
    admin, ann, bob = actor_as(Role.ADMIN), person(organization, "ann"), person(organization, "bob")
    member(organization, ann, Role.OWNER)

    membership_set(actor=admin, user_id=bob.id, role=Role.ADMIN)
    for attempt in (
        lambda: membership_set(actor=admin, user_id=bob.id, role=Role.OWNER),
        lambda: membership_set(actor=admin, user_id=ann.id, role=Role.VIEWER),
        lambda: membership_remove(actor=admin, user_id=ann.id),
    ):
        with pytest.raises(errors.OwnersOnly):
            attempt()
    assert roles(organization) == {"ann": "OWNER", "bob": "ADMIN"}

    membership_remove(actor=admin, user_id=bob.id)
    assert roles(organization) == {"ann": "OWNER"}


@pytest.mark.parametrize("role", [Role.ANALYST, Role.VIEWER, Role.AUDITOR, Role.SERVICE])
def test_nobody_else_manages_members(organization: Organization, actor_as, role: Role) -> None:
    ann = person(organization, "ann")

    with pytest.raises(Forbidden):
        membership_set(actor=actor_as(role), user_id=ann.id, role=Role.VIEWER)
    with pytest.raises(Forbidden):
        membership_remove(actor=actor_as(role), user_id=ann.id)


def test_the_last_owner_stays(organization: Organization, actor: Actor) -> None:
    ann = person(organization, "ann")
    member(organization, ann, Role.OWNER)

    with pytest.raises(errors.LastOwner):
        membership_set(actor=actor, user_id=ann.id, role=Role.ADMIN)
    with pytest.raises(errors.LastOwner):
        membership_remove(actor=actor, user_id=ann.id)

    membership_set(actor=actor, user_id=ann.id, role=Role.OWNER)
    assert roles(organization) == {"ann": "OWNER"}


def test_of_two_owners_who_leave_at_once_one_stays(organization: Organization, actor: Actor) -> None:
    people = [person(organization, name) for name in ("ann", "bob")]
    for user in people:
        member(organization, user, Role.OWNER)

    results = at_once(*(lambda user=user: membership_remove(actor=actor, user_id=user.id) for user in people))

    assert [type(result) for result in results if result] == [errors.LastOwner]
    assert list(roles(organization).values()) == ["OWNER"]


def test_service_is_no_role_of_a_person_and_strangers_are_unknown(organization: Organization, actor: Actor) -> None:
    ann = person(organization, "ann")

    with pytest.raises(errors.NotForPeople):
        membership_set(actor=actor, user_id=ann.id, role=Role.SERVICE)
    with pytest.raises(NotFound):
        membership_set(actor=actor, user_id=uuid.uuid4(), role=Role.VIEWER)
    with pytest.raises(NotFound):
        membership_remove(actor=actor, user_id=ann.id)


def test_members_of_another_organization_are_out_of_reach(
    organization: Organization, other_organization: Organization
) -> None:
    ann = person(organization, "ann")
    member(organization, ann, Role.VIEWER)
    stranger = Actor(organization_id=other_organization.id, role=Role.OWNER)

    with pytest.raises(NotFound):
        membership_remove(actor=stranger, user_id=ann.id)

    assert roles(organization) == {"ann": "VIEWER"}
    assert roles(other_organization) == {}


def _token(organization: Organization, user: User, scope: Right) -> str:
    _, secret = token_create(
        actor=Actor(organization_id=organization.id, role=Role.OWNER, user_id=user.id),
        name=f"{scope} {user.id}",
        role=Role.ADMIN if scope is Right.MEMBERS else Role.SERVICE,
        scopes=[scope],
        expires_at=timezone.now() + timedelta(days=1),
    )
    return secret


def _is_good(secret: str) -> bool:
    try:
        return bool(authenticate_bearer(secret))
    except errors.RevokedToken:
        return False


def test_who_may_do_less_leaves_no_token_that_may_do_more(organization: Organization, actor: Actor) -> None:
    ann, bob = person(organization, "ann"), person(organization, "bob")
    for user in (ann, bob):
        member(organization, user, Role.OWNER)
    secrets = [_token(organization, ann, one) for one in (Right.MEMBERS, Right.AGENTS_WRITE, Right.IMPORT)]
    secrets.append(_token(organization, bob, Right.MEMBERS))

    membership_set(actor=actor, user_id=ann.id, role=Role.ANALYST)

    assert list(map(_is_good, secrets)) == [False, False, True, True]


def test_a_role_that_was_lost_on_the_way_counts_no_more(organization: Organization) -> None:
    """Pages learn the role when they begin; whoever takes it away may be done by the time that something is written."""
    ann, bob = person(organization, "ann"), person(organization, "bob")
    member(organization, ann, Role.VIEWER)
    stale = Actor(organization_id=organization.id, role=Role.OWNER, user_id=ann.id)

    for act in (
        lambda: _token(organization, ann, Right.READ),
        lambda: membership_set(actor=stale, user_id=bob.id, role=Role.OWNER),
        lambda: membership_remove(actor=stale, user_id=ann.id),
    ):
        with pytest.raises(Forbidden):
            act()

    assert roles(organization) == {"ann": "VIEWER"}


def test_who_is_made_inactive_leaves_no_token_anywhere(
    organization: Organization, other_organization: Organization
) -> None:
    ann, bob = person(organization, "ann"), person(organization, "bob")
    secrets = []
    for one, user in ((organization, ann), (other_organization, ann), (organization, bob)):
        member(one, user, Role.OWNER)
        secrets.append(_token(one, user, Right.READ))
    ann.name = "Ann"
    ann.save()
    before = list(map(_is_good, secrets))

    ann.is_active = False
    ann.save()

    assert before == [True, True, True]
    assert list(map(_is_good, secrets)) == [False, False, True]


def test_who_is_a_member_no_more_leaves_no_token(
    organization: Organization, other_organization: Organization, actor: Actor
) -> None:
    ann, bob = person(organization, "ann"), person(organization, "bob")
    for user in (ann, bob):
        member(organization, user, Role.OWNER)
    member(other_organization, ann, Role.OWNER)
    secrets = [
        token_create(
            actor=Actor(organization_id=one.id, role=Role.OWNER, user_id=user.id),
            name=f"loader {number}",
            scopes=["read"],
            expires_at=timezone.now() + timedelta(days=1),
        )[1]
        for number, (one, user) in enumerate([(organization, ann), (organization, bob), (other_organization, ann)])
    ]

    membership_remove(actor=actor, user_id=ann.id)

    gone, *kept = secrets
    with pytest.raises(errors.RevokedToken):
        authenticate_bearer(gone)
    assert [authenticate_bearer(secret).organization_id for secret in kept] == [organization.id, other_organization.id]
