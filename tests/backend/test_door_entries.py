"""What happens at the door: who signed in and out and who could not, without the address of anybody unknown."""

import logging
import uuid
from typing import Any

import psycopg
import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from people import member, person

from backend.accounts.models import Organization, User
from backend.audit.addresses import account_hash, ip_hash, network_of
from backend.audit.door import token_address_record
from backend.audit.models import AuditEntry
from backend.core.actor import Actor, Role
from backend.core.tenancy import acting_for
from tests import server

PASSWORD = "a long enough passphrase"
NOWHERE = uuid.UUID(int=0)


@pytest.fixture
def ann(organization: Organization) -> User:
    found = person(organization, "ann")
    found.set_password(PASSWORD)
    found.save()
    member(organization, found, Role.VIEWER)
    return found


def _sign_in(client: Client, email: str, password: str = PASSWORD) -> Any:
    return client.post("/accounts/login/", {"username": email, "password": password}, REMOTE_ADDR="192.0.2.7")


def _entries(organization_id: uuid.UUID) -> list[AuditEntry]:
    with acting_for(organization_id):
        return list(AuditEntry.objects.filter(object_type="user_account").order_by("at", "id"))


def test_signing_in_and_out_is_recorded_in_every_organization_of_the_person(
    organization: Organization, other_organization: Organization, ann: User
) -> None:
    member(other_organization, ann, Role.ADMIN)
    client = Client()

    _sign_in(client, ann.email.upper())
    client.post("/accounts/logout/")

    for where, role in ((organization, "VIEWER"), (other_organization, "ADMIN")):
        came, left = _entries(where.id)
        assert (came.action, came.outcome, came.actor_id, came.actor_role) == ("sign_in", "OK", ann.id, role)
        assert (left.action, left.outcome, left.actor_id) == ("sign_out", "OK", ann.id)
        assert (came.object_ids, came.object_count, came.id.version) == ([ann.id], 1, 7)
        assert bytes(came.ip_hash or b"") == ip_hash("192.0.2.7")


def test_who_could_not_sign_in_is_the_object_and_not_the_actor(organization: Organization, ann: User) -> None:
    answer = _sign_in(Client(), ann.email, "wrong")

    [entry] = _entries(organization.id)
    assert answer.status_code == 200
    assert (entry.action, entry.outcome, entry.actor_id, entry.actor_role) == ("sign_in", "DENIED", None, None)
    assert entry.object_ids == [ann.id]


def test_of_an_unknown_account_a_keyed_hash_is_kept(organization: Organization) -> None:
    email = f"nobody.{organization.id.hex}@example.org"

    _sign_in(Client(), f" {email.upper()}")

    [entry] = [one for one in _entries(NOWHERE) if bytes(one.objects_digest or b"") == account_hash(email)]
    assert (entry.outcome, entry.object_ids, entry.object_count) == ("DENIED", [], 0)
    with acting_for(NOWHERE), connection.cursor() as cursor:
        cursor.execute("SELECT e::text FROM audit_entry e WHERE id = %s", [entry.id])
        assert organization.id.hex not in cursor.fetchone()[0]


def test_a_known_and_an_unknown_account_take_the_same_statements(organization: Organization, ann: User) -> None:
    taken = []
    for email in (ann.email, f"nobody.{organization.id.hex}@example.org"):
        with CaptureQueriesContext(connection) as captured:
            _sign_in(Client(), email, "wrong")
        taken.append([query["sql"].partition("(")[0].replace(email, "...") for query in captured.captured_queries])

    assert taken[0] == taken[1]
    assert len(taken[0]) == 2


def test_an_administrator_of_the_platform_is_recorded_in_the_trail_of_no_organization(
    organization: Organization,
) -> None:
    root = User.objects.create_superuser(f"root.{organization.id.hex}@example.org", PASSWORD)

    Client().post("/admin/login/", {"username": root.email, "password": PASSWORD})

    [entry] = [one for one in _entries(NOWHERE) if one.actor_id == root.id]
    assert (entry.action, entry.actor_role) == ("sign_in", None)


