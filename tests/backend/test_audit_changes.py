"""The change audit: which statements leave an entry, what it holds, and that nobody can leave it out or alter it."""

import hashlib
import uuid

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.db.utils import ProgrammingError

from backend.accounts.models import Organization
from backend.agents.models import AgentRun
from backend.audit.models import AuditEntry
from backend.core.actor import Actor, Role
from backend.core.tenancy import acting_for, write
from backend.payers.models import Payer, PayerAlias
from tests import factories as make

_TENANT_TABLES = """
SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'organization_id'
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace
  AND NOT a.attisdropped
"""
_TRIGGERS = """
SELECT c.relname, array_agg(t.tgtype::int ORDER BY t.tgtype::int) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_proc p ON p.oid = t.tgfoid WHERE p.proname = 'audit_change' AND t.tgenabled = 'O' GROUP BY c.relname
"""
_AFTER_STATEMENT = [4, 8, 16]  # INSERT, DELETE, UPDATE of pg_trigger.tgtype; neither ROW nor BEFORE


def _entries(table: str) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(object_type=table).order_by("at", "id"))


def _payers(organization: Organization, number: int) -> list[Payer]:
    rows = [Payer(organization=organization, code=f"p{one}", name=f"P{one}") for one in range(number)]
    return Payer.objects.bulk_create(rows)


def test_every_table_of_an_organization_is_audited(database: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_TENANT_TABLES)
        tables = {name for (name,) in cursor.fetchall()}
        cursor.execute(_TRIGGERS)
        audited = dict(cursor.fetchall())

    assert tables - audited.keys() == {"audit_entry", "agent_run_progress", "schema_use"}
    assert audited.keys() - tables == {"organization"}
    assert {name for name, kinds in audited.items() if kinds != _AFTER_STATEMENT} == set()


def test_a_statement_leaves_one_entry_with_who_and_why(organization: Organization) -> None:
    who = Actor(
        organization_id=organization.id,
        role=Role.ANALYST,
        user_id=uuid.uuid4(),
        token_id=uuid.uuid4(),
        purpose="PAYMENT",
        request_id="r1",
        operation_name="Save",
    )

    with write(who):
        rows = _payers(organization, 3)

    with acting_for(organization.id):
        [entry] = _entries("payer")
    assert (entry.action, entry.object_count, entry.outcome, entry.fields_phi) == ("insert", 3, "OK", False)
    assert entry.object_ids == sorted(row.id for row in rows)
    assert (entry.actor_id, entry.token_id, entry.actor_role) == (who.user_id, who.token_id, "ANALYST")
    assert (entry.purpose, entry.request_id, entry.operation_name) == ("PAYMENT", "r1", "Save")
    assert entry.id.version == 7


def test_an_update_names_the_columns_and_no_value(organization: Organization, actor: Actor) -> None:
    with write(actor):
        payer = _payers(organization, 1)[0]

    with write(actor):
        Payer.objects.filter(id=payer.id).update(name="Unmistakable", active=False)
        Payer.objects.filter(id=payer.id).delete()

    with acting_for(organization.id):
        _insert, update, delete = _entries("payer")
        whole = str([entry.__dict__ for entry in AuditEntry.objects.all()])
    assert (update.action, update.fields) == ("update", ["payer.active", "payer.name"])
    assert (delete.action, delete.object_ids) == ("delete", [payer.id])
    assert "Unmistakable" not in whole


def test_more_than_a_hundred_rows_are_a_count_and_a_digest(organization: Organization, actor: Actor) -> None:
    with write(actor):
        rows = _payers(organization, 101)
        Payer.objects.update(active=False)

    with acting_for(organization.id):
        insert, update = _entries("payer")
    digest = hashlib.sha256(b"".join(sorted(row.id.bytes for row in rows))).digest()
    for entry in (insert, update):
        assert (entry.object_ids, entry.object_count, bytes(entry.objects_digest or b"")) == ([], 101, digest)


def test_a_statement_that_meets_no_row_leaves_nothing(organization: Organization, actor: Actor) -> None:
    with write(actor):
        Payer.objects.update(name="nobody")
        Payer.objects.all().delete()

        assert _entries("payer") == []


def test_what_is_taken_back_leaves_no_entry(organization: Organization, actor: Actor) -> None:
    with write(actor):
        _payers(organization, 1)
        transaction.set_rollback(True)

    with acting_for(organization.id):
        assert _entries("payer") == []


def test_the_outer_actor_acts_again_after_the_inner_one(organization: Organization, actor: Actor) -> None:
    with write(actor):
        with write(Actor.system(organization.id, "job:inner")):
            _payers(organization, 1)
        PayerAlias.objects.create(organization=organization, raw_name="p", payer=Payer.objects.get())

        assert [entry.request_id for entry in _entries("payer")] == ["job:inner"]
        assert [entry.request_id for entry in _entries("payer_alias")] == ["test"]


def test_a_statement_outside_of_the_product_says_so(organization: Organization) -> None:
    with acting_for(organization.id):
        _payers(organization, 1)

        assert [entry.actor_role for entry in _entries("payer")] == [None]


def test_signs_of_life_alone_are_no_change(organization: Organization, actor: Actor) -> None:
    with write(actor):
        run = make.agent_run(make.agent(organization))
        AgentRun.objects.filter(id=run.id).update(heartbeat_at=make.NOW)
        AgentRun.objects.filter(id=run.id).update(heartbeat_at=Now(), branch="main")

        assert [entry.fields for entry in _entries("agent_run")] == [[], ["agent_run.branch", "agent_run.heartbeat_at"]]


def test_settings_of_the_organization_are_audited_too(organization: Organization) -> None:
    Organization.objects.filter(id=organization.id).update(retention_days=10)

    with acting_for(organization.id):
        made, changed = _entries("organization")
    assert (made.action, changed.fields) == ("insert", ["organization.retention_days"])


def test_an_entry_cannot_be_dated_back(organization: Organization, actor: Actor) -> None:
    with acting_for(organization.id), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO audit_entry (id, organization_id, at, created_at, xid, epoch, action, object_type, object_ids,"
            " object_count, operation_name, fields_phi, outcome, purpose, request_id) VALUES (gen_random_uuid(), %s,"
            " '2001-01-01', '2001-01-01', '3', 5, 'x', 'x', '{}', 0, '', false, 'OK', '', '')"
            " RETURNING at > now(), created_at = at, xid = pg_current_xact_id(), epoch <> 5",
            [organization.id],
        )
        assert cursor.fetchone() == (True, True, True, True)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET action = 'x'",
        "DELETE FROM audit_entry",
        "TRUNCATE audit_entry",
        "UPDATE audit_seal SET seq = 0",
        "DELETE FROM audit_seal",
        "TRUNCATE audit_seal",
        "INSERT INTO audit_seal SELECT * FROM audit_seal",
        "ALTER TABLE payer DISABLE TRIGGER ALL",
        "DROP TRIGGER audit_entry_stamp ON audit_entry",
        "SET session_replication_role = replica",
        "SELECT audit_change_write(NULL, 'x', 'x', NULL, 0, NULL, NULL)",
    ],
)
def test_the_server_cannot_alter_the_trail(organization: Organization, statement: str) -> None:
    with (
        pytest.raises(ProgrammingError, match=r"permission denied|must be owner"),
        acting_for(organization.id),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
