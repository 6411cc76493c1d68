"""Two organizations with a row in every table, each trying all that the schema offers on the other's rows."""

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from django.db import connection
from psycopg import sql

from backend.accounts.models import ApiToken, Organization
from backend.audit.models import AuditEntry
from backend.core.actor import Role
from backend.core.tenancy import acting_for
from backend.db.reads import Reads
from backend.db.writes import WriteThreads
from schema.queries import Query
from tests import server
from tests.asgi import asking
from tests.attempts import Attempts, Member, Report, member, token
from tests.scratch import execute, scratch_database
from tests.serving import serving
from tests.threads import in_thread

WITH_ORGANIZATION = """
SELECT c.relname::text, (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a
                          WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '')
  FROM pg_class c JOIN pg_attribute o ON o.attrelid = c.oid AND o.attname = 'organization_id' AND NOT o.attisdropped
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace ORDER BY 1
"""


def _tables(database: str) -> dict[str, list[str]]:
    with psycopg.connect(server.url("postgres", database)) as superuser:
        return dict(superuser.execute(WITH_ORGANIZATION).fetchall())


def _rows_of(database: str, organization: uuid.UUID) -> dict[str, tuple[int, str]]:
    """Number and content of an organization's rows by table, as the superuser sees them."""
    found = {}
    with psycopg.connect(server.url("postgres", database)) as superuser:
        for table in _tables(database):
            text = sql.SQL(
                "SELECT count(*), coalesce(md5(string_agg(t::text, '|' ORDER BY id)), '') FROM {} t"
                " WHERE organization_id = %s"
            ).format(sql.Identifier(table))
            found[table] = superuser.execute(text, [organization]).fetchone() or (0, "")
    return found


@pytest.fixture
def members(organization: Organization, other_organization: Organization) -> tuple[Member, Member]:
    return member(organization, "zzfirst"), member(other_organization, "zzsecond")


def test_no_statement_reaches_a_row_of_another_organization(database: str, members: tuple[Member, Member]) -> None:
    """For every table: without an organization nothing; of the other one nothing to see, change, delete or add."""
    own, other = (one.organization.id for one in members)
    before = _rows_of(database, other)
    assert [table for table, (count, _) in before.items() if not count] == [], "a table without a row proves nothing"

    attempts = 0
    with psycopg.connect(server.url("app", database), autocommit=True) as app:
        for table, columns in _tables(database).items():
            for text, values, wanted in _statements(table, columns, other):
                attempts += 1
                assert _outcome(app, own, text, values) in wanted, (table, text.as_string(app))
            attempts += 1
            anything = app.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
            assert anything == (0,), table

    assert attempts == 6 * len(before)
    assert _rows_of(database, other) == before


def _statements(table: str, columns: list[str], other: uuid.UUID) -> Iterator[tuple[sql.Composed, list[Any], set[Any]]]:
    name, names = sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    moved = sql.SQL(", ").join(
        {"organization_id": sql.Placeholder(), "id": sql.SQL("gen_random_uuid()")}.get(one, sql.Identifier(one))
        for one in columns
    )  # fmt: skip
    theirs = sql.SQL(" WHERE organization_id = %s")
    yield sql.SQL("SELECT 1 FROM {}").format(name) + theirs, [other], {0}
    yield sql.SQL("UPDATE {} SET id = id").format(name) + theirs, [other], {0, "refused"}
    yield sql.SQL("DELETE FROM {}").format(name) + theirs, [other], {0, "refused"}
    yield sql.SQL("UPDATE {} SET organization_id = %s").format(name), [other], {"refused"}
    yield (
        sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} LIMIT 1").format(name, names, moved, name),
        [other],
        {"refused"},
    )


def _outcome(app: "psycopg.Connection[Any]", own: uuid.UUID, text: sql.Composed, values: list[Any]) -> int | str:
    """The number of rows, or "refused" by a policy or for want of a right."""
    with app.transaction(force_rollback=True):
        app.execute("SELECT set_config('app.organization_id', %s, true)", [str(own)])
        try:
            return app.execute(text, values).rowcount
        except psycopg.errors.InsufficientPrivilege:
            pass
    return "refused"


async def _try_all(http: httpx.AsyncClient, members: tuple[Member, Member], powerless: str) -> Report:
    attempts = Attempts(http)
    first, second = members
    await attempts.reach(first, second)
    await attempts.reach(second, first)
    await attempts.without_right(first, powerless)
    return attempts.report


