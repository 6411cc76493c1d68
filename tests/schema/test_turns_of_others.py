"""An operation of many root fields lets others have a turn while its statements are written and its text is made."""

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import groupby
from typing import Any

import pytest

from schema.execution import engine
from schema.execution.sqljson.plans import PagePlan
from schema.execution.sqljson.roots import PlainField
from tests.api import Api

_AT_MOST = 4


@pytest.fixture
async def ticks() -> AsyncIterator[list[int]]:
    """One number: the turns that another task has had."""
    counted = [0]

    async def tick() -> None:
        while True:
            counted[0] += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(tick())
    yield counted
    other.cancel()


def _noting(seen: list[int], ticks: list[int], call: Callable[..., Any]) -> Callable[..., Any]:
    def noting(*arguments: Any, **named: Any) -> Any:
        seen.append(ticks[0])
        return call(*arguments, **named)

    return noting


async def test_others_have_a_turn_after_a_few_root_fields(
    api: Api, monkeypatch: pytest.MonkeyPatch, way: str, ticks: list[int]
) -> None:
    document = "{" + " ".join(f"a{n}: payers(first: {n}) {{ nodes {{ id }} }}" for n in range(1, 24)) + "}"
    await api.data(document)
    made: list[int] = []
    shown: list[int] = []
    monkeypatch.setattr(PlainField, "ready", _noting(made, ticks, PlainField.ready))
    monkeypatch.setattr(PagePlan, "render", _noting(shown, ticks, PagePlan.render))

    data = await api.data(document)

    assert len(data) == 23
    assert (len(made), len(shown)) == ((23, 23) if way == "auto" else (0, 0))
    for seen in (made, shown):
        assert all(len(list(group)) <= _AT_MOST for _, group in groupby(seen))


@pytest.mark.parametrize("conditions", [0, 30])
async def test_others_have_a_turn_after_a_root_field_of_many_conditions_and_one_whose_plan_is_made(
    api: Api, monkeypatch: pytest.MonkeyPatch, ticks: list[int], way: str, conditions: int
) -> None:
    """Given root fields whose plans are known where they have conditions, and are not where they have none."""
    any_of = {"or": [{"harmful": {"eq": True}}] * conditions} if conditions else {}
    fields = " ".join(f"a{n}: driftEvents(first: 1, filter: $f) {{ nodes {{ id }} }}" for n in range(4))
    document = f"query($f: DriftEventFilter) {{ {fields} }}"
    if conditions:
        await api.data(document, f=any_of)
    seen: list[int] = []
    monkeypatch.setattr(PlainField, "ready", _noting(seen, ticks, PlainField.ready))

    await api.data(document, f=any_of)

    assert len(seen) == len(set(seen)) == (4 if way == "auto" else 0)


async def test_one_root_field_waits_for_nobody_before_its_statement_is_sent(
    api: Api, monkeypatch: pytest.MonkeyPatch, way: str, ticks: list[int]
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(PlainField, "ready", _noting(seen, ticks, PlainField.ready))
    monkeypatch.setattr(engine, "TextQuery", _noting(seen, ticks, engine.TextQuery))

    await api.data("{ payers(first: 1) { nodes { id } } }")

    assert len(seen) == (2 if way == "auto" else 0)
    assert len(set(seen)) <= 1
