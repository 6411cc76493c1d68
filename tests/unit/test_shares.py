"""Shares: what one party may have, whose turn it is, and that no permit is lost wherever somebody is cancelled."""

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from backend.db.shares import Shares

LONG = 60.0  # seconds: nobody waits for so long


async def _waiting(shares: Shares, *parties: str) -> "list[asyncio.Task[bool]]":
    """Those that wait, in this order."""
    tasks = [asyncio.create_task(shares.take_in_turn(party, LONG)) for party in parties]
    await asyncio.sleep(0)
    return tasks


async def _order(shares: Shares, tasks: "dict[str, asyncio.Task[bool]]") -> list[str]:
    """The names of those that wait, as they get the one permit that goes around; a name begins with its party."""
    found: list[str] = []
    holder = "holder"
    while len(found) < len(tasks):
        shares.give_back(holder[0])
        await asyncio.wait([tasks[name] for name in tasks.keys() - found], return_when=asyncio.FIRST_COMPLETED)
        [holder] = [name for name, task in tasks.items() if task.done() and name not in found]
        found.append(holder)
    return found


def test_one_party_has_its_share_and_leaves_the_rest_to_others() -> None:
    shares = Shares(4, share=3)

    assert [shares.take_at_once("a") for _ in range(4)] == [True, True, True, False]
    assert shares.has_all("a")
    assert [shares.take_at_once("b") for _ in range(2)] == [True, False]
    assert not shares.has_all("b")
    shares.give_back("a")
    assert [shares.take_at_once("a"), shares.take_at_once("b")] == [True, False]


async def test_the_first_of_each_party_comes_before_the_second_of_any() -> None:
    shares, names = Shares(1, share=1), ["a1", "a2", "a3", "b1", "b2", "c1"]
    assert shares.take_at_once("h")

    tasks = dict(zip(names, await _waiting(shares, *(name[0] for name in names)), strict=True))

    assert await _order(shares, tasks) == ["a1", "b1", "c1", "a2", "b2", "a3"]


async def test_who_waits_for_its_own_share_holds_up_nobody_and_keeps_its_turn() -> None:
    shares = Shares(3, share=2)
    assert [shares.take_at_once(party) for party in "aab"] == [True] * 3
    mine, other, third = await _waiting(shares, "a", "c", "b")

    shares.give_back("b")
    assert await other
    assert not mine.done()
    shares.give_back("a")
    assert await mine
    assert not third.done()
    shares.give_back("c")
    assert await third
    assert (shares.held, shares.waiting) == (3, 0)


async def test_who_gives_up_or_is_cancelled_leaves_the_turn_to_the_next() -> None:
    shares = Shares(1, share=1)
    assert shares.take_at_once("a")

    assert not await shares.take_in_turn("b", 0)
    [cancelled, next_one] = await _waiting(shares, "b", "c")
    shares.give_back("a")  # it is the turn of the first, that does not know yet
    cancelled.cancel()

    assert await next_one
    assert cancelled.cancelled()
    assert (shares.held, shares.waiting, shares.has_all("c")) == (1, 0, True)


readers = st.tuples(
    st.sampled_from("aaabc"),
    st.integers(0, 6),  # turns of the event loop before it comes
    st.integers(0, 4),  # for which it has a permit
    st.none() | st.integers(0, 12),  # after which it is cancelled
    st.booleans(),  # whether it has no patience
)


@given(st.integers(1, 4), st.integers(1, 4), st.lists(readers, max_size=20))
def test_every_permit_comes_back_wherever_those_that_wait_are_cancelled(
    size: int, share: int, plan: list[tuple[str, int, int, int | None, bool]]
) -> None:
    shares, held, served = Shares(size, share=share), Counter[str](), []

    async def turns(count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    async def read(party: str, comes: int, stays: int, *, hasty: bool) -> None:
        await turns(comes)
        if not shares.take_at_once(party) and not await shares.take_in_turn(party, 0 if hasty else LONG):
            return
        held[party] += 1
        assert held.total() <= size
        assert held[party] <= share
        try:
            await turns(stays)
        finally:
            held[party] -= 1
            shares.give_back(party)
        served.append(party)

    async def cancel(task: "asyncio.Task[None]", after: int) -> None:
        await turns(after)
        task.cancel()

    async def play() -> None:
        async with asyncio.timeout(LONG):
            tasks = [asyncio.create_task(read(*one[:3], hasty=one[4])) for one in plan]
            cancelling = [cancel(task, one[3]) for task, one in zip(tasks, plan, strict=True) if one[3] is not None]
            await asyncio.gather(*cancelling)
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(outcome is None or isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)

    asyncio.run(play())

    patient = [party for party, _, _, cancelled, hasty in plan if cancelled is None and not hasty]
    assert not Counter(patient) - Counter(served)
    assert (shares.held, shares.waiting) == (0, 0)
    assert [shares.take_at_once("z") for _ in range(size + 1)].count(True) == min(size, share)
