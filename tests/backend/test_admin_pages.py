"""The admin under row-level security: every page, and what it may not show or do."""

import logging
import re
from datetime import timedelta
from io import StringIO

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.http import HttpRequest
from django.test import AsyncClient, Client
from django.utils import timezone
from people import member, person

from backend.accounts.admin_site import admin_actor
from backend.accounts.authentication import authenticate_bearer
from backend.accounts.break_glass import glass_break
from backend.accounts.errors import RevokedToken
from backend.accounts.models import ApiToken, Membership, Organization, User
from backend.accounts.services import token_create
from backend.core.actor import Actor, Right, Role
from backend.core.tenancy import acting_for


@pytest.fixture
def administrator(organization: Organization) -> User:
    return User.objects.create_superuser(f"root.{organization.id.hex}@example.org")


@pytest.fixture
def browser(administrator: User) -> Client:
    client = Client()
    client.force_login(administrator)
    return client


def pick(client: Client, *organizations: Organization):
    """Picks as somebody who has access for an emergency."""
    administrator = User.objects.get(id=client.session["_auth_user_id"])
    for one in organizations:
        glass_break(organization=one, user=administrator, role=Role.OWNER, reason="what this test is about", hours=1)
    return choose(client, *organizations)


def choose(client: Client, *organizations: Organization):
    chosen = {"action": "pick", "_selected_action": [str(found.id) for found in organizations]}
    return client.post("/admin/accounts/organization/", chosen, follow=True)


def page(client: Client, address: str) -> str:
    response = client.get(address, follow=True)
    assert response.status_code == 200
    return response.content.decode()


def a_token(organization: Organization, name: str) -> ApiToken:
    actor = Actor(organization_id=organization.id, role=Role.OWNER)
    expires_at = timezone.now() + timedelta(days=1)
    return token_create(actor=actor, name=name, scopes=["read"], expires_at=expires_at)[0]


def test_strangers_see_the_login_page_alone(organization: Organization) -> None:
    member_only = Client()
    member_only.force_login(person(organization, "ann"))

    for client in (Client(), member_only):
        response = client.get("/admin/accounts/organization/")
        assert response.status_code == 302
        assert response["Location"].startswith("/admin/login/")
        assert client.post("/admin/accounts/apitoken/add/", {"name": "x"}).status_code == 302


def test_a_person_signs_in_with_address_and_password(administrator: User) -> None:
    client = Client()
    administrator.set_password("a long enough passphrase")
    administrator.save()

    signed_in = client.post(
        "/admin/login/?next=/admin/", {"username": administrator.email, "password": "a long enough passphrase"}
    )

    assert signed_in["Location"] == "/admin/"
    assert "Administration" in page(client, "/admin/")


def test_an_organization_is_made_and_edited(browser: Client, organization: Organization) -> None:
    name = f"Clinic {organization.id}"

    browser.post("/admin/accounts/organization/add/", {"name": name, "timezone": "UTC"})
    made = Organization.objects.get(name=name)
    changed = {
        "name": name,
        "timezone": "Europe/Oslo",
        "phi_policy": "REDACT",
        "retention_days": 100,
        "fdr_q": 0.1,
        "severity_lift_cents": 1,
        "purpose_required": "on",
        "small_cells": "EVERYONE",
        "small_cell_minimum": 20,
    }
    browser.post(f"/admin/accounts/organization/{made.id}/change/", changed)

    made.refresh_from_db()
    assert (made.timezone, made.phi_policy, made.retention_days) == ("Europe/Oslo", "REDACT", 100)
    assert made.purpose_required
    assert (made.small_cells, made.small_cell_minimum) == ("EVERYONE", 20)


def test_a_refused_organization_is_explained(browser: Client, organization: Organization) -> None:
    name = f"Mars {organization.id}"

    answer = browser.post("/admin/accounts/organization/add/", {"name": name, "timezone": "Mars/X"}, follow=True)

    assert "no time zone of the IANA list" in answer.content.decode()
    assert not Organization.objects.filter(name=name).exists()


