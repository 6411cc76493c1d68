"""Whom an OpenID provider vouches for: which account it is, what is recorded, and how one is let go again."""

import dataclasses
import time

import psycopg
import pytest
from authlib.integrations.django_client import DjangoIntegration
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.db import IntegrityError, ProgrammingError
from django.http import HttpRequest, QueryDict
from django.test import Client, RequestFactory
from people import at_once, member, person

from backend.accounts import oidc
from backend.accounts.errors import NotAdmitted
from backend.accounts.identities import identity_link, person_admit, person_of_address
from backend.accounts.models import Identity, Organization, User
from backend.audit.models import AuditEntry
from backend.core.actor import Role
from backend.core.tenancy import acting_for
from benchmarks.serving import free_port
from tests import server

ISSUER = "https://id.example.org"


@pytest.fixture
def ann(organization: Organization) -> User:
    found = person(organization, "ann")
    member(organization, found, Role.VIEWER)
    return found


@pytest.fixture
def _configured(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    given = {"oidc_issuer": nobody, "oidc_client_id": "a", "oidc_client_secret": "b"}
    monkeypatch.setattr(settings, "ENVIRONMENT", dataclasses.replace(settings.ENVIRONMENT, **given))


def _acts(organization: Organization) -> list[str]:
    with acting_for(organization.id):
        found = AuditEntry.objects.filter(object_type="user_account").order_by("at", "id")
        return list(found.values_list("action", flat=True))


def _link(organization: Organization, user: User, subject: str = "1") -> None:
    identity_link(user, issuer=ISSUER, subject=f"{subject} {organization.id}", address="192.0.2.7")


@pytest.mark.parametrize("address", ["/accounts/oidc/", "/accounts/oidc/callback/?state=a&code=b"])
def test_without_a_provider_there_are_no_pages(database: str, address: str) -> None:
    assert Client().get(address).status_code == 404
    assert Client().post(address).status_code == 404
    for page in ("/accounts/login/", "/admin/login/"):
        assert "Sign in with" not in Client().get(page).content.decode()


def test_an_address_is_found_in_any_case_but_not_in_other_letters(organization: Organization) -> None:
    kim, umlaut = person(organization, "kim"), person(organization, "jörg")

    assert person_of_address(kim.email.upper()) == kim
    assert person_of_address(kim.email.replace("k", "\N{KELVIN SIGN}", 1)) is None
    assert person_of_address(umlaut.email) == umlaut
    assert person_of_address(umlaut.email.upper()) is None
    assert person_of_address("") is None


def test_many_first_returns_at_once_link_once(organization: Organization, ann: User) -> None:
    results = at_once(*[lambda: _link(organization, ann)] * 4)

    assert results == [None] * 4
    assert Identity.objects.filter(user=ann).count() == 1
    assert _acts(organization) == ["identity.link"]


def test_two_subjects_at_once_are_one_person_or_none(organization: Organization, ann: User) -> None:
    results = at_once(*[lambda one=one: _link(organization, ann, one) for one in "123"])

    assert sorted(type(result).__name__ for result in results) == ["NoneType", "NotAdmitted", "NotAdmitted"]
    assert Identity.objects.filter(user=ann).count() == 1


def test_an_identity_stays_whose_it_is(organization: Organization, ann: User) -> None:
    _link(organization, ann)

    with pytest.raises(NotAdmitted):
        _link(organization, person(organization, "bob"))


@pytest.mark.parametrize("empty", ["issuer", "subject"])
def test_an_identity_without_a_name_cannot_be_kept(organization: Organization, ann: User, empty: str) -> None:
    with pytest.raises(IntegrityError, match=f"user_account_identity_{empty}_ck"):
        Identity.objects.create(user=ann, **{"issuer": "i", "subject": "s", empty: ""})


def test_what_cannot_be_recorded_links_nobody(organization: Organization, ann: User, database: str) -> None:
    with psycopg.connect(server.url("owner", database), autocommit=True) as owner:
        owner.execute("REVOKE EXECUTE ON FUNCTION audit_sign_in FROM app")
        try:
            with pytest.raises(ProgrammingError):
                _link(organization, ann)
        finally:
            owner.execute("GRANT EXECUTE ON FUNCTION audit_sign_in TO app")

    assert not Identity.objects.filter(user=ann).exists()


@pytest.mark.usefixtures("_configured")
def test_an_administrator_lets_an_identity_go_and_it_is_recorded(organization: Organization, ann: User) -> None:
    _link(organization, ann)
    root = User.objects.create_superuser(f"root.{organization.id.hex}@example.org")
    client = Client()
    client.force_login(root)
    address = f"/admin/accounts/user/{ann.id}/change/"
    shown = client.get(address)
    [identity] = Identity.objects.filter(user=ann)
    form = {
        "email": ann.email,
        "name": "",
        "is_active": "on",
        "identity_set-TOTAL_FORMS": "1",
        "identity_set-INITIAL_FORMS": "1",
        "identity_set-0-id": str(identity.id),
        "identity_set-0-user": str(ann.id),
        "identity_set-0-DELETE": "on",
    }
    prefix = shown.context["inline_admin_formsets"][0].formset.prefix
    answer = client.post(address, {name.replace("identity_set", prefix): value for name, value in form.items()})

    assert f"1 {organization.id}" in shown.content.decode()
    assert answer.status_code == 302
    assert not Identity.objects.filter(user=ann).exists()
    assert _acts(organization) == ["identity.link", "identity.unlink"]
    again = person_admit(
        issuer=ISSUER, subject=f"2 {organization.id}", email=ann.email, email_verified=True, address="192.0.2.7"
    )
    assert again == ann


@pytest.mark.usefixtures("_configured")
def test_a_provider_that_nobody_is_at_cannot_be_reached(database: str) -> None:
    request = RequestFactory().post("/accounts/oidc/")
    request.session = SessionStore()

    with pytest.raises(oidc.ProviderFailed, match=r"^ConnectionError$"):
        oidc.begin(request, callback="https://driftgraph.example.org/", target="/")
    assert request.session.is_empty()


def test_a_state_is_good_until_its_hour_is_over() -> None:
    request = HttpRequest()
    request.session, request.GET = SessionStore(), QueryDict("state=s")
    DjangoIntegration("oidc").set_state_data(request.session, "s", {"target": "/graphql"})
    assert oidc.target_of(request) == "/graphql"

    [key] = request.session.keys()
    request.session[key]["exp"] = time.time() - 1

    assert oidc.target_of(request) is None
