"""One thread for work that many ask for: who is signed in comes first, and nobody waits for all that another sent."""

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from typing import TypeVar

T = TypeVar("T")


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="documents")


@dataclass(frozen=True, slots=True)
class Party:
    """For whom work is done."""

    key: Hashable
    is_known: bool  # signed in


@dataclass(order=True, slots=True)
class _Place:
    """A place in the queue; the smallest is next."""

    is_unknown: bool
    ahead: int  # of the same party: the first of everybody come before the second of anybody
    number: int
    free: "asyncio.Future[None]" = field(compare=False)


class Turns:
    """Does one piece of work at a time, for one event loop."""

    def __init__(self) -> None:
        self._queue: list[_Place] = []
        self._pending: Counter[Hashable] = Counter()
        self._numbers = count()
        self._is_busy = False

    async def run(self, party: Party, work: Callable[[], T]) -> T:
        """What the work gives, done in the thread when its turn has come.

        Who is cancelled leaves the queue; work that has begun is finished, and the next waits for its end.
        """
        place = _Place(
            not party.is_known,
            self._pending[party.key],
            next(self._numbers),
            asyncio.get_running_loop().create_future(),
        )
        self._pending[party.key] += 1
        heapq.heappush(self._queue, place)
        self._call_next()
        try:
            await place.free
        except asyncio.CancelledError:
            self._left(party, had_turn=not place.free.cancelled())
            raise
        done = asyncio.get_running_loop().run_in_executor(_thread(), work)
        done.add_done_callback(lambda _: self._left(party, had_turn=True))
        return await asyncio.shield(done)

    def _left(self, party: Party, *, had_turn: bool) -> None:
        self._pending[party.key] -= 1
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