SETTINGS = {
    "timezone": "UTC",
    "phi_policy": "REJECT",
    "retention_days": 760,
    "fdr_q": 0.05,
    "severity_lift_cents": 5_000_000,
    "small_cells": "VIEWERS",
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"timezone": "Mars/X"}, "no time zone of the IANA list"),
        ({"name": "Clinic\x07"}, "1 to 120 printable characters"),
        ({"name": "n" * 121}, "at most 120 characters"),
        ({"retention_days": 0}, "must be greater than 0"),
        ({"fdr_q": 0.6}, "above 0 and at most 0.5"),
        ({"fdr_q": 0}, "above 0 and at most 0.5"),
        ({"severity_lift_cents": -5}, "must be greater than 0"),
        ({"small_cells": "NOBODY"}, "NOBODY is not one of the available choices"),
        ({"small_cell_minimum": 10}, "must be at least 11 (DRIFTGRAPH_SMALL_CELL_MINIMUM)"),
    ],
)
def test_settings_that_nothing_could_work_with_are_refused_where_they_are_typed(
    browser: Client, organization: Organization, changes: dict, message: str
) -> None:
    address = f"/admin/accounts/organization/{organization.id}/change/"

    answer = browser.post(address, {"name": f"Clinic {organization.id}", **SETTINGS} | changes)

    assert answer.status_code == 200
    assert message in answer.content.decode()
    assert 'class="errorlist"' in answer.content.decode()
    found = Organization.objects.get(id=organization.id)
    assert (found.name, found.timezone, found.fdr_q) == (organization.name, "UTC", 0.05)


def test_the_name_of_another_organization_is_refused(
    browser: Client, organization: Organization, other_organization: Organization
) -> None:
    Organization.objects.filter(id=other_organization.id).update(name=f"Clinic {organization.id}")
    address = f"/admin/accounts/organization/{organization.id}/change/"

    answer = browser.post(address, {"name": f" Clinic {organization.id} ", **SETTINGS})

    assert "already exists" in answer.content.decode()


def test_organizations_and_people_are_never_deleted(browser: Client, organization: Organization) -> None:
    ann = person(organization, "ann")

    for address in (f"organization/{organization.id}", f"user/{ann.id}"):
        assert browser.post(f"/admin/accounts/{address}/delete/", {"post": "yes"}).status_code == 403


def test_one_organization_is_picked_and_named_in_the_header(
    browser: Client, organization: Organization, other_organization: Organization
) -> None:
    both = pick(browser, organization, other_organization)
    assert "Choose one organization" in both.content.decode()

    picked = pick(browser, organization)

    header = re.search(r'id="site-name">(.*?)</div>', picked.content.decode(), re.DOTALL)
    assert header
    assert header[1].count("Driftgraph ·") == 1
    assert "test_one_organization_is_picked" in header[1]


def test_without_an_organization_there_are_no_rows_and_no_forms(browser: Client, organization: Organization) -> None:
    a_token(organization, "hidden token")

    listed = page(browser, "/admin/accounts/apitoken/")

    assert "Pick an organization first" in listed
    assert "hidden token" not in listed
    assert browser.get("/admin/accounts/apitoken/add/").status_code == 403
    assert browser.get("/admin/accounts/membership/add/").status_code == 403


def test_nobody_acts_before_an_organization_was_picked(administrator: User) -> None:
    request = HttpRequest()
    request.session, request.user = {}, administrator

    with pytest.raises(LookupError):
        admin_actor(request)


