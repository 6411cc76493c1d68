"""Signing in by a Django session: who is asking, and for which organization."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from people import member, person

from backend.accounts import authentication, errors
from backend.accounts.models import Membership, Organization, User
from backend.accounts.tasks import forget_sessions
from backend.core.actor import Right, Role
from backend.core.tenancy import acting_for


def signed_in(user: User) -> str:
    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def test_a_member_works_for_the_only_organization(organization: Organization) -> None:
    ann = person(organization, "ann")
    member(organization, ann, Role.VIEWER)

    actor = authentication.authenticate_session(signed_in(ann))

    assert (actor.organization_id, actor.user_id, actor.token_id) == (organization.id, ann.id, None)
    assert actor.rights == {Right.READ}


@pytest.mark.parametrize("key", [None, "", "0" * 32, "not a key"])
def test_an_unknown_session_is_signed_out(database: str, key: str | None) -> None:
    with pytest.raises(errors.SignedOut):
        authentication.authenticate_session(key)


def test_a_changed_password_ends_the_session(organization: Organization) -> None:
    ann = person(organization, "ann")
    member(organization, ann, Role.VIEWER)
    key = signed_in(ann)
    ann.set_password("another passphrase")
    ann.save()

    with pytest.raises(errors.SignedOut):
        authentication.authenticate_session(key)


def test_an_inactive_person_is_signed_out(organization: Organization) -> None:
    ann = person(organization, "ann")
    member(organization, ann, Role.VIEWER)
    key = signed_in(ann)
    User.objects.filter(id=ann.id).update(is_active=False)

    with pytest.raises(errors.SignedOut):
        authentication.authenticate_session(key)


def test_without_a_membership_there_is_no_organization(organization: Organization) -> None:
    with pytest.raises(errors.NoMembership):
        authentication.authenticate_session(signed_in(person(organization, "ann")))


def test_a_member_of_two_organizations_chooses(organization: Organization, other_organization: Organization) -> None:
    ann = person(organization, "ann")
    member(organization, ann, Role.VIEWER)
    member(other_organization, ann, Role.ADMIN)
    key = signed_in(ann)

    with pytest.raises(errors.OrganizationNotChosen, match=reverse("organization")):
        authentication.authenticate_session(key)
    session = authentication.session_of(key)
    authentication.choose_organization(session, user_id=ann.id, organization_id=other_organization.id)
    session.save()

    actor = authentication.authenticate_session(key)
    assert (actor.organization_id, actor.role) == (other_organization.id, Role.ADMIN)


def test_a_choice_ends_with_the_membership(organization: Organization, other_organization: Organization) -> None:
    ann = person(organization, "ann")
    member(organization, ann, Role.VIEWER)
    member(other_organization, ann, Role.ADMIN)
    key = signed_in(ann)
    session = authentication.session_of(key)
    authentication.choose_organization(session, user_id=ann.id, organization_id=other_organization.id)
    session.save()
    with acting_for(other_organization.id):
        Membership.objects.filter(user=ann).delete()

    with pytest.raises(errors.NotAMember, match=reverse("organization")):
        authentication.authenticate_session(key)
    with pytest.raises(errors.NotAMember):
        authentication.choose_organization(session, user_id=ann.id, organization_id=other_organization.id)


def test_sessions_that_have_ended_are_deleted_and_no_others(organization: Organization) -> None:
    ended, lasting = (signed_in(person(organization, name)) for name in ("ann", "bob"))
    Session.objects.filter(session_key=ended).update(expire_date=timezone.now() - timedelta(seconds=1))

    forget_sessions(0)

    assert list(Session.objects.filter(session_key__in=[ended, lasting]).values_list("pk", flat=True)) == [lasting]
