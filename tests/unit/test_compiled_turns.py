"""A large answer of the compiled executor is made in pieces, and what many aliases ask for is made once."""

import asyncio
import gc
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import strawberry
from both_executors import PLAIN, compiled, same
from graphql import parse

from backend.agents.models import Agent
from schema.execution.compiled import run
from schema.relay.keyset import Keyset, Order
from schema.relay.pages import Edge

MANY = run._AT_ONCE
ALIASES = "{ list { a: name b: name c: name } }"


@contextmanager
def nothing_unawaited() -> Iterator[None]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [str(one.message) for one in told] == []


async def turns_seen(count: int) -> list[int]:
    """In which turn of another task each name of so many things was asked for."""
    ticks, seen = 0, []

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    def name(_info: Any) -> str:
        seen.append(ticks)
        return "name"

    other = asyncio.create_task(tick())
    await asyncio.sleep(0)
    result = await compiled(PLAIN, parse(ALIASES), {}, {"list": [{"name": name}] * count})
    other.cancel()

    assert result.errors is None
    assert result.data == {"list": [dict.fromkeys("abc", "name")] * count}
    return seen


async def test_others_have_a_turn_after_so_many_values() -> None:
    seen = await turns_seen(MANY)

    assert len(seen) == 3 * MANY
    assert sorted(Counter(seen).values()) == [MANY] * 3


async def test_a_small_answer_takes_no_turn() -> None:
    seen = await turns_seen(10)

    assert len(seen) == 30
    assert len(set(seen)) == 1


@strawberry.type
class Row:
    sure: str
    maybe: str | None


@strawberry.type
class Query:
    @strawberry.field
    def rows(self, info: strawberry.Info) -> list[Row | None]:
        return info.root_value["rows"]  # type: ignore[no-any-return]  # the test's own


SCHEMA = strawberry.Schema(Query)


class Noted:
    """A row that counts how often its values are read."""

    def __init__(self, sure: Any, maybe: Any) -> None:
        self._sure, self._maybe = sure, maybe
        self.reads: Counter[str] = Counter()

    @property
    def sure(self) -> Any:
        return self._read("sure", self._sure)

    @property
    def maybe(self) -> Any:
        return self._read("maybe", self._maybe)

    def _read(self, name: str, value: Any) -> Any:
        self.reads[name] += 1
        if isinstance(value, Exception):
            raise value
        return value() if callable(value) else value


TWICE = "{ rows { a: sure maybe b: sure b2: maybe c: sure } }"


async def test_what_many_aliases_ask_for_is_read_once() -> None:
    rows = [Noted("x", None), Noted("y", "z")]

    result = await compiled(SCHEMA._schema, parse(TWICE), {}, {"rows": rows})

    assert result.errors is None
    assert result.data == {
        "rows": [
            {"a": "x", "maybe": None, "b": "x", "b2": None, "c": "x"},
            {"a": "y", "maybe": "z", "b": "y", "b2": "z", "c": "y"},
        ]
    }
    assert [row.reads for row in rows] == [Counter(sure=1, maybe=1)] * 2


async def later() -> str:
    await asyncio.sleep(0)
    return "later"


@pytest.mark.parametrize(
    "faults",
    [[(None, "z")], [("x", ValueError("no"))], [("x", 3), (ValueError("no"), object)], [("x", later), ("y", None)]],
)
async def test_each_alias_has_its_own_errors(faults: list[tuple[Any, Any]]) -> None:
    def root() -> dict[str, Any]:
        return {"rows": [Noted("x", "y"), *(Noted(*one) for one in faults)]}

    data, _ = await same(SCHEMA, TWICE, root=root)

    assert data["rows"][0] == {"a": "x", "maybe": "y", "b": "x", "b2": "y", "c": "x"}


def test_a_cursor_is_made_once_per_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    made, cursor = [], Keyset.cursor

    def noted(self: Keyset, row: Any) -> str:
        made.append(row)
        return cursor(self, row)

    monkeypatch.setattr(Keyset, "cursor", noted)
    keyset, agent = Keyset(Agent, Order("NAME_ASC", ("name",), descending=False, description=".")), Agent(name="ruff")
    edge = Edge(agent, keyset)

    assert edge.cursor == edge.cursor == cursor(keyset, agent)
    assert made == [agent]


async def awaited_name(_info: Any) -> str:
    await asyncio.sleep(0)
    return "name"


async def awaited_kind(_info: Any) -> str:
    await asyncio.sleep(0)
    return "A"


THINGS = [{"name": awaited_name, "sure": "sure", "kind": awaited_kind, "one": {"name": awaited_name, "n": 1}}] * 3


async def awaited_things(_info: Any) -> list[Any]:
    await asyncio.sleep(0)
    return THINGS


@pytest.mark.parametrize("at_once", [1, MANY])
@pytest.mark.parametrize("things", [THINGS, awaited_things])
async def test_what_is_cancelled_at_any_turn_leaves_nothing_unawaited(
    things: Any, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_AT_ONCE", at_once)
    document = parse("{ list { name sure kind one { name n } } }")
    turns, is_cancelled = 0, True
    while is_cancelled:
        with nothing_unawaited():
            going = asyncio.create_task(compiled(PLAIN, document, {}, {"list": things}))
            for _ in range(turns + 1):
                await asyncio.sleep(0)
            going.cancel()
            [outcome] = await asyncio.gather(going, return_exceptions=True)
            is_cancelled = isinstance(outcome, asyncio.CancelledError)
            del going
        turns += 1

    assert turns > (5 if at_once == 1 else 2)
    assert outcome.errors is None


async def test_what_ends_the_operation_leaves_nothing_unawaited() -> None:
    class Ends(BaseException):
        pass

    def ends(_info: Any) -> None:
        raise Ends

    with nothing_unawaited():
        things = [{"name": awaited_name, "sure": ends}] * 2
        with pytest.raises(Ends):
            await compiled(PLAIN, parse("{ list { name sure } }"), {}, {"list": things})
        del things