def test_what_cannot_be_recorded_lets_nobody_in_and_out_anybody(
    organization: Organization, ann: User, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    signed_in = Client(raise_request_exception=False)
    _sign_in(signed_in, ann.email)
    client, revoked = Client(raise_request_exception=False), "EXECUTE ON FUNCTION audit_sign_in FROM app"
    with psycopg.connect(server.url("owner", database), autocommit=True) as owner:
        owner.execute(f"REVOKE {revoked}")
        try:
            with caplog.at_level(logging.ERROR, "driftgraph.audit"):
                refused = _sign_in(client, ann.email, "wrong")
                left = signed_in.post("/accounts/logout/")
            answer = _sign_in(client, ann.email)
        finally:
            owner.execute(f"GRANT {revoked.replace('FROM', 'TO')}")

    assert (refused.status_code, left.status_code, answer.status_code) == (200, 302, 500)
    assert client.get("/accounts/organization/").status_code == 302  # to the page of signing in
    assert [record.message for record in caplog.records if record.name == "driftgraph.audit"] == [
        "sign_in was not recorded: ProgrammingError",
        "sign_out was not recorded: ProgrammingError",
    ]


def test_a_token_is_recorded_at_each_address_once(organization: Organization) -> None:
    program = Actor(organization_id=organization.id, role=Role.SERVICE, token_id=uuid.uuid4())

    new = [token_address_record(program, one) for one in ("192.0.2.1", "192.0.2.2", "192.0.2.1")]

    assert new == [True, True, False]
    with acting_for(organization.id):
        entries = list(AuditEntry.objects.filter(action="token.address").order_by("at"))
    assert [bytes(one.ip_hash or b"") for one in entries] == [ip_hash("192.0.2.1"), ip_hash("192.0.2.2")]
    assert {(one.token_id, one.actor_role, tuple(one.object_ids)) for one in entries} == {
        (program.token_id, "SERVICE", (program.token_id,))
    }


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("no address", "no address"),
    ],
)
def test_who_has_one_address_has_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_hashes_are_keyed_and_of_one_kind() -> None:
    found = {ip_hash("192.0.2.1"), account_hash("192.0.2.1"), account_hash("a@example.org")}

    assert {len(one or b"") for one in found} == {16}
    assert len(found) == 3
    assert ip_hash("") is None


def _changes(organization_id: uuid.UUID, user: User) -> list[tuple[Any, ...]]:
    with acting_for(organization_id):
        found = AuditEntry.objects.filter(action="account.change", object_ids=[user.id]).order_by("id")
        return list(found.values_list("fields", "actor_id", "request_id", "outcome"))


def test_what_changes_who_gets_in_is_recorded_with_whoever_is_in_the_admin(
    organization: Organization, other_organization: Organization, ann: User
) -> None:
    member(other_organization, ann, Role.ADMIN)
    root = User.objects.create_superuser(f"root.{organization.id.hex}@example.org")
    client = Client()
    client.force_login(root)
    page = f"/admin/accounts/user/{ann.id}/change/"

    client.post(
        f"/admin/accounts/user/{ann.id}/password/",
        {"password1": "another long passphrase", "password2": "another long passphrase"},
    )
    client.post(page, {"email": ann.email, "name": "Ann", "is_active": "on", "is_superuser": "on", "is_staff": "on"})
    client.post(page, {"email": f"eve.{ann.email}", "name": "Ann", "is_active": "on", "is_superuser": "on"})
    client.post(page, {"email": f"eve.{ann.email}", "name": "Another name", "is_active": "on", "is_superuser": "on"})

    expected = [["password"], ["is_staff", "is_superuser"], ["email", "is_staff"]]
    for where in (organization, other_organization):
        assert _changes(where.id, ann) == [(columns, root.id, "", "OK") for columns in expected]


def test_what_a_command_changes_is_recorded_with_the_account_that_ran_it(
    organization: Organization, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "oncall")
    monkeypatch.setattr("getpass.getpass", lambda prompt: "another long passphrase")  # noqa: ARG005 - its signature
    call_command("changepassword", ann.email)
    root = User.objects.create_superuser(f"root.{organization.id.hex}@example.org")

    assert _changes(organization.id, ann) == [(["password"], None, "os:oncall", "OK")]
    assert _changes(NOWHERE, root) == [(["is_staff", "is_superuser"], None, "os:oncall", "OK")]


def test_a_sign_in_changes_no_account(organization: Organization, ann: User) -> None:
    """Not even where its password is hashed anew, because the parameters have changed since."""
    old = Argon2PasswordHasher()
    old.time_cost += 1
    hashed = old.encode(PASSWORD, old.salt())
    User.objects.filter(pk=ann.pk).update(password=hashed)

    _sign_in(Client(), ann.email)

    ann.refresh_from_db()
    assert ann.password != hashed
    assert _changes(organization.id, ann) == []


def test_without_its_entry_no_account_is_changed(organization: Organization, ann: User, database: str) -> None:
    ann.is_superuser = True
    with psycopg.connect(server.url("postgres", database), autocommit=True) as superuser:
        superuser.execute("REVOKE INSERT ON audit_entry FROM app")
        try:
            with pytest.raises(DatabaseError):
                ann.save()
        finally:
            superuser.execute("GRANT INSERT ON audit_entry TO app")

    assert not User.objects.get(pk=ann.pk).is_superuser
