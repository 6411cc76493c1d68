"""Whatever resolvers return, the compiled executor makes of it what graphql-core makes."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import pytest
from both_executors import LEAVES, PLAIN, Broken, at_their_nulls, compiled, references, shown
from graphql import GraphQLError, parse

DEEP = f"""
fragment Leaves on Thing {{ {LEAVES} }}
fragment Any on Any {{ __typename ... on Thing {{ n sure one {{ n }} }} ... on Other {{ name count one {{ m }} }} }}
fragment Deep on Thing {{
  ...Leaves one {{ ...Leaves must {{ name sure }} }} must {{ n m }} list {{ sure f one {{ mode }} }}
  full {{ name must {{ sure }} }} grid cube {{ m one {{ n }} }} any {{ ...Any }} each {{ ...Any }}
  named {{ __typename name ... on Thing {{ sure }} }}
}}
{{
  thing {{ ...Deep }} first: n must {{ ...Deep one {{ on list {{ kind }} }} }} list {{ ...Deep }} any {{ ...Any }}
  ... on Query {{ n thing {{ full {{ grid }} }} }} __typename
}}
"""
"""Every field, at several depths, some of them in more than one place."""


def _raises(_info: Any) -> Any:
    raise Broken("on the spot")


def _later(value: Any) -> Callable[[Any], Any]:
    async def resolve(_info: Any) -> Any:
        await asyncio.sleep(0)
        if isinstance(value, Exception):
            raise value
        return value

    return resolve


def _iterator(values: list[Any]) -> Callable[[Any], Iterator[Any]]:
    def items() -> Iterator[Any]:
        for value in values:
            if isinstance(value, Exception):
                raise value
            yield value

    return lambda _info: items()


_ODD = (None, "text", 7, 2**31, -(2**31) - 1, 1.5, float("nan"), float("inf"), True, "A", b"x", (), {}, "3", [], object)


@dataclass(frozen=True, slots=True)
class _Data:
    """Draws things that are mostly as they should be."""

    random: Random
    faults: float  # share of the values that are not
    awaited: float  # share of the fields that must be awaited

    def thing(self, depth: int) -> dict[str, Any]:
        leaves = {
            "name": "name",
            "sure": "sure",
            "n": 1,
            "m": 2,
            "f": 0.5,
            "on": True,
            "id": "id",
            "kind": "A",
            "mode": "B",
        }
        found = {**leaves, "odd": self.random.choice(["x", 1, None]), "__typename": "Thing"}
        found["grid"] = self.items(lambda: self.items(lambda: 7))
        if depth:
            things = partial(self.items, partial(self.thing, depth - 1))
            found |= {"one": self.thing(depth - 1), "must": self.thing(depth - 1), "list": things(), "full": things()}
            found["cube"] = self.items(lambda: self.items(things))
            found |= {"any": self.typed(depth - 1), "named": self.typed(depth - 1)}
            found["each"] = self.items(lambda: self.typed(depth - 1))
        return {name: self.field(value) if name != "__typename" else value for name, value in found.items()}

    def typed(self, depth: int) -> dict[str, Any]:
        name = "Thing" if self.random.random() > self.faults * 2 else self.random.choice(["Query", "None", None])
        return {**self.thing(depth), "__typename": name if self.random.random() > 0.3 else "Other", "count": 3}

    def items(self, make: Callable[[], Any]) -> Any:
        found = [self.value(make()) for _ in range(self.random.randrange(3))]
        return found if self.random.random() > self.faults else _iterator(found)

    def value(self, good: Any) -> Any:
        if self.random.random() >= self.faults:
            return good
        return self.random.choice([*_ODD, Broken("as a value"), GraphQLError("of GraphQL", extensions={"code": 1})])

    def field(self, good: Any) -> Any:
        value = self.value(good)
        if self.random.random() < self.faults / 2:
            return _raises
        return _later(value) if self.random.random() < self.awaited and not callable(value) else value

    def root(self) -> dict[str, Any]:
        fields = {"thing": self.thing(2), "must": self.thing(2), "list": self.items(lambda: self.thing(2))}
        return {name: self.field(value) for name, value in {**fields, "any": self.typed(2), "n": 1}.items()}


def _roots(faults: float, awaited: float) -> list[Callable[[], Any]]:
    return [lambda seed=seed: _Data(Random(seed), faults, awaited).root() for seed in range(20)]  # noqa: S311 - no secret


@pytest.mark.parametrize("faults", [0, 0.002, 0.01, 0.05])
async def test_any_data_are_completed_alike(faults: float) -> None:
    roots, document = _roots(faults, 0), parse(DEEP)

    made = [shown(await compiled(PLAIN, document, {}, root())) for root in roots]

    assert made == await references(PLAIN, document, {}, roots)


@pytest.mark.parametrize("awaited", [0.1, 0.5])
@pytest.mark.parametrize("faults", [0, 0.002, 0.01, 0.05])
async def test_any_data_that_are_awaited_are_completed_alike(faults: float, awaited: float) -> None:
    roots, document = _roots(faults, awaited), parse(DEEP)

    made = [shown(await compiled(PLAIN, document, {}, root())) for root in roots]
    expected = await references(PLAIN, document, {}, roots)

    assert [data for data, _ in made] == [data for data, _ in expected]
    assert [at_their_nulls(*one) for one in made] == [at_their_nulls(*one) for one in expected]
