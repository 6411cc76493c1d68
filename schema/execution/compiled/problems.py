"""What went wrong, and the nulls that it leaves: which errors are reported, and in which order, is as in graphql-core.

There an error that leaves a null somewhere is the last one to be heard from below: what is still being done is
cancelled, or no longer listened to. So errors are reported in the order in which they would have come up there.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import FieldNode, GraphQLError, located_error

Steps = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """An error at a position; it leaves a null at the beginning of the path with the length `anchor`."""

    path: Steps
    anchor: int
    nodes: list[FieldNode]
    error: Exception
    late: bool = False  # found after everything below the position


class Problems:
    """The errors of one execution."""

    def __init__(self) -> None:
        self.errors: list[GraphQLError] = []
        self._nulls: set[Steps] = set()

    def report(self, data: dict[str, Any], found: Sequence[Problem], turns: Mapping[Steps, int]) -> bool:
        """Reports what was found in one wave and writes its nulls; whether anything is left of the data.

        `turns` has the positions whose values were awaited in this wave, and when each of them came.
        """
        heard = [problem for problem in found if not self._is_null(problem.path[: problem.anchor])]
        order = {problem.path: _order(data, problem) for problem in heard}
        # What followed from one awaited value was found in one go, in the order of the document.
        runs: defaultdict[Steps, list[Problem]] = defaultdict(list)
        for problem in sorted(heard, key=lambda problem: order[problem.path]):
            runs[_awaited(problem.path, turns)].append(problem)
        before, escaping = self._nulls.copy(), []
        for start in sorted(runs, key=lambda start: turns.get(start, -1)):
            for problem in runs[start]:
                if problem.anchor < len(start):
                    # It ends the run, and is handed on to those who wait for it: that takes turns of the event loop.
                    escaping.append(problem)
                    break
                self._add(problem)
        for problem in escaping:
            self._add(problem)
        for path in sorted(self._nulls - before, key=len, reverse=True):
            if path:
                _container(data, path)[path[-1]] = None
        return () not in self._nulls

    def _is_null(self, path: Steps) -> bool:
        return any(path[:length] in self._nulls for length in range(len(path) + 1))

    def _add(self, problem: Problem) -> None:
        null = problem.path[: problem.anchor]
        if not self._is_null(null):
            self._nulls.add(null)
            self.errors.append(located_error(problem.error, problem.nodes, list(problem.path)))


def _awaited(path: Steps, turns: Mapping[Steps, int]) -> Steps:
    """The awaited position that a path leads through; the innermost."""
    return next((path[:length] for length in range(len(path), 0, -1) if path[:length] in turns), ())


def _container(data: Any, path: Steps) -> Any:
    for step in path[:-1]:
        data = data[step]
    return data


def _order(data: Any, problem: Problem) -> tuple[float, ...]:
    """Sorts positions as they stand in the answer."""
    found: list[float] = []
    for step in problem.path:
        if isinstance(data, dict):
            found.append(list(data).index(step))
            data = data[step]
        else:
            found.append(float(step))
            data = data[int(step)] if data is not None and int(step) < len(data) else None
    return (*found, math.inf) if problem.late else tuple(found)
