"""Threads for work that many ask for, one for who is signed in: there nobody waits for all that another sent."""

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from typing import TypeVar

from backend.core.futures import heard

T = TypeVar("T")


@cache
def _thread(*, is_known: bool) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="documents" if is_known else "strangers")


@dataclass(frozen=True, slots=True)
class Party:
    """For whom work is done."""

    key: Hashable
    is_known: bool  # signed in


@dataclass(order=True, slots=True)
class _Place:
    """A place in the queue; the smallest is next."""

    ahead: int  # of the same party: the first of everybody come before the second of anybody
    number: int
    free: "asyncio.Future[None]" = field(compare=False)


class Turns:
    """Does one piece of work at a time for who is signed in, and one for who is not; for one event loop.

    Work cannot be interrupted, so who is signed in would wait for what a stranger has begun.
    """

    def __init__(self) -> None:
        self._lanes = {is_known: _Lane(_thread(is_known=is_known)) for is_known in (True, False)}

    async def run(self, party: Party, work: Callable[[], T], *, unless: Callable[[], T | None] = lambda: None) -> T:
        """What the work gives, done in a thread when its turn has come, unless there is a result by then.

        Who is cancelled leaves the queue; work that has begun is finished, and the next waits for its end.
        """
        return await self._lanes[party.is_known].run(party.key, work, unless)


class _Lane:
    """Who waits for one thread."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self._thread = thread
        self._queue: list[_Place] = []
        self._pending: Counter[Hashable] = Counter()
        self._numbers = count()
        self._is_busy = False

    async def run(self, key: Hashable, work: Callable[[], T], unless: Callable[[], T | None]) -> T:
        place = _Place(self._pending[key], next(self._numbers), asyncio.get_running_loop().create_future())
        self._pending[key] += 1
        heapq.heappush(self._queue, place)
        self._call_next()
        try:
            await place.free
        except asyncio.CancelledError:
            self._left(key, had_turn=not place.free.cancelled())
            raise
        if (found := unless()) is not None:
            self._left(key, had_turn=True)
            return found
        done = asyncio.get_running_loop().run_in_executor(self._thread, work)
        result = asyncio.shield(done)  # before the next is called, which may have use for it
        done.add_done_callback(heard)
        done.add_done_callback(lambda _: self._left(key, had_turn=True))
        return await result

    def _left(self, key: Hashable, *, had_turn: bool) -> None:
        self._pending[key] -= 1
        self._pending += Counter()  # without those that have none
        if had_turn:
            self._is_busy = False
            self._call_next()

    def _call_next(self) -> None:
        while self._queue and not self._is_busy:
            place = heapq.heappop(self._queue)
            if not place.free.cancelled():
                self._is_busy = True
                place.free.set_result(None)