def test_the_rows_are_those_of_the_picked_organization(
    browser: Client, organization: Organization, other_organization: Organization
) -> None:
    a_token(organization, "our token")
    a_token(other_organization, "their token")
    ann, bob = person(organization, "ann"), person(organization, "bob")
    member(organization, ann, Role.OWNER)
    theirs = member(other_organization, bob, Role.OWNER)
    pick(browser, organization)

    tokens, members = page(browser, "/admin/accounts/apitoken/"), page(browser, "/admin/accounts/membership/")

    assert "our token" in tokens
    assert "their token" not in tokens
    assert ann.email in members
    assert bob.email not in members
    stranger = browser.get(f"/admin/accounts/membership/{theirs.id}/change/")
    assert (stranger.status_code, stranger["Location"]) == (302, "/admin/")


def test_the_choice_ends_with_the_request(browser: Client, organization: Organization) -> None:
    a_token(organization, "our token")
    pick(browser, organization)
    page(browser, "/admin/accounts/apitoken/")

    with connection.cursor() as cursor:
        cursor.execute("SELECT nullif(current_setting('app.organization_id', true), ''), count(*) FROM api_token")
        assert cursor.fetchone() == (None, 0)


def test_members_are_added_changed_and_removed(browser: Client, organization: Organization) -> None:
    ann, bob = person(organization, "ann"), person(organization, "bob")
    pick(browser, organization)

    for user, role in ((ann, "OWNER"), (bob, "VIEWER")):
        browser.post("/admin/accounts/membership/add/", {"user": str(user.id), "role": role})
    with acting_for(organization.id):
        first, second = (Membership.objects.get(user=user) for user in (ann, bob))
    assert ann.email in page(browser, f"/admin/accounts/membership/{first.id}/change/")
    browser.post(f"/admin/accounts/membership/{second.id}/change/", {"role": "ANALYST"})
    with acting_for(organization.id):
        assert Membership.objects.get(user=bob).role == "ANALYST"

    browser.post(f"/admin/accounts/membership/{second.id}/delete/", {"post": "yes"})

    with acting_for(organization.id):
        assert [found.role for found in Membership.objects.all()] == ["OWNER"]


@pytest.mark.parametrize("act", ["change", "delete"])
def test_the_last_owner_stays(browser: Client, organization: Organization, act: str) -> None:
    membership = member(organization, person(organization, "ann"), Role.OWNER)
    pick(browser, organization)

    answer = browser.post(
        f"/admin/accounts/membership/{membership.id}/{act}/", {"role": "VIEWER", "post": "yes"}, follow=True
    )

    assert "An organization needs an owner" in answer.content.decode()
    with acting_for(organization.id):
        assert Membership.objects.get(id=membership.id).role == "OWNER"


def test_the_people_to_choose_from_are_found_by_address(browser: Client, organization: Organization) -> None:
    ann = person(organization, "ann")
    pick(browser, organization)

    found = browser.get(
        "/admin/autocomplete/",
        {"term": ann.email, "app_label": "accounts", "model_name": "membership", "field_name": "user"},
    )

    assert [result["id"] for result in found.json()["results"]] == [str(ann.id)]


def test_a_secret_is_shown_once_and_never_kept(browser: Client, organization: Organization) -> None:
    pick(browser, organization)

    shown = browser.post(
        "/admin/accounts/apitoken/add/",
        {"name": "loader", "role": "SERVICE", "scopes": ["import", "read"], "days": 366},
    )

    secret = re.search(r'id="secret">(dg_[\w-]{43})<', shown.content.decode())
    assert secret
    assert "no-store" in shown["Cache-Control"]
    assert authenticate_bearer(secret[1]).rights == {Right.IMPORT, Right.READ}
    assert secret[1] not in page(browser, "/admin/accounts/apitoken/")
    assert secret[1] not in str(browser.cookies)
    with connection.cursor() as cursor:
        log = "SELECT count(*) FROM django_admin_log AS l WHERE row_to_json(l)::text LIKE %s"
        cursor.execute(log, [f"%{secret[1]}%"])
        assert cursor.fetchone() == (0,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scopes": []}, "at least one scope"),
        ({"scopes": ["members"]}, "is no scope of a SERVICE token; those are agents:read, "),
        ({"days": 367}, "less than or equal to 366"),
        ({"name": ""}, "This field is required"),
    ],
)
def test_a_refused_token_is_explained(browser: Client, organization: Organization, changes: dict, message: str) -> None:
    pick(browser, organization)
    given = {"name": "loader", "role": "SERVICE", "scopes": ["read"], "days": 30} | changes

    answer = browser.post("/admin/accounts/apitoken/add/", given, follow=True)

    assert message in answer.content.decode()
    with acting_for(organization.id):
        assert not ApiToken.objects.exists()


