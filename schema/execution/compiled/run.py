"""Executes a plan wave by wave: whatever needs no waiting is completed at once, all that does is awaited together.

All rows of a level go through a field together: a thousand rows call a declaration once, and wait for one future.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from graphql import ExecutionResult

from schema.declared_field import DeclaredField
from schema.execution.compiled.completion import Completion
from schema.execution.compiled.level import Level, Places
from schema.execution.compiled.plan import FieldPlan, ObjectPlan
from schema.execution.compiled.problems import Problems, Steps
from schema.execution.compiled.work import Waiting, Work, settle
from schema.execution.core import Executor


async def execute(plan: ObjectPlan, keys: Collection[str], executor: Executor[Any]) -> ExecutionResult:
    """The answer to an operation's root fields with these keys, in the order of the document.

    Errors of fields are part of the answer; none is raised but what ends the operation, such as its cancellation.
    """
    return await _Run(executor).answer(plan, keys)


class _Run:
    def __init__(self, executor: Executor[Any]) -> None:
        self._executor, self._work, self._problems = executor, Work(), Problems()
        self._completion = Completion(executor, self._work)

    async def answer(self, plan: ObjectPlan, keys: Collection[str]) -> ExecutionResult:
        root = Level(plan, [self._executor.root_value], lambda: [None])
        root.results[0] = data = {key: value for key, value in root.results[0].items() if key in keys}
        for field in plan.fields.values():
            if field.key in keys and not any(problem.anchor == 0 for problem in self._work.problems):
                self._resolve(field, root)
        whole = self._finish(data, ())
        while self._work.waiting:
            waiting, self._work.waiting = self._work.waiting, []
            # Also what nobody wants any more: nothing may go on after the answer.
            await settle(waiting)
            if whole:
                for one in waiting:
                    one.resume()
                whole = self._finish(data, waiting)
        return ExecutionResult(data if whole else None, self._problems.errors or None)

    def _finish(self, data: dict[str, Any], waited: Sequence[Waiting]) -> bool:
        """Does all that needs no waiting; whether anything is left of the data."""
        work = self._work
        while work.levels:
            level = work.levels.pop()
            for field in level.plan.fields.values():
                self._resolve(field, level)
        if not work.problems:
            return True
        turns: dict[Steps, int] = {}
        for one in waited:
            turns.update(one.turns())
        found, work.problems = work.problems, []
        return self._problems.report(data, found, turns)

    def _resolve(self, field: FieldPlan, level: Level) -> None:
        places = level.places(field)
        if field.read is None and field.declared is not None:
            self._declare(field, field.declared, level, places)
            return
        values = self._called(field, level, places) if field.read is None else _read(field.read, level.sources)
        self._completion.complete(field.shape, values, places)

    def _declare(self, field: FieldPlan, declared: DeclaredField, level: Level, places: Places) -> None:
        complete, shape, executor = self._completion.complete, field.shape, self._executor
        try:
            arguments = field.python_arguments(executor.variable_values)
            values = declared.get_results(level.sources, executor.context_value, arguments)
        except Exception as error:  # noqa: BLE001 - becomes an error of the answer
            complete(shape, [error] * len(level.sources), places)
        else:
            self._work.wait([values], places, lambda found: complete(shape, found, places), whole=True)

    def _called(self, field: FieldPlan, level: Level, places: Places) -> list[Any]:
        """What the field's resolver returns for each object; errors are values."""
        resolve, info = field.definition.resolve or self._executor.field_resolver, self._completion.info
        try:
            arguments = field.arguments(self._executor.variable_values)
        except Exception as error:  # noqa: BLE001 - becomes an error of the answer
            return [error] * len(level.sources)
        values: list[Any] = []
        for source, path in zip(level.sources, places.paths(), strict=True):
            try:
                values.append(resolve(source, info(field, path), **arguments))
            except Exception as error:  # noqa: BLE001 - becomes an error of the answer
                values.append(error)
        return values


def _read(read: Callable[[Any], Any], sources: Sequence[Any]) -> list[Any]:
    """A value of each object; errors are values."""
    values: list[Any] = []
    left = iter(sources)
    while len(values) < len(sources):
        try:
            values.extend(map(read, left))
        except Exception as error:  # noqa: BLE001 - becomes an error of the answer
            values.append(error)
    return values
