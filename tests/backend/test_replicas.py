"""A replica as a process sees it: what makes it unfit, what its snapshots do where it cannot go on, and positions."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from backend.accounts.models import Organization
from backend.core.errors import DeadlineExceeded
from backend.db.pipeline import TextQuery
from backend.db.reads import Reads, connection_url
from backend.db.replicas import NotOnReplica, Position, Replica, ReplicaSnapshot, position_after
from tests import server
from tests.environment import EXTERNAL
from tests.pools import held_at_last
from tests.standby import Standby, is_read, standby
from tests.threads import in_thread

PAGE, PAGE_HEADER = 8192, 24
MESSAGE = "SELECT pg_logical_emit_message(false, 'tests', repeat('x', {}), true)"


@pytest.fixture(scope="module")
def replica(database: str) -> Iterator[Standby]:
    if EXTERNAL:
        pytest.skip("a replica is made of the embedded server alone")
    with standby(f"replica-{database}") as found:
        yield found


@pytest.fixture
async def both(replica: Standby, database: str) -> AsyncIterator[Reads]:
    pool = Reads(connection_url(), size=2, replica_url=replica.url("app", database))
    await pool.open()
    yield pool
    await pool.close()


def _as_superuser(database: str, text: str) -> None:
    with psycopg.connect(server.url("postgres", database), autocommit=True) as admin:
        admin.execute(text.encode())


def _replica(reads: Reads) -> Replica:
    assert reads.replica is not None
    return reads.replica


def _made(reads: Reads) -> int:
    """How many connections to the replica have been made so far."""
    return _replica(reads)._pool.connections.get_stats()["connections_num"]


async def _found_unfit(reads: Reads) -> str | None:
    """Why the replica is not read, as the process finds out by itself."""
    for _ in range(600):
        if _replica(reads).unfit is not None:
            break
        await asyncio.sleep(0.05)
    return _replica(reads).unfit


def _snapshot(reads: Reads, organization: Organization, after: Position | None = None) -> ReplicaSnapshot:
    return _replica(reads).snapshot(organization.id, seconds=10, premise=None, after=after)


async def test_a_replica_that_is_too_far_behind_is_not_read_until_it_has_caught_up(
    both: Reads, replica: Standby, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "ENVIRONMENT", dataclasses.replace(settings.ENVIRONMENT, replica_lag_seconds=1e-6))
    held = replica.held()
    await in_thread(held.__enter__)
    try:
        await in_thread(_as_superuser, database, MESSAGE.format(1))
        await _replica(both).look()
        behind, found = _replica(both).unfit, both.fit_replica
    finally:
        await in_thread(held.__exit__, None, None, None)

    await is_read(both)
    assert behind is not None
    assert "DRIFTGRAPH_REPLICA_LAG_SECONDS" in behind
    assert found is None


async def test_what_the_primary_had_within_the_lag_need_not_show(both: Reads, replica: Standby, database: str) -> None:
    await is_read(both)
    held = replica.held()
    await in_thread(held.__enter__)
    try:
        await in_thread(_as_superuser, database, MESSAGE.format(1))
        await _replica(both).look()
        fit = _replica(both).unfit
    finally:
        await in_thread(held.__exit__, None, None, None)

    assert fit is None


@pytest.mark.parametrize(
    ("role", "of", "reason"),
    [
        ("owner", "replica", "it is of another cluster, database or role than the primary"),
        ("app", "primary", "it is no standby"),
        ("app", "nowhere", "it does not answer"),
    ],
)
async def test_what_is_no_replica_of_the_primary_is_not_read(
    replica: Standby, database: str, role: str, of: str, reason: str
) -> None:
    urls = {"replica": replica.url(role, database), "primary": server.url(role, database)}
    reads = Reads(connection_url(), size=2, replica_url=urls.get(of, "postgresql://app@127.0.0.1:1/nowhere"))

    await reads.open()
    try:
        assert (_replica(reads).unfit, reads.fit_replica) == (reason, None)
    finally:
        await reads.close()


async def test_a_position_that_has_not_been_replayed_is_not_waited_for_long(
    both: Reads, replica: Standby, database: str, organization: Organization
) -> None:
    async with both.snapshot(None) as now:
        passed = await position_after(now)
    await in_thread(replica.catch_up)

    async with _snapshot(both, organization, passed) as snapshot:
        assert await snapshot.texts([TextQuery(b"SELECT 'seen'")], last=True) == [[(b"seen",)]]
    before = _made(both)
    async with _snapshot(both, organization, Position(passed + (1 << 40))) as snapshot:
        with pytest.raises(NotOnReplica):
            await snapshot.texts([TextQuery(b"SELECT 'seen'")], last=True)
    assert _made(both) == before  # the connection is as good as before


async def test_no_more_than_what_is_written_is_waited_for(both: Reads, replica: Standby, database: str) -> None:
    """The position at which the next record begins is behind the header of a page, where that is new."""

    async def inserted() -> Position:
        async with both.snapshot(None) as now:
            return Position.read((await now.rows("SELECT pg_current_wal_insert_lsn()::text"))[0][0])

    for _ in range(200):
        before = await inserted()
        await in_thread(_as_superuser, database, MESSAGE.format(1000))
        overhead = await inserted() - before - 1000
        left = PAGE - await inserted() % PAGE
        await in_thread(_as_superuser, database, MESSAGE.format(max(1, left - overhead)))
        begins = await inserted()
        async with both.snapshot(None) as now:
            found = await position_after(now)
        # PostgreSQL itself writes at any time, also between two of these statements.
        if begins % PAGE == PAGE_HEADER and await inserted() == begins:
            break
    else:
        pytest.fail("others write all the time")

    assert found == begins - PAGE_HEADER


async def test_a_read_that_a_replayed_change_cuts_off_is_for_the_primary(
    both: Reads, replica: Standby, database: str, organization: Organization
) -> None:
    table = f"scratch_{organization.id.hex}"
    await in_thread(_as_superuser, database, f"CREATE TABLE {table} AS SELECT 1 AS n; GRANT ALL ON {table} TO app")
    await in_thread(replica.catch_up)

    async with _snapshot(both, organization) as snapshot:
        assert await snapshot.rows(f"SELECT n FROM {table}") == [(1,)]
        await in_thread(_as_superuser, database, f"DROP TABLE {table}")
        await in_thread(replica.catch_up)
        with pytest.raises(NotOnReplica):
            await snapshot.rows(f"SELECT n FROM {table}")
    async with _snapshot(both, organization) as snapshot:
        assert await snapshot.rows("SELECT 1") == [(1,)]


async def test_what_an_organization_reads_beyond_its_share_of_the_replica_is_for_the_primary(
    both: Reads, organization: Organization, other_organization: Organization
) -> None:
    async with _snapshot(both, organization) as holder:
        await holder.rows("SELECT 1")
        async with _snapshot(both, organization) as late:
            with pytest.raises(NotOnReplica):
                await late.rows("SELECT 1")
        async with _snapshot(both, other_organization) as other:
            assert await other.rows("SELECT 1") == [(1,)]

    assert await held_at_last(_replica(both)._pool.shares, 0) == 0


async def test_what_the_replica_does_not_have_yet_is_for_the_primary(both: Reads, organization: Organization) -> None:
    async with _snapshot(both, organization) as snapshot:
        with pytest.raises(NotOnReplica):
            await snapshot.rows("SELECT 1 FROM made_by_a_migration")


async def test_a_deadline_holds_on_the_replica_too(both: Reads, organization: Organization) -> None:
    snapshot = _replica(both).snapshot(organization.id, seconds=0.2, premise=None, after=None)
    with pytest.raises(DeadlineExceeded):
        async with snapshot:
            await snapshot.rows("SELECT pg_sleep(5)")


async def test_a_replica_that_was_promoted_is_not_read(database: str, replica: Standby) -> None:
    with standby(f"promoted-{database}") as promoted:
        reads = Reads(connection_url(), size=2, replica_url=promoted.url("app", database))
        await reads.open()
        try:
            await is_read(reads)
            await in_thread(promoted.promote)
            assert await _found_unfit(reads) == "it is no standby"
        finally:
            await reads.close()


async def test_a_replica_that_cannot_be_looked_at_is_not_read(both: Reads, monkeypatch: pytest.MonkeyPatch) -> None:
    await is_read(both)

    async def failing(_: Replica) -> None:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(Replica, "_judged", failing)
        assert await _found_unfit(both) == "it could not be looked at"

    await is_read(both)


@given(st.integers(min_value=0, max_value=(1 << 64) - 1))
def test_a_position_reads_what_it_writes(number: int) -> None:
    assert Position.read(str(Position(number))) == number


def test_a_position_is_written_as_postgresql_does() -> None:
    assert str(Position.read("16/B374D848")) == "16/B374D848"
    assert Position.read("16/B374D848") == 0x16B374D848