def _tell(tables: int, report: Report) -> None:
    """The figures, to be seen with `pytest -rP`."""
    fields, mutations = len(report.fields), len(report.mutations)
    counts = f"{tables} tables, {fields} root fields, {mutations} mutations, {report.attempts} attempts"
    sys.stdout.write(f"{counts}, {len(report.crossed)} crossed, {len(report.unguarded)} unguarded\n")


def _actors(organization: Organization) -> tuple[bool, set[str]]:
    """Whether tokens have acted on the organization by the trail, and which of them are not its own."""
    with acting_for(organization.id):
        own = set(ApiToken.objects.values_list("id", flat=True))
        acted = set(AuditEntry.objects.exclude(token_id=None).values_list("token_id", flat=True))
    return bool(acted), {str(one) for one in acted - own}


def _powerless(organization: Organization) -> str:
    return token(organization, f"none{organization.id.hex}", Role.SERVICE)


async def test_no_root_field_and_no_mutation_reaches_another_organization_over_http(
    database: str, tmp_path: Path, members: tuple[Member, Member]
) -> None:
    powerless = await in_thread(_powerless, members[0].organization)
    first, second = members
    with serving(database, tmp_path) as at:
        async with httpx.AsyncClient(base_url=at.url, timeout=60) as http:
            attempts = Attempts(http)
            before = _rows_of(database, second.organization.id)
            await attempts.reach(first, second)
            after = _rows_of(database, second.organization.id)
            await attempts.reach(second, first)
            await attempts.without_right(first, powerless)
    report = attempts.report

    _tell(len(_tables(database)), report)
    assert report.fields == set(attempts.queries)
    assert report.mutations == set(attempts.mutations)
    assert report.attempts > 500
    # The second's token was used to get its cursors: it remembers when, and the trail what was read.
    assert {table for table in before if before[table] != after[table]} <= {"api_token", "audit_entry"}
    acted, others = await in_thread(_actors, second.organization)
    assert acted
    assert others == set()
    assert report.blind == []
    assert report.crossed == []
    assert report.unguarded == []


@pytest.fixture
def broken(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, tuple[Member, Member], str]]:
    """A database of its own with two members, and a token there without any right."""
    with scratch_database() as name:
        connection.close()
        monkeypatch.setitem(connection.settings_dict, "NAME", name)
        first, second = Organization.objects.create(name="first"), Organization.objects.create(name="second")
        yield name, (member(first, "zzfirst"), member(second, "zzsecond")), _powerless(first)
        connection.close()


async def _report(url: str, members: tuple[Member, Member], powerless: str, *names: str) -> Report:
    """What comes through a few root fields."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        attempts = Attempts(http)
        attempts.queries = {name: attempts.queries[name] for name in names}
        attempts.mutations = {}
        return await _try_all(http, members, powerless)


async def test_the_attempts_notice_when_a_table_lets_all_in_or_nobody(
    broken: tuple[str, tuple[Member, Member], str], tmp_path: Path
) -> None:
    database, members, powerless = broken

    with serving(database, tmp_path) as at:
        sound = await _report(at.url, members, powerless, "payers", "node")
        execute(database, "ALTER TABLE payer DISABLE ROW LEVEL SECURITY")
        open_to_all = await _report(at.url, members, powerless, "payers", "node")
        execute(database, "ALTER TABLE payer ENABLE ROW LEVEL SECURITY", "DROP POLICY payer_tenant ON payer")
        closed = await _report(at.url, members, powerless, "payers", "node")

    assert (sound.crossed, sound.blind, sound.unguarded) == ([], [], [])
    assert any("payers(" in one and "PY" in one for one in open_to_all.crossed)
    assert any("node(" in one and "PY" in one for one in open_to_all.crossed)
    assert closed.blind == ["payers", "payers"]


@pytest.mark.parametrize("way", ["compiled"], indirect=True)
async def test_the_attempts_notice_a_root_field_without_a_right(
    organization: Organization,
    other_organization: Organization,
    reads: Reads,
    writes: WriteThreads,
    way: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    members = (
        await in_thread(member, organization, "zzfirst"),
        await in_thread(member, other_organization, "zzsecond"),
    )
    powerless = await in_thread(_powerless, organization)
    [payers] = [field for field in Query.__strawberry_definition__.fields if field.python_name == "payers"]
    monkeypatch.setattr(payers, "right", None)

    async with asking(reads, writes) as http:
        attempts = Attempts(http)
        await attempts.without_right(members[0], powerless)

    assert attempts.report.unguarded == [f"payers: [] instead of {code}" for code in ("UNAUTHENTICATED", "FORBIDDEN")]
