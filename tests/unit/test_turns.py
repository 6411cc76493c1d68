"""Work in turn: who is signed in before who is not, and each party's first before anybody's second."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from schema.execution.turns import Party, Turns

_STRANGER, _OTHER, _MEMBER = (
    Party("stranger", is_known=False),
    Party("other", is_known=False),
    Party("m", is_known=True),
)


class _Log:
    """Work that says when it is done; the first of it waits until it may end."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.may_end = threading.Event()

    def work(self, name: str) -> Callable[[], str]:
        def do() -> str:
            self.may_end.wait(10)
            self.done.append(name)
            return name

        return do


async def _begun(*runs: "asyncio.Task[str]") -> None:
    """All are in the queue, the first of them at work."""
    for _ in runs:
        await asyncio.sleep(0)


async def test_a_flood_of_one_address_holds_up_neither_who_is_signed_in_nor_other_addresses() -> None:
    turns, log = Turns(), _Log()
    flood = [asyncio.create_task(turns.run(_STRANGER, log.work(f"s{number}"))) for number in range(20)]
    await _begun(*flood)
    others = [
        asyncio.create_task(turns.run(party, log.work(name)))
        for party, name in ((_OTHER, "o0"), (_MEMBER, "m0"), (_MEMBER, "m1"))
    ]
    await _begun(*others)
    log.may_end.set()

    assert await asyncio.gather(*others) == ["o0", "m0", "m1"]
    await asyncio.gather(*flood)
    assert log.done[:5] == ["s0", "m0", "m1", "o0", "s1"]


async def test_who_leaves_the_queue_gives_the_turn_to_the_next() -> None:
    turns, log = Turns(), _Log()
    first = asyncio.create_task(turns.run(_STRANGER, log.work("first")))
    left = asyncio.create_task(turns.run(_MEMBER, log.work("left")))
    last = asyncio.create_task(turns.run(_OTHER, log.work("last")))
    await _begun(first, left, last)

    left.cancel()
    first.cancel()  # its work has begun, and ends
    await asyncio.gather(first, left, return_exceptions=True)
    log.may_end.set()

    assert await asyncio.wait_for(last, 10) == "last"
    assert log.done == ["first", "last"]


async def test_work_that_fails_does_not_hold_up_the_next() -> None:
    turns = Turns()

    with pytest.raises(ZeroDivisionError):
        await turns.run(_MEMBER, lambda: 1 // 0)

    assert await turns.run(_MEMBER, lambda: 7) == 7
