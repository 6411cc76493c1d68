"""What is left to do in one execution: objects to go into, values to wait for, errors to report."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from itertools import count
from typing import Any

from schema.execution.compiled.level import Level, Places
from schema.execution.compiled.plan import Shape
from schema.execution.compiled.problems import Problem, Steps

Resume = Callable[[list[Any]], object]


class Waiting:
    """Values to come, one for each of some places; errors come as values.

    `whole`: one awaitable gives the values of all places.
    """

    def __init__(self, awaitables: Sequence[Awaitable[Any]], places: Places, resume: Resume, *, whole: bool) -> None:
        self.awaitables, self.places, self._resume, self._whole = awaitables, places, resume, whole
        self._values: list[Any] = [None] * len(awaitables)
        self._turns = [0] * len(awaitables)

    async def settle(self, index: int, turns: "count[int]") -> None:
        """Waits for one of them."""
        try:
            self._values[index] = await self.awaitables[index]
        except Exception as error:  # noqa: BLE001 - becomes an error of the answer
            self._values[index] = error
        self._turns[index] = next(turns)

    def resume(self) -> None:
        """Goes on with the values."""
        values = self._values
        if self._whole:
            (only,) = values
            values = [only] * len(self.places.containers) if isinstance(only, Exception) else only
        self._resume(values)

    def close(self) -> None:
        """Ends what nobody will await: Python complains of a coroutine that was never begun."""
        for awaitable in self.awaitables:
            if isinstance(awaitable, (Coroutine, Generator)):
                awaitable.close()

    def turns(self) -> dict[Steps, int]:
        """When the value of each place came."""
        paths = self.places.paths()
        turns = self._turns * len(paths) if self._whole else self._turns
        return {tuple(path.as_list()): turn for path, turn in zip(paths, turns, strict=True)}


class Work:
    """One wave: it is over when nothing is left that needs no waiting."""

    def __init__(self) -> None:
        self.levels: list[Level] = []
        self.waiting: list[Waiting] = []
        self.problems: list[Problem] = []
        self.done = 0  # values completed since others had a turn of the event loop

    def fail(self, shape: Shape, places: Places, index: int, error: Exception, *, late: bool = False) -> None:
        """Notes an error at one of some places."""
        path = tuple(places.paths()[index].as_list())
        self.problems.append(Problem(path, shape.anchor, shape.field.nodes, error, late))

    def wait(
        self, awaitables: Sequence[Awaitable[Any]], places: Places, resume: Resume, *, whole: bool = False
    ) -> None:
        """Asks for values; one execution goes on with them when all of the wave have come."""
        self.waiting.append(Waiting(awaitables, places, resume, whole=whole))


async def settle(waiting: Sequence[Waiting]) -> None:
    """Waits for all values together; whatever ends it early leaves none of them running."""
    turns = count()
    jobs = [one.settle(index, turns) for one in waiting for index in range(len(one.awaitables))]
    if len(jobs) == 1:
        await jobs[0]
        return
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            # Of a task that is cancelled before its first turn, nothing is run.
            for one in waiting:
                one.close()
        raise
