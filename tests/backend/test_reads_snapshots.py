"""Snapshots: deadlines, broken and busy connections, one instant, and that every connection comes back."""

import asyncio
from asyncio import CancelledError
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from psycopg.pq.abc import PGresult

from backend.accounts.models import Organization
from backend.core.errors import DeadlineExceeded, Unavailable
from backend.db.pipeline import Pipelines, TextQuery, TextRow
from backend.db.premises import AnswerOutdated, Premise
from backend.db.reads import Reads, connection_url
from backend.db.snapshots import Snapshot, SnapshotEnded
from tests import server
from tests.locking import until_waited_for
from tests.pools import all_come_back
from tests.scratch import database_with_other_forms
from tests.threads import in_thread


async def test_a_slow_statement_is_stopped_by_postgresql(reads: Reads, organization: Organization) -> None:
    with pytest.raises(DeadlineExceeded):
        async with reads.snapshot(organization.id, seconds=0.2) as snapshot:
            await snapshot.rows("SELECT pg_sleep(5)")
    async with reads.snapshot(organization.id) as snapshot:
        assert await snapshot.rows("SELECT 1") == [(1,)]


async def test_a_spent_deadline_reads_nothing(reads: Reads, organization: Organization) -> None:
    with pytest.raises(DeadlineExceeded):
        async with reads.snapshot(organization.id, seconds=-1) as snapshot:
            await snapshot.rows("SELECT 1")


async def test_a_broken_connection_is_replaced(reads: Reads, organization: Organization) -> None:
    async with reads.snapshot(organization.id) as snapshot:
        await snapshot.rows("SELECT 1")
        with pytest.raises(Unavailable):
            await snapshot.rows("SELECT pg_terminate_backend(pg_backend_pid())")
    async with reads.snapshot(organization.id) as snapshot:
        assert await snapshot.rows("SELECT 1") == [(1,)]


async def test_a_snapshot_does_not_see_what_is_written_after_it_began(reads: Reads, organization: Organization) -> None:
    def rename() -> None:
        Organization.objects.filter(id=organization.id).update(timezone="Europe/Berlin")

    text = "SELECT timezone FROM organization WHERE id = %s"
    async with reads.snapshot(organization.id) as snapshot:
        before = await snapshot.rows(text, [organization.id])
        await in_thread(rename)
        after = await snapshot.rows(text, [organization.id])

    assert before == after == [("UTC",)]


async def test_who_reads_after_the_answer_gets_no_connection(reads: Reads, organization: Organization) -> None:
    async with reads.snapshot(organization.id) as snapshot:
        await snapshot.rows("SELECT 1")

    with pytest.raises(SnapshotEnded):
        await snapshot.rows("SELECT 1")
    with pytest.raises(SnapshotEnded):
        await snapshot.texts([TextQuery(b"SELECT 'x'", [])], last=True)
    assert await all_come_back(reads)


async def test_readers_that_an_answer_leaves_behind_are_stopped(reads: Reads, organization: Organization) -> None:
    async with reads.snapshot(organization.id) as snapshot:
        left = [asyncio.ensure_future(snapshot.rows("SELECT pg_sleep(600)")) for _ in range(3)]
        await asyncio.sleep(0.1)  # until the first of them is with PostgreSQL

    outcomes = await asyncio.gather(*left, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [SnapshotEnded] * 3
    assert await all_come_back(reads)
    async with reads.snapshot(organization.id) as snapshot:
        assert await snapshot.rows("SELECT 1") == [(1,)]


async def test_a_statement_that_was_being_prepared_when_the_client_left_is_prepared_anew(
    database: str, organization: Organization
) -> None:
    pool = Reads(connection_url(), size=1)
    await pool.open()
    sleepy, novel = TextQuery(b"SELECT pg_sleep(600)::text", ()), TextQuery(b"SELECT 'novel'", ())

    async def read(*queries: TextQuery) -> list[list[TextRow]]:
        async with pool.snapshot(organization.id) as snapshot:
            return await snapshot.texts(queries, last=True)

    for _ in range(2):  # the third time it is prepared, after the statement that is stopped
        await read(novel)
    leaving = asyncio.create_task(read(sleepy, novel))
    await asyncio.sleep(0.1)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)

    assert await read(novel) == [[(b"novel",)]]
    await pool.close()


