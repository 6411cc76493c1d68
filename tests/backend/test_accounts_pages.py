"""The pages on which people sign in, sign out and choose an organization."""

import re
from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone
from people import member, person

from backend.accounts.authentication import authenticate_session
from backend.accounts.errors import NoMembership, SignedOut
from backend.accounts.models import Organization, User
from backend.accounts.services import organization_create
from backend.core.actor import Actor, Role

PASSWORD = "a long enough passphrase"


@pytest.fixture
def ann(organization: Organization) -> User:
    found = person(organization, "ann")
    found.set_password(PASSWORD)
    found.save()
    return found


def sign_in(client: Client, email: str, target: str = ""):
    return client.post("/accounts/login/", {"username": email, "password": PASSWORD, "next": target})


def actor_of(client: Client) -> Actor:
    return authenticate_session(client.cookies[settings.SESSION_COOKIE_NAME].value)


def test_a_member_signs_in_and_works_for_the_only_organization(organization: Organization, ann: User) -> None:
    member(organization, ann, Role.VIEWER)
    client = Client()

    answer = sign_in(client, ann.email)

    assert (answer.status_code, answer["Location"]) == (302, "/graphql")
    assert (actor_of(client).organization_id, actor_of(client).user_id) == (organization.id, ann.id)


def test_a_wrong_password_is_refused(ann: User) -> None:
    answer = Client().post("/accounts/login/", {"username": ann.email, "password": "wrong"})

    assert answer.status_code == 200
    assert "Please enter a correct email and password" in answer.content.decode()
    assert settings.SESSION_COOKIE_NAME not in answer.cookies


@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        ("/graphql?query=a", "/graphql?query=a"),
        ("https://evil.example/", "/graphql"),
        ("//evil.example/", "/graphql"),
        ("javascript:alert(1)", "/graphql"),
    ],
)
def test_signing_in_leads_to_local_addresses_alone(
    organization: Organization, ann: User, wanted: str, target: str
) -> None:
    member(organization, ann, Role.VIEWER)

    assert sign_in(Client(), ann.email, wanted)["Location"] == target


def test_a_member_of_two_organizations_is_asked_for_one(
    organization: Organization, other_organization: Organization, ann: User
) -> None:
    member(organization, ann, Role.VIEWER)
    member(other_organization, ann, Role.ADMIN)
    client = Client()

    asked = sign_in(client, ann.email, "/graphql?a=1")
    shown = client.get(asked["Location"]).content.decode()
    answer = client.post(asked["Location"], {"organization": str(other_organization.id), "next": "/graphql?a=1"})

    assert asked["Location"] == "/accounts/organization/?next=%2Fgraphql%3Fa%3D1"
    assert organization.name in shown
    assert other_organization.name in shown
    assert answer["Location"] == "/graphql?a=1"
    assert (actor_of(client).organization_id, actor_of(client).role) == (other_organization.id, Role.ADMIN)
    assert client.get("/accounts/organization/").content.decode().count("chosen now") == 1


@pytest.mark.parametrize("foreign", [True, False])
def test_an_organization_of_others_is_refused(
    organization: Organization, other_organization: Organization, ann: User, foreign: bool
) -> None:
    member(organization, ann, Role.VIEWER)
    client = Client()
    sign_in(client, ann.email)

    wanted = str(other_organization.id) if foreign else "no id"
    answer = client.post("/accounts/organization/", {"organization": wanted})

    assert answer.status_code == 403
    assert "You do not belong to this organization" in answer.content.decode()
    assert other_organization.name not in answer.content.decode()
    assert actor_of(client).organization_id == organization.id


def test_who_belongs_to_no_organization_is_told_so(ann: User) -> None:
    client = Client()

    answer = client.get(sign_in(client, ann.email)["Location"])

    assert NoMembership().message in answer.content.decode()


def test_the_organizations_are_for_the_signed_in(database: str) -> None:
    answer = Client().get("/accounts/organization/")

    assert answer["Location"] == "/accounts/login/?next=/accounts/organization/"


def test_signing_out_ends_the_session_and_needs_a_post(organization: Organization, ann: User) -> None:
    member(organization, ann, Role.VIEWER)
    client = Client()
    sign_in(client, ann.email)
    key = client.cookies[settings.SESSION_COOKIE_NAME].value

    assert client.get("/accounts/logout/").status_code == 405
    assert authenticate_session(key).user_id == ann.id
    assert client.post("/accounts/logout/")["Location"] == "/accounts/login/"
    with pytest.raises(SignedOut):
        authenticate_session(key)


@pytest.mark.parametrize("page", ["login", "logout", "organization"])
def test_another_site_cannot_send_the_forms(organization: Organization, ann: User, page: str) -> None:
    member(organization, ann, Role.VIEWER)
    client = Client(enforce_csrf_checks=True)
    client.force_login(ann)

    answer = client.post(f"/accounts/{page}/", {"username": ann.email, "password": PASSWORD})

    assert answer.status_code == 403
    assert "CSRF" in answer.content.decode()


def test_the_pages_keep_to_their_policy(organization: Organization, ann: User) -> None:
    client = Client()
    client.force_login(ann)

    for address in ("/accounts/login/", "/accounts/organization/"):
        answer = client.get(address)
        assert answer["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'; form-action 'self'")
        assert "no-store" in answer["Cache-Control"]
        assert not re.search(r"<script|<style|style=|\son\w+=", answer.content.decode())


def test_an_owner_gets_a_password_from_the_administrator(organization: Organization) -> None:
    email = f"owner.{organization.id.hex}@example.org"
    made = organization_create(name=f"Clinic {organization.id}", owner_email=email)
    owner = User.objects.get(email=email)
    administrator = Client()
    administrator.force_login(User.objects.create_superuser(f"root.{organization.id.hex}@example.org"))

    typed = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true", "set-password": "1"}
    administrator.post(f"/admin/accounts/user/{owner.id}/password/", typed)
    client = Client()
    sign_in(client, email)

    assert (actor_of(client).organization_id, actor_of(client).role) == (made.id, Role.OWNER)


def test_choosing_an_organization_does_not_put_off_the_end_of_the_session(
    organization: Organization, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    member(organization, ann, Role.VIEWER)
    client = Client()
    sign_in(client, ann.email)
    key, now = client.cookies[settings.SESSION_COOKIE_NAME].value, timezone.now
    ends = Session.objects.get(session_key=key).expire_date
    late = timedelta(seconds=settings.SESSION_COOKIE_AGE, minutes=-5)

    monkeypatch.setattr(timezone, "now", lambda: now() + late)
    answer = client.post("/accounts/organization/", {"organization": str(organization.id)})

    assert answer.status_code == 302
    assert Session.objects.get(session_key=key).expire_date == ends
    assert int(answer.cookies[settings.SESSION_COOKIE_NAME]["max-age"]) <= 300
