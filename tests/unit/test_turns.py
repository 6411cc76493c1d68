"""Work in turn: who is signed in beside who is not, and each party's first before anybody's second."""

import asyncio
import gc
import threading
from collections.abc import Callable

import pytest

from schema.execution.turns import Party, Turns

_STRANGER, _OTHER = Party("stranger", is_known=False), Party("other", is_known=False)
_MEMBER, _COLLEAGUE = Party("m", is_known=True), Party("c", is_known=True)


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


async def test_a_flood_of_one_address_holds_up_no_other_address() -> None:
    turns, log = Turns(), _Log()
    flood = [asyncio.create_task(turns.run(_STRANGER, log.work(f"s{number}"))) for number in range(20)]
    await _begun(*flood)
    other = asyncio.create_task(turns.run(_OTHER, log.work("o0")))
    await _begun(other)
    log.may_end.set()

    assert await other == "o0"
    await asyncio.gather(*flood)
    assert log.done[:3] == ["s0", "o0", "s1"]


async def test_who_is_signed_in_does_not_wait_for_what_a_stranger_has_begun() -> None:
    turns, theirs, ours = Turns(), _Log(), _Log()
    flood = [asyncio.create_task(turns.run(_STRANGER, theirs.work(f"s{number}"))) for number in range(3)]
    await _begun(*flood)
    ours.may_end.set()

    assert await asyncio.wait_for(turns.run(_MEMBER, ours.work("m0")), 10) == "m0"

    assert theirs.done == []
    theirs.may_end.set()
    await asyncio.gather(*flood)


async def test_who_is_signed_in_does_not_wait_for_all_that_another_one_sent() -> None:
    turns, log = Turns(), _Log()
    runs = [asyncio.create_task(turns.run(_MEMBER, log.work(f"m{number}"))) for number in range(5)]
    runs.append(asyncio.create_task(turns.run(_COLLEAGUE, log.work("c0"))))
    await _begun(*runs)
    log.may_end.set()

    await asyncio.gather(*runs)

    assert log.done[:3] == ["m0", "c0", "m1"]


async def test_who_leaves_the_queue_gives_the_turn_to_the_next() -> None:
    turns, log = Turns(), _Log()
    first = asyncio.create_task(turns.run(_STRANGER, log.work("first")))
    left = asyncio.create_task(turns.run(_STRANGER, log.work("left")))
    last = asyncio.create_task(turns.run(_OTHER, log.work("last")))
    await _begun(first, left, last)

    left.cancel()
    first.cancel()  # its work has begun, and ends
    await asyncio.gather(first, left, return_exceptions=True)
    log.may_end.set()

    assert await asyncio.wait_for(last, 10) == "last"
    assert log.done == ["first", "last"]


async def test_what_is_there_when_its_turn_comes_is_not_done_again() -> None:
    turns, log, found = Turns(), _Log(), list[str]()

    async def asked(name: str) -> str:
        result = await turns.run(_MEMBER, log.work(name), unless=lambda: next(iter(found), None))
        found.append(result)
        return result

    both = [asyncio.create_task(asked(name)) for name in ("first", "second")]
    await _begun(*both)
    log.may_end.set()

    assert await asyncio.gather(*both) == ["first", "first"]
    assert log.done == ["first"]
    found.clear()
    assert await asked("third") == "third"


async def test_work_that_fails_does_not_hold_up_the_next() -> None:
    turns = Turns()

    with pytest.raises(ZeroDivisionError):
        await turns.run(_MEMBER, lambda: 1 // 0)

    assert await turns.run(_MEMBER, lambda: 7) == 7


async def test_an_error_that_nobody_waits_for_is_not_logged_with_its_text(caplog: pytest.LogCaptureFixture) -> None:
    turns, may_end = Turns(), threading.Event()

    def fail() -> None:
        may_end.wait(10)
        raise ValueError("what the client sent")

    left = asyncio.create_task(turns.run(_MEMBER, fail))
    await _begun(left)
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    may_end.set()
    assert await turns.run(_MEMBER, lambda: 7) == 7
    gc.collect()
    await asyncio.sleep(0)

    assert "client" not in caplog.text