async def test_a_pool_without_a_free_connection_says_that_it_is_busy(reads: Reads, organization: Organization) -> None:
    small = Reads(connection_url(), size=1)
    await small.open()
    try:
        async with small.snapshot(organization.id) as holder:
            await holder.rows("SELECT 1")
            with pytest.raises(Unavailable):
                async with small.snapshot(organization.id, seconds=0.2) as waiting:
                    await waiting.rows("SELECT 1")
    finally:
        await small.close()


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came to that")


async def test_who_is_cancelled_while_giving_a_connection_back_does_not_lose_it(database: str) -> None:
    small = Reads(connection_url(), size=1)
    await small.open()
    pool = small._primary.connections

    async def read() -> list[list[TextRow]]:
        async with small.snapshot(None) as snapshot:
            return await snapshot.texts([TextQuery(b"SELECT 'x' FROM pg_sleep(0.2)")], last=True)

    reading = asyncio.create_task(read())
    await _until(lambda: small.statistics()["pool_available"] == 0)
    async with pool._lock:  # as another holds it who takes or gives one
        await _until(lambda: bool(pool._lock._waiters))
        reading.cancel()
        await asyncio.wait([reading], timeout=0)
    with suppress(CancelledError):
        await reading

    assert await all_come_back(small)
    assert await read() == [[(b"x",)]]
    await small.close()


async def test_a_single_statement_needs_no_other_to_end_its_transaction(reads: Reads) -> None:
    text = "SELECT pg_backend_pid()::text"

    async with reads.snapshot(None) as snapshot:
        [[(process,)]] = await snapshot.texts([TextQuery(text.encode())], last=True)

    assert process is not None
    with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as other:
        last = other.execute("SELECT query, state FROM pg_stat_activity WHERE pid = %s", [int(process)]).fetchone()
    assert last == (text, "idle")


