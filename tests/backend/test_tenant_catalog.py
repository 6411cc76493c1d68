"""What the database's own catalog says about the separation of organizations."""

import uuid

import psycopg
import pytest
from django.db import connection
from django.db.utils import ProgrammingError

from backend.accounts.models import Organization
from backend.audit.models import AuditEntry
from backend.core.tenancy import acting_for
from backend.payers.models import Payer, PayerAlias
from tests import server


def _rows(sql: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def test_ordered_columns_compare_without_leaking(database: str) -> None:
    """A keyset on a type whose comparison is not leakproof loses its index under a policy.

    The index of the sealer is used by a function of the owner alone, to whom no policy applies.
    """
    wrong = _rows(
        "SELECT c.relname, a.attname, t.typname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " JOIN pg_attribute a ON a.attrelid = i.indexrelid JOIN pg_type t ON t.oid = a.atttypid"
        " JOIN pg_class r ON r.oid = i.indrelid WHERE r.relnamespace = 'public'::regnamespace"
        " AND r.relname NOT LIKE 'procrastinate%' AND NOT r.relispartition"
        " AND EXISTS (SELECT 1 FROM pg_policies p WHERE p.tablename = r.relname)"
        " AND t.typname NOT IN"
        " ('int2', 'int4', 'int8', 'float8', 'text', 'varchar', 'date', 'timestamptz', 'uuid', 'bytea', 'bool')"
    )

    assert wrong == [("audit_entry_sealing_idx", "xid", "xid8")]


def test_the_server_has_no_power_to_bypass(database: str) -> None:
    assert _rows(
        "SELECT rolname, rolsuper, rolbypassrls, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user"
    ) == [("app", False, False, False, False)]
    assert _rows("SELECT tablename FROM pg_tables WHERE tableowner = 'app'") == []


def test_without_an_organization_there_are_no_rows(organization: Organization) -> None:
    with acting_for(organization.id):
        Payer.objects.create(organization=organization, code="p", name="P")

    assert Payer.objects.count() == 0


def test_another_organization_sees_and_writes_nothing(
    organization: Organization, other_organization: Organization
) -> None:
    with acting_for(organization.id):
        Payer.objects.create(organization=organization, code="p", name="P")

    with acting_for(other_organization.id):
        assert Payer.objects.count() == 0
        assert Payer.objects.update(name="taken") == 0
    with pytest.raises(ProgrammingError, match="row-level security"), acting_for(other_organization.id):
        Payer.objects.create(organization=organization, code="q", name="Q")


def test_a_reference_to_a_row_of_another_organization_is_refused(
    organization: Organization, other_organization: Organization
) -> None:
    with acting_for(organization.id):
        payer = Payer.objects.create(organization=organization, code="p", name="P")

    with pytest.raises(Exception, match="payer_alias_payer_fk"), acting_for(other_organization.id):
        PayerAlias.objects.create(organization=other_organization, raw_name="p", payer_id=payer.id)


def test_nested_organizations_return_to_the_outer_one(
    organization: Organization, other_organization: Organization
) -> None:
    with acting_for(organization.id):
        with acting_for(other_organization.id):
            Payer.objects.create(organization=other_organization, code="inner", name="Inner")
        Payer.objects.create(organization=organization, code="outer", name="Outer")

        assert [payer.code for payer in Payer.objects.all()] == ["outer"]


def test_audit_entries_can_be_added_but_never_changed(organization: Organization) -> None:
    with acting_for(organization.id):
        entry = AuditEntry.objects.create(
            organization=organization, actor_role="OWNER", action="test", object_type="Payer"
        )

    for change in (lambda: AuditEntry.objects.filter(id=entry.id).update(action="x"), entry.delete):
        with pytest.raises(ProgrammingError, match="permission denied"), acting_for(organization.id):
            change()


def test_the_auditor_reads_the_trail_and_nothing_else(database: str) -> None:
    with psycopg.connect(server.url("auditor", database), autocommit=True) as auditor:
        assert auditor.execute("SELECT count(*) FROM audit_entry").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            auditor.execute("SELECT count(*) FROM claim")


def test_tokens_and_memberships_of_others_cannot_be_listed(database: str) -> None:
    assert _rows("SELECT * FROM api_token") == []
    assert _rows(f"SELECT * FROM memberships_of('{uuid.uuid4()}')") == []
