"""The catalog check of isolation: clean on what the migrations make, and red on every way to break it."""

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from backend.core.constraints import TENANT
from backend.core.isolation import Violation, check
from tests import server
from tests.scratch import execute, scratch_database

UNDO_REFERENCE = "ALTER TABLE payer_alias DROP CONSTRAINT payer_alias_payer_fk"
OWN = f"organization_id = {TENANT}"
REDO_REFERENCE = (
    "ALTER TABLE payer_alias ADD CONSTRAINT payer_alias_payer_fk FOREIGN KEY (organization_id, payer_id)"
    " REFERENCES payer (organization_id, id)"
)
SABOTAGE: dict[str, tuple[tuple[str, ...], tuple[str, ...], Violation]] = {
    "dropped policy": (
        ("DROP POLICY payer_tenant ON payer",),
        (
            f"CREATE POLICY payer_tenant ON payer USING ({OWN}) WITH CHECK ({OWN})",
        ),
        Violation("payer", "has no policy"),
    ),
    "policy that lets all in": (
        ("CREATE POLICY more ON claim USING (true)",),
        ("DROP POLICY more ON claim",),
        Violation("claim", "has the policy more, which does not keep to the organization"),
    ),
    "policy for reading alone": (
        ("ALTER POLICY claim_tenant ON claim WITH CHECK (true)",),
        (
            f"ALTER POLICY claim_tenant ON claim WITH CHECK ({OWN})",
        ),
        Violation("claim", "has the policy claim_tenant, which does not keep to the organization"),
    ),
    "removed FORCE": (
        ("ALTER TABLE claim NO FORCE ROW LEVEL SECURITY",),
        ("ALTER TABLE claim FORCE ROW LEVEL SECURITY",),
        Violation("claim", "has row-level security that is not forced"),
    ),
    "disabled": (
        ("ALTER TABLE drift_event DISABLE ROW LEVEL SECURITY",),
        ("ALTER TABLE drift_event ENABLE ROW LEVEL SECURITY",),
        Violation("drift_event", "has row-level security disabled"),
    ),
    "single-column foreign key": (
        (UNDO_REFERENCE, "ALTER TABLE payer_alias ADD CONSTRAINT lone_fk FOREIGN KEY (payer_id) REFERENCES payer (id)"),
        (
            "ALTER TABLE payer_alias DROP CONSTRAINT lone_fk",
            REDO_REFERENCE,
        ),
        Violation("lone_fk", "refers to a row without its organization"),
    ),
    "optional organization": (
        ("ALTER TABLE finding ALTER organization_id DROP NOT NULL",),
        ("ALTER TABLE finding ALTER organization_id SET NOT NULL",),
        Violation("finding", "takes rows without an organization"),
    ),
    "table without organization": (
        ("CREATE TABLE notes (text text)",),
        ("DROP TABLE notes",),
        Violation("notes", "has no organization_id and is not known to need none"),
    ),
    "view of its owner": (
        ("CREATE VIEW every_claim AS SELECT * FROM claim",),
        ("DROP VIEW every_claim",),
        Violation("every_claim", "is a view that is not security_invoker"),
    ),
    "TRUNCATE": (
        ("GRANT TRUNCATE ON claim TO app",),
        ("REVOKE TRUNCATE ON claim FROM app",),
        Violation("claim", "can be emptied by app (TRUNCATE), past every policy"),
    ),
    "partition by itself": (
        ("GRANT UPDATE (action) ON audit_entry_default TO app",),
        ("REVOKE UPDATE (action) ON audit_entry_default FROM app",),
        Violation("audit_entry_default", "is a partition that app reaches by itself, past the rights on its table"),
    ),
    "table of the server": (
        ("ALTER TABLE alert OWNER TO app",),
        ("ALTER TABLE alert OWNER TO owner",),
        Violation("alert", "belongs to app, who can take its policy away"),
    ),
    "function of its owner": (
        ("CREATE FUNCTION peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM claim'",
         "GRANT EXECUTE ON FUNCTION peek() TO app"),
        ("DROP FUNCTION peek()",),
        Violation("peek", "runs with its owner's rights and has no search_path of its own"),
    ),
    "trigger that is off": (
        ("ALTER TABLE payer DISABLE TRIGGER payer_audit_update",),
        ("ALTER TABLE payer ENABLE TRIGGER payer_audit_update",),
        Violation("payer", "has the trigger payer_audit_update, which is switched off"),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def scratch(database: str) -> Iterator[str]:
    with scratch_database() as name:
        yield name


def _violations(database: str, role: str = "app") -> list[Violation]:
    with psycopg.connect(server.url("app", database)) as app:

        def rows(statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
            return app.execute(statement, values or None).fetchall()  # type: ignore[call-overload]  # its own texts

        return check(rows, role).violations


def test_what_the_migrations_make_keeps_organizations_apart(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("check_isolation")

    said = capsys.readouterr().out
    tables, references = (int(said.split()[place]) for place in (0, 5))
    assert tables >= 24
    assert references >= 25
    assert "app cannot bypass it" in said


@pytest.mark.parametrize("name", SABOTAGE)
def test_every_way_to_break_the_safety_is_found_by_name(scratch: str, name: str) -> None:
    broken, mended, violation = SABOTAGE[name]
    assert _violations(scratch) == []

    execute(scratch, *broken)
    found = _violations(scratch)

    execute(scratch, *mended)
    assert violation in found
    assert {one.name for one in found} == {violation.name}
    assert _violations(scratch) == []


def test_a_role_with_power_is_found(database: str) -> None:
    assert Violation("owner", "is a role of the server and has BYPASSRLS") in _violations(database, "owner")


@pytest.mark.parametrize(
    ("power", "name", "problem"),
    [
        ("ALTER ROLE {} REPLICATION", "{}", "is a role of the server and has REPLICATION"),
        ("GRANT pg_read_server_files TO {}", "pg_read_server_files", "is a role of the server and has files"),
        ("GRANT pg_execute_server_program TO {}", "pg_execute_server_program", "is a role of the server and has files"),
    ],
)
def test_a_role_that_reads_past_every_table_is_found(database: str, power: str, name: str, problem: str) -> None:
    role = server.database_name(f"reader_{uuid.uuid4().hex[:8]}")
    execute(database, f"CREATE ROLE {role}", power.format(role))
    try:
        assert Violation(name.format(role), problem) in _violations(database, role)
    finally:
        execute(database, f"DROP ROLE {role}")


def test_the_command_names_what_is_wrong_and_fails(scratch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(scratch, "ALTER TABLE claim NO FORCE ROW LEVEL SECURITY")
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "NAME", scratch)
    try:
        with pytest.raises(CommandError, match="claim: has row-level security that is not forced"):
            call_command("check_isolation")
    finally:
        connection.close()
        execute(scratch, "ALTER TABLE claim FORCE ROW LEVEL SECURITY")
