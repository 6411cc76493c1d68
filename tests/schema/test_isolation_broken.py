"""That the generated attempts can fail: a lock of isolation is taken away in a scratch database, and they name it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from django.db import connection

from backend.accounts.models import Organization
from backend.core.actor import Actor, Role
from backend.core.constraints import TENANT
from backend.db.reads import Reads
from backend.db.writes import WriteThreads
from schema.queries import Query
from tests import server
from tests.asgi import asking
from tests.attempts import Attempts, Member, Report, member, token
from tests.documents import roots
from tests.scratch import execute, scratch_database
from tests.serving import serving
from tests.statements import try_statements

Members = tuple[Member, Member]
FOR_EVERYBODY = {"cost", "viewer"}
OWN = f"organization_id = {TENANT}"
POLICY = f"CREATE POLICY payer_tenant ON payer USING ({OWN}) WITH CHECK ({OWN})"
REFERENCE = "payer_alias_payer_fk"
LONE_REFERENCE = f"""ALTER TABLE payer_alias DROP CONSTRAINT {REFERENCE};
  ALTER TABLE payer_alias ADD CONSTRAINT {REFERENCE} FOREIGN KEY (payer_id) REFERENCES payer (id)"""


@pytest.fixture
def broken(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Members]]:
    """A database of its own with two members."""
    with scratch_database() as name:
        connection.close()
        monkeypatch.setitem(connection.settings_dict, "NAME", name)
        first, second = Organization.objects.create(name="first"), Organization.objects.create(name="second")
        yield name, (member(first, "zzfirst"), member(second, "zzsecond"))
        connection.close()


async def _report(url: str, members: Members, *names: str) -> Report:
    """What comes through a few root fields, or through all."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        attempts = Attempts(http, set(names) or None)
        await attempts.read(*members)
        return attempts.report


async def test_attempts_over_http_notice_a_lost_policy_and_a_lost_force(
    broken: tuple[str, Members], tmp_path: Path
) -> None:
    database, members = broken
    found: dict[str, Report] = {}
    steps = {
        "sound": (),
        "disabled": ("ALTER TABLE payer DISABLE ROW LEVEL SECURITY",),
        "policy dropped": ("ALTER TABLE payer ENABLE ROW LEVEL SECURITY", "DROP POLICY payer_tenant ON payer"),
        # Whoever owns a table is held by its policies as long as they are forced, and no longer.
        "owned": (POLICY, "ALTER TABLE payer OWNER TO app"),
        "owned, FORCE removed": ("ALTER TABLE payer NO FORCE ROW LEVEL SECURITY",),
    }

    with serving(database, tmp_path) as at:
        for step, statements in steps.items():
            execute(database, *statements)
            found[step] = await _report(at.url, members, "payers", "node")

    for step in ("sound", "owned"):
        assert (found[step].crossed, found[step].blind, found[step].refused) == ([], [], [])
    assert found["policy dropped"].crossed == []
    assert {"node(id of Payer) of zzsecond", "payers() of zzsecond"} <= set(found["policy dropped"].blind)
    for step in ("disabled", "owned, FORCE removed"):
        assert any(one.startswith("payers(") and "PY" in one for one in found[step].crossed)
        assert any(one.startswith("node(") and "PY" in one for one in found[step].crossed)


async def test_attempts_over_http_notice_rows_of_another_organization_in_every_root_field(
    broken: tuple[str, Members], tmp_path: Path
) -> None:
    """The server has the role of the owner, whom no policy holds: each root field that shows rows is named."""
    database, members = broken

    with serving(database, tmp_path, DRIFTGRAPH_DATABASE_URL=server.url("owner", database)) as at:
        report = await _report(at.url, members)

    every = {*roots("query"), *roots("subscription")}
    assert {one.partition("(")[0] for one in report.crossed} == every - {"cost", "viewer"}


STATEMENTS = {
    "policy that lets all in": ("CREATE POLICY more ON payer USING (true)", "payer: 1 of SELECT"),
    "disabled": ("ALTER TABLE payer DISABLE ROW LEVEL SECURITY", "payer: without an organization"),
    "FORCE removed": (
        "ALTER TABLE payer OWNER TO app; ALTER TABLE payer NO FORCE ROW LEVEL SECURITY",
        "payer: without an organization",
    ),
    "single-column foreign key": (LONE_REFERENCE, f"{REFERENCE}: takes a row of another organization"),
}


def test_attempts_by_sql_notice_each_lost_lock(broken: tuple[str, Members]) -> None:
    database, members = broken
    own, other = (one.organization.id for one in members)
    for broken_by, expected in STATEMENTS.values():
        execute(database, broken_by)
        assert any(one.startswith(expected) for one in try_statements(database, own, other).crossed), broken_by


async def _without_right(members: Members, powerless: str, reads: Reads, writes: WriteThreads) -> list[str]:
    async with asking(reads, writes) as http:
        attempts = Attempts(http)
        await attempts.without_right(members[0], powerless)
    return attempts.report.unguarded


@pytest.fixture
def members(organization: Organization, other_organization: Organization) -> Members:
    return member(organization, "zzfirst"), member(other_organization, "zzsecond")


@pytest.fixture
def powerless(organization: Organization) -> str:
    return token(organization, f"none{organization.id.hex}", Role.SERVICE)


@pytest.mark.parametrize("way", ["compiled"], indirect=True)
async def test_attempts_notice_a_root_field_without_its_guard(
    members: Members, powerless: str, reads: Reads, writes: WriteThreads, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [payers] = [field for field in Query.__strawberry_definition__.fields if field.python_name == "payers"]
    monkeypatch.setattr(payers, "right", None)

    unguarded = await _without_right(members, powerless, reads, writes)

    assert unguarded == [f"payers: [] instead of {code}" for code in ("UNAUTHENTICATED", "FORBIDDEN")]


@pytest.mark.parametrize("way", ["reference"], indirect=True)
async def test_attempts_notice_every_guard_that_lets_all_in(
    members: Members, powerless: str, reads: Reads, writes: WriteThreads, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Actor, "require", lambda *_: None)

    unguarded = await _without_right(members, powerless, reads, writes)

    every = {*roots("query"), *roots("mutation"), *roots("subscription")}
    assert {one.partition(":")[0] for one in unguarded if one.endswith("FORBIDDEN")} == every - FOR_EVERYBODY
