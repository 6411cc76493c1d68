"""From what resolvers return to what the answer holds, a column at a time: the specification's CompleteValue."""

from collections.abc import AsyncIterable, Callable, Sequence
from itertools import chain
from types import GeneratorType, NoneType
from typing import Any

from graphql import GraphQLError, GraphQLObjectType, GraphQLResolveInfo, Undefined
from graphql.pyutils import Path, is_iterable
from graphql.pyutils.undefined import UndefinedType

from schema.execution.compiled.level import Level, Places, in_lists
from schema.execution.compiled.plan import Abstract, FieldPlan, Fields, Items, Leaf, ObjectPlan, Shape
from schema.execution.compiled.work import Work
from schema.execution.core import Executor, runtime_type, wrong_type

_NOTHING = (NoneType, UndefinedType)


class _Drained:
    """The items that an asynchronous iterable gave, and what ended it."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.error: Exception | None = None

    async def fill(self, iterable: AsyncIterable[Any]) -> "_Drained":
        try:
            async for item in iterable:
                self.items.append(item)
        except Exception as error:  # noqa: BLE001 - becomes an error of the answer
            self.error = error
        return self


class Completion:
    """Completes columns of values; what follows from them is left as work."""

    def __init__(self, executor: Executor[Any], work: Work) -> None:
        self._executor, self._work = executor, work

    def info(self, field: FieldPlan, path: Path) -> "GraphQLResolveInfo[Any]":
        """What a resolver is told of a position."""
        return self._executor.build_resolve_info(field.definition, field.nodes, field.parent, path)

    def complete(self, shape: Shape, values: Sequence[Any], places: Places) -> bool:
        """Completes the values of a column and puts them at their places.

        Whether that is all there was to do: they are leaves, without a fault, and none to be awaited.
        """
        self._work.done += len(values)
        if isinstance(shape, Leaf):
            try:
                places.put(shape.column(values))
            except Exception:  # noqa: BLE001 - one of them is not usual: each has its turn
                self._leaves(shape, *self._settled(shape, values, places))
                return False
            return True
        if any(map(_unusual, set(map(type, values)))):
            values, places = self._settled(shape, values, places)
        if not values:
            return False
        if isinstance(shape, Items):
            self._lists(shape, values, places)
        elif isinstance(shape, Fields):
            self._objects(shape, shape.plan, values, places)
        elif isinstance(shape, Abstract):
            self._abstract(shape, values, places)
        return False

    def _settled(self, shape: Shape, values: Sequence[Any], places: Places) -> tuple[list[Any], Places]:
        """The values that are there, with their places: without nulls, errors, and what must be awaited."""
        kept, awaited, is_awaitable = [], [], self._executor.is_awaitable
        for index, value in enumerate(values):
            if isinstance(value, Exception):
                self._work.fail(shape, places, index, value)
            elif value is None or value is Undefined:
                if shape.required:
                    self._work.fail(shape, places, index, TypeError(shape.field.missing))
            elif is_awaitable(value):
                awaited.append(index)
            else:
                kept.append(index)
        if awaited:
            there = places.pick(awaited)
            self._work.wait(
                [values[index] for index in awaited], there, lambda found: self.complete(shape, found, there)
            )
        return [values[index] for index in kept], places.pick(kept)

    def _leaves(self, shape: Leaf, values: Sequence[Any], places: Places) -> None:
        made: list[Any] = [None] * len(values)
        for index, value in enumerate(values):
            try:
                made[index] = shape.one(value)
            except Exception as error:  # noqa: BLE001 - becomes an error of the answer
                self._work.fail(shape, places, index, error)
        places.put(made)

    def _lists(self, shape: Items, values: Sequence[Any], places: Places) -> None:
        if not {list, tuple}.issuperset(map(type, values)):
            values, places = self._listed(shape, values, places)
        lists: list[list[Any]] = [[None] * len(value) for value in values]
        places.put(lists)
        self.complete(shape.item, list(chain.from_iterable(values)), in_lists(lists, places))

    def _listed(self, shape: Items, values: Sequence[Any], places: Places) -> tuple[list[list[Any]], Places]:
        """The values as lists, with their places; without what is none."""
        kept: dict[int, list[Any]] = {}
        for index, value in enumerate(values):
            if hasattr(value, "__aiter__"):
                self._drain(shape, value, places.pick([index]))
            elif not is_iterable(value):
                missing = (
                    f"Expected Iterable, but did not find one for field '{shape.field.parent}.{shape.field.name}'."
                )
                self._work.fail(shape, places, index, GraphQLError(missing))
            else:
                items: list[Any] = []
                kept[index] = items
                try:
                    items.extend(value)
                except Exception as error:  # noqa: BLE001 - becomes an error of the answer
                    self._work.fail(shape, places, index, error, late=True)
        return list(kept.values()), places.pick(list(kept))

    def _drain(self, shape: Items, iterable: AsyncIterable[Any], place: Places) -> None:
        def resume(values: list[_Drained]) -> None:
            (drained,) = values
            self._lists(shape, [drained.items], place)
            if drained.error is not None:
                self._work.fail(shape, place, 0, drained.error, late=True)

        self._work.wait([_Drained().fill(iterable)], place, resume)

    def _objects(self, shape: Shape, plan: ObjectPlan, values: Sequence[Any], places: Places) -> None:
        check = plan.kind.is_type_of
        if check is None or (plan.surely is not None and all(map(plan.surely, values))):
            self._enter(plan, values, places)
            return

        def proven(value: Any, index: int) -> Any:
            return check(value, self.info(shape.field, places.paths()[index]))

        def enter(values: Sequence[Any], places: Places, proofs: Sequence[Any]) -> None:
            kept = []
            for index, proof in enumerate(proofs):
                if isinstance(proof, Exception):
                    self._work.fail(shape, places, index, proof)
                elif not proof:
                    self._work.fail(shape, places, index, wrong_type(plan.kind, values[index], shape.field.nodes))
                else:
                    kept.append(index)
            self._enter(plan, [values[index] for index in kept], places.pick(kept))

        self._decided(proven, values, places, enter)

    def _enter(self, plan: ObjectPlan, values: Sequence[Any], places: Places) -> None:
        if not values:
            return
        level = Level(plan, values, places.paths)
        places.put(level.results)
        self._work.levels.append(level)

    def _abstract(self, shape: Abstract, values: Sequence[Any], places: Places) -> None:
        resolve = shape.kind.resolve_type or self._executor.type_resolver

        def named(value: Any, index: int) -> Any:
            return resolve(value, self.info(shape.field, places.paths()[index]), shape.kind)

        def enter(values: Sequence[Any], places: Places, names: Sequence[Any]) -> None:
            kinds: dict[GraphQLObjectType, list[int]] = {}
            for index, name in enumerate(names):
                try:
                    if isinstance(name, Exception):
                        raise name
                    info = self.info(shape.field, places.paths()[index])
                    kind = runtime_type(self._executor, name, shape.kind, info, values[index])
                    kinds.setdefault(kind, []).append(index)
                except Exception as error:  # noqa: BLE001 - becomes an error of the answer
                    self._work.fail(shape, places, index, error)
            for kind, indices in kinds.items():
                self._objects(shape, shape.plan(kind), [values[index] for index in indices], places.pick(indices))

        self._decided(named, values, places, enter)

    def _decided(
        self,
        decide: Callable[[Any, int], Any],
        values: Sequence[Any],
        places: Places,
        enter: Callable[[Sequence[Any], Places, Sequence[Any]], None],
    ) -> None:
        """Goes on with what a function of the schema says about each value, now or when it has said so."""
        known: dict[int, Any] = {}
        awaited: dict[int, Any] = {}
        for index, value in enumerate(values):
            try:
                found = decide(value, index)
            except Exception as error:  # noqa: BLE001 - becomes an error of the answer
                found = error
            (awaited if self._executor.is_awaitable(found) else known)[index] = found
        enter([values[index] for index in known], places.pick(list(known)), list(known.values()))
        if awaited:
            there, later = places.pick(list(awaited)), [values[index] for index in awaited]
            self._work.wait(list(awaited.values()), there, lambda found: enter(later, there, found))


def _unusual(kind: type) -> bool:
    """Whether values of a class may be null, an error, or to be awaited."""
    return kind in _NOTHING or kind is GeneratorType or issubclass(kind, Exception) or hasattr(kind, "__await__")