async def test_who_reads_at_the_same_time_shares_a_round_trip(
    reads: Reads, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, trips = Pipelines.run, []

    async def counted(self: Pipelines, connection: Any, queries: Sequence[TextQuery]) -> list[PGresult]:
        trips.append([query.text for query in queries])
        return await run(self, connection, queries)

    monkeypatch.setattr(Pipelines, "run", counted)
    async with reads.snapshot(organization.id) as snapshot:
        first = await asyncio.gather(snapshot.rows("SELECT %s::int", [1]), snapshot.rows("SELECT %s::text", ["one"]))
        second = await snapshot.rows("SELECT 2")

    assert (first, second) == ([[(1,)], [("one",)]], [(2,)])
    assert [trip[-2:] for trip in trips[:2]] == [[b"SELECT $1::int", b"SELECT $1::text"], [b"SELECT 2"]]


async def test_who_shared_a_round_trip_shares_its_error(reads: Reads, organization: Organization) -> None:
    async with reads.snapshot(organization.id) as snapshot:
        good, bad = snapshot.rows("SELECT 1"), snapshot.rows("SELECT 1 / 0")
        outcomes = await asyncio.gather(good, bad, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [psycopg.errors.DivisionByZero] * 2
    assert await all_come_back(reads)


@pytest.fixture
def lent(monkeypatch: pytest.MonkeyPatch) -> list[Snapshot]:
    """Who has been lent a connection so far."""
    connect, found = Snapshot._connect, []

    async def noted(self: Snapshot) -> Any:
        found.append(self)
        return await connect(self)

    monkeypatch.setattr(Snapshot, "_connect", noted)
    return found


async def test_what_postgresql_does_not_support_is_not_tried_again(
    reads: Reads, organization: Organization, lent: list[Snapshot]
) -> None:
    async with reads.snapshot(organization.id) as snapshot:
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            await snapshot.rows("SELECT 1 FROM pg_class GROUP BY relname FOR UPDATE")

    assert lent == [snapshot]
    assert await all_come_back(reads)


BROKEN = Premise("%s::text", ("so",), "otherwise")


async def test_a_premise_is_looked_at_where_whoever_read_was_cancelled_before(
    reads: Reads, organization: Organization, lent: list[Snapshot]
) -> None:
    async with reads.snapshot(organization.id, premise=BROKEN) as snapshot:
        reading = asyncio.create_task(snapshot.rows("SELECT 1"))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        assert lent == []
        with pytest.raises(AnswerOutdated):
            await snapshot.verify()

    assert await all_come_back(reads)


async def test_a_premise_is_looked_at_where_all_that_was_read_failed(reads: Reads, organization: Organization) -> None:
    for premise in (BROKEN, Premise("%s::text", ("so",), "so")):
        async with reads.snapshot(organization.id, premise=premise) as snapshot:
            with pytest.raises(psycopg.errors.DivisionByZero):
                await snapshot.rows("SELECT 1 / 0")
            if premise is BROKEN:
                with pytest.raises(AnswerOutdated):
                    await snapshot.verify()
            else:
                await snapshot.verify()

    assert await all_come_back(reads)


async def test_a_premise_is_looked_at_once(reads: Reads, organization: Organization, lent: list[Snapshot]) -> None:
    async with reads.snapshot(organization.id, premise=Premise("%s::text", ("so",), "so")) as snapshot:
        await snapshot.verify()
        await snapshot.verify()

    assert lent == [snapshot]


async def test_a_successor_is_of_a_later_instant_and_nobody_reads_on_in_the_first(
    reads: Reads, database: str, organization: Organization
) -> None:
    key, text = organization.id.int % 2**31, "SELECT 1 FROM (SELECT pg_advisory_xact_lock(%s)) AS lock"
    with psycopg.connect(server.url("postgres", database), autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [key])
        async with reads.snapshot(organization.id) as first:
            [(begun,)] = await first.rows("SELECT now()")
            left = [asyncio.ensure_future(first.rows(text, [key])) for _ in range(2)]
            await until_waited_for(holder, key=key)
            later = await first.successor()
            outcomes = await asyncio.gather(*left, return_exceptions=True)
            with pytest.raises(SnapshotEnded):
                await first.rows("SELECT 1")
            assert (await later.rows("SELECT now()"))[0][0] > begun

    assert [type(outcome) for outcome in outcomes] == [SnapshotEnded] * 2
    with pytest.raises(SnapshotEnded):
        await later.rows("SELECT 1")
    assert later.statements[-1] == first.statements[-1]
    assert await all_come_back(reads)


async def test_nobody_reads_on_where_the_premise_does_not_hold(reads: Reads, organization: Organization) -> None:
    async with reads.snapshot(organization.id, premise=BROKEN) as snapshot:
        for _ in range(2):
            with pytest.raises(AnswerOutdated):
                await snapshot.rows("SELECT 1")
        with pytest.raises(AnswerOutdated):
            await snapshot.append(TextQuery(b"SELECT 'written'"))

    assert await all_come_back(reads)


@pytest.mark.parametrize("leaving", [0, 1])
async def test_who_is_cancelled_leaves_the_others_with_an_answer(
    reads: Reads, database: str, organization: Organization, leaving: int
) -> None:
    key = organization.id.int % 2**31
    with psycopg.connect(server.url("postgres", database), autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [key])
        async with reads.snapshot(organization.id) as snapshot:
            text = "SELECT 1 FROM (SELECT pg_advisory_xact_lock(%s)) AS lock"
            both = [asyncio.ensure_future(snapshot.rows(text, [key])) for _ in range(2)]
            await until_waited_for(holder, key=key)
            both[leaving].cancel()
            await asyncio.wait(both[leaving:][:1])
            holder.execute("SELECT pg_advisory_unlock(%s)", [key])
            outcomes = await asyncio.gather(*both, return_exceptions=True)

    # Who leads the trip takes the connection along.
    expected = ([CancelledError, Unavailable], [list, CancelledError])
    assert [type(outcome) for outcome in outcomes] == expected[leaving]
    assert await all_come_back(reads)


async def test_numbers_and_moments_look_the_same_whatever_the_database_has_set(database: str) -> None:
    forms = TextQuery(b"SELECT (0.1::float8 + 0.2::float8)::text, 'epoch'::timestamptz::text")
    with database_with_other_forms() as name:
        reads = Reads(server.url("app", name), size=1)
        await reads.open()
        for last in (True, False):
            async with reads.snapshot(None) as snapshot:
                found = await snapshot.texts([forms], last=last)
                assert found == [[(b"0.30000000000000004", b"1970-01-01 00:00:00+00")]]
        await reads.close()


def test_the_read_address_names_the_role_of_the_server() -> None:
    assert connection_url().startswith(("postgresql://app@/", "postgresql://app:"))
