"""Snapshots of several organizations on one pool: what is left for others, and that connection and permit come back."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import psycopg
import pytest

from backend.accounts.models import Organization
from backend.core.errors import OrganizationBusy, Unavailable
from backend.db.pools import ReadPool
from backend.db.reads import Reads, connection_url
from benchmarks.serving import free_port
from tests.pools import all_come_back

SIZE, SHARE = 4, 3
POINTS = 40  # turns of the event loop within which one that reads is cancelled


@pytest.fixture
async def few(database: str) -> AsyncIterator[Reads]:
    pool = Reads(connection_url(), size=SIZE)
    await pool.open()
    yield pool
    await pool.close()


def _pool(reads: Reads) -> ReadPool:
    return reads._primary


async def _none_is_lent(reads: Reads) -> bool:
    shares = _pool(reads).shares
    return await all_come_back(reads) and (shares.held, shares.waiting) == (0, 0)


async def _until_waiting(reads: Reads, count: int) -> None:
    for _ in range(600):
        if reads.statistics()["requests_waiting"] == count:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"never did {count} wait")


async def _reading(reads: Reads, organization: Organization, count: int) -> AsyncExitStack:
    """So many snapshots of an organization that have a connection each, until it is closed."""
    stack = AsyncExitStack()
    for _ in range(count):
        snapshot = await stack.enter_async_context(reads.snapshot(organization.id))
        await snapshot.rows("SELECT 1")
    return stack


async def _read(reads: Reads, organization: Organization | None, seconds: float | None = None) -> int:
    """What a single statement gives."""
    async with reads.snapshot(organization.id if organization else None, seconds=seconds) as snapshot:
        return int((await snapshot.rows("SELECT 1"))[0][0])


async def test_an_organization_that_reads_with_all_it_may_have_leaves_others_a_connection(
    few: Reads, organization: Organization, other_organization: Organization
) -> None:
    async with await _reading(few, organization, SHARE):
        waiting = asyncio.create_task(_read(few, organization))
        await _until_waiting(few, 1)

        assert [await _read(few, other_organization), await _read(few, None)] == [1, 1]
        assert not waiting.done()

    assert await waiting == 1
    assert await _none_is_lent(few)


async def test_who_waits_in_vain_is_told_whether_its_own_organization_has_the_connections(
    few: Reads, organization: Organization, other_organization: Organization
) -> None:
    async with await _reading(few, organization, SHARE):
        with pytest.raises(OrganizationBusy, match=r"at a time: 3 \(DRIFTGRAPH_ORGANIZATION_READ_SHARE"):
            await _read(few, organization, seconds=0.1)
        async with await _reading(few, other_organization, SIZE - SHARE):
            with pytest.raises(Unavailable) as refused:
                await _read(few, other_organization, seconds=0.1)

    assert (type(refused.value), refused.value.retryable) == (Unavailable, True)
    assert await _none_is_lent(few)


async def test_a_connection_that_comes_back_goes_to_the_organizations_in_turn(
    database: str, organization: Organization, other_organization: Organization
) -> None:
    one, served = Reads(connection_url(), size=1), list[str]()
    await one.open()

    async def read(name: str, whose: Organization) -> None:
        async with one.snapshot(whose.id) as snapshot:
            await snapshot.rows("SELECT 1")
            served.append(name)

    async with await _reading(one, organization, 1):
        waiting = [asyncio.create_task(read(f"mine {number}", organization)) for number in range(3)]
        await _until_waiting(one, 3)
        waiting.append(asyncio.create_task(read("theirs", other_organization)))
        await _until_waiting(one, 4)
        assert served == []
    await asyncio.gather(*waiting)

    assert served == ["mine 0", "theirs", "mine 1", "mine 2"]
    assert await _none_is_lent(one)
    await one.close()


@pytest.mark.parametrize("seed", range(3))
async def test_connection_and_permit_come_back_wherever_readers_are_cancelled(
    few: Reads, organization: Organization, other_organization: Organization, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - points of cancellation, the same each time
    texts = ["SELECT 1", "SELECT 1 / 0", "SELECT pg_sleep(0.01)", "SELECT pg_terminate_backend(pg_backend_pid())"]

    async def read(whose: Organization, text: str) -> None:
        async with few.snapshot(whose.id) as snapshot:
            await snapshot.rows("SELECT 1")
            later = await snapshot.successor() if chance.random() < 0.5 else snapshot
            await later.rows(text)

    async def cancelled(task: "asyncio.Task[None]", after: int) -> None:
        for _ in range(after):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError, psycopg.errors.DivisionByZero, Unavailable):
            await task

    readers = [
        asyncio.create_task(read(chance.choice([organization, organization, other_organization]), chance.choice(texts)))
        for _ in range(40)
    ]
    await asyncio.gather(*(cancelled(reader, chance.randrange(POINTS)) for reader in readers))

    assert await _none_is_lent(few)
    assert await _read(few, organization) == 1


async def test_a_server_that_is_away_is_nothing_that_an_organization_does(
    database: str, organization: Organization
) -> None:
    away = Reads(f"postgresql://app@127.0.0.1:{free_port()}/away", size=SIZE)
    await _pool(away).connections.open(wait=False)

    reading = [_read(away, organization, seconds=0.3) for _ in range(2 * SIZE)]
    outcomes = await asyncio.gather(*reading, return_exceptions=True)
    await away.close()

    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 2 * SIZE
    assert _pool(away).shares.held == 0


async def test_no_permit_stays_with_who_gets_no_connection(few: Reads, organization: Organization) -> None:
    await few.close()
    for _ in range(SIZE):
        with pytest.raises(Unavailable):
            await _read(few, organization)

    assert _pool(few).shares.held == 0