def test_a_token_is_revoked_by_the_list_and_has_no_form(browser: Client, organization: Organization) -> None:
    pick(browser, organization)
    actor = Actor(organization_id=organization.id, role=Role.OWNER)
    token, secret = token_create(
        actor=actor, name="loader", scopes=["read"], expires_at=timezone.now() + timedelta(days=1)
    )

    browser.post("/admin/accounts/apitoken/", {"action": "revoke", "_selected_action": [str(token.id)]})

    with pytest.raises(RevokedToken):
        authenticate_bearer(secret)
    assert browser.get(f"/admin/accounts/apitoken/{token.id}/change/").status_code == 403
    assert browser.post(f"/admin/accounts/apitoken/{token.id}/delete/", {"post": "yes"}).status_code == 403


def test_an_address_is_folded_wherever_it_is_typed(browser: Client, organization: Organization) -> None:
    ann, bob = person(organization, "ann"), person(organization, "bob")
    ann.set_password("a long enough passphrase")
    ann.save()
    address = f"/admin/accounts/user/{bob.id}/change/"

    taken = browser.post(address, {"email": ann.email.upper(), "name": "Bob", "is_active": "on"})
    browser.post(address, {"email": f"Robert.{bob.email.upper()}", "name": "Bob", "is_active": "on"})
    given = {"username": f" {ann.email.title()}", "password": "a long enough passphrase"}
    signed_in = Client().post("/accounts/login/", given)

    assert "already exists" in taken.content.decode()
    bob.refresh_from_db()
    assert bob.email == f"robert.bob.{organization.id.hex}@example.org"
    assert signed_in.status_code == 302


async def test_an_address_is_found_in_any_case_by_async_code_too(organization: Organization, database: str) -> None:
    ann = await sync_to_async(person)(organization, "ann")

    assert (await User.objects.aget_by_natural_key(ann.email.upper())).id == ann.id


def test_a_refused_page_is_logged_in_one_line(browser: Client) -> None:
    output = StringIO()
    [handler] = [found for found in logging.root.handlers if found.get_name() == "console"]
    stream = handler.setStream(output)
    try:
        assert browser.get("/admin/accounts/apitoken/add/").status_code == 403
    finally:
        handler.setStream(stream)

    [line] = output.getvalue().splitlines()
    assert line.endswith("WARNING django.request Forbidden (Permission denied): ...")


def test_people_are_made_and_made_inactive(browser: Client, organization: Organization) -> None:
    typed = f"New.{organization.id.hex}@Example.org"
    passwords = {"password1": "correct horse battery", "password2": "correct horse battery"}

    browser.post("/admin/accounts/user/add/", {"email": typed, "name": "New", **passwords})
    made = User.objects.get(email=typed.casefold())
    browser.post(f"/admin/accounts/user/{made.id}/change/", {"email": made.email, "name": "New"})

    made.refresh_from_db()
    assert made.check_password("correct horse battery")
    assert not made.is_active
    assert typed.casefold() in page(browser, f"/admin/accounts/user/?q={made.email}")


async def test_the_pages_work_under_asgi(organization: Organization, administrator: User, database: str) -> None:
    client = AsyncClient()
    await client.aforce_login(administrator)
    await sync_to_async(a_token)(organization, "our token")
    await client.post("/admin/accounts/organization/", {"action": "pick", "_selected_action": [str(organization.id)]})

    listed = await client.get("/admin/accounts/apitoken/")

    assert "our token" in listed.content.decode()
