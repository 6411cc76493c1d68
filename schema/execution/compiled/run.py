"""Executes a plan wave by wave: whatever needs no waiting is completed at once, all that does is awaited together.

All rows of a level go through a field together: a thousand rows call a declaration once, and wait for one future.
After so many values others have a turn of the event loop, between two fields. What starts statements is called at the
end of the wave, where nothing comes between, so that they share a round trip.
"""

import asyncio
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

_AT_ONCE = 5_000  # values that are completed before others have a turn: a few milliseconds, of cursors ten


async def execute(plan: ObjectPlan, keys: Collection[str], executor: Executor[Any]) -> ExecutionResult:
    """The answer to an operation's root fields with these keys, in the order of the document.

    Errors of fields are part of the answer; none is raised but what ends the operation, such as its cancellation.
    """
    run = _Run(executor)
    try:
        return await run.answer(plan, keys)
    except BaseException:
        run.abandon()
        raise


class _Run:
    def __init__(self, executor: Executor[Any]) -> None:
        self._executor, self._work, self._problems = executor, Work(), Problems()
        self._completion = Completion(executor, self._work)
        self._declared: list[tuple[FieldPlan, DeclaredField, Level]] = []

    async def answer(self, plan: ObjectPlan, keys: Collection[str]) -> ExecutionResult:
        root = Level(plan, [self._executor.root_value], lambda: [None])
        root.results[0] = data = {key: value for key, value in root.results[0].items() if key in keys}
        for field in plan.fields.values():
            if field.key in keys and not any(problem.anchor == 0 for problem in self._work.problems):
                if field.read is None and field.declared is not None:
                    self._ask(field, field.declared, root)
                else:
                    self._resolve(field, root)
        whole = await self._finish(data, ())
        while self._work.waiting:
            waiting, self._work.waiting = self._work.waiting, []
            # Also what nobody wants any more: nothing may go on after the answer.
            await settle(waiting)
            if whole:
                whole = await self._finish(data, waiting)
        return ExecutionResult(data if whole else None, self._problems.errors or None)

    def abandon(self) -> None:
        """Gives up what was still to be awaited."""
        for one in self._work.waiting:
            one.close()

    async def _finish(self, data: dict[str, Any], waited: Sequence[Waiting]) -> bool:
        """Goes on with what has come and does all that needs no waiting; whether anything is left of the data."""
        work = self._work
        work.done = 0
        for one in waited:
            one.resume()
            if work.done >= _AT_ONCE:
                await self._let_others()
        while work.levels:
            await self._go_through(work.levels.pop())
        asked, self._declared = self._declared, []
        for field, declared, level in asked:
            self._ask(field, declared, level)
        if not work.problems:
            return True
        turns: dict[Steps, int] = {}
        for one in waited:
            turns.update(one.turns())
        found, work.problems = work.problems, []
        return self._problems.report(data, found, turns)

    async def _go_through(self, level: Level) -> None:
        work = self._work
        usual: dict[str, bool] = {}
        for field in level.plan.fields.values():
            if field.same is not None and usual[field.same]:
                level.repeat(field.same, field.key)
                work.done += len(level.results)
            elif field.read is None and field.declared is not None:
                self._declared.append((field, field.declared, level))
            else:
                usual[field.key] = self._resolve(field, level)
            if work.done >= _AT_ONCE:
                await self._let_others()

    async def _let_others(self) -> None:
        self._work.done = 0
        await asyncio.sleep(0)

    def _resolve(self, field: FieldPlan, level: Level) -> bool:
        """Completes a field of all objects; whether these are leaves without a fault, and none to be awaited."""
        places = level.places(field)
        values = self._called(field, level, places) if field.read is None else _read(field.read, level.sources)
        return self._completion.complete(field.shape, values, places)

    def _ask(self, field: FieldPlan, declared: DeclaredField, level: Level) -> None:
        places = level.places(field)
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
