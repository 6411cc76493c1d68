"""An operation of many root fields lets others have a turn while its statements are written and its text is made."""

import asyncio
from collections.abc import Callable
from itertools import groupby
from typing import Any

import pytest

from schema.execution.sqljson.plans import PagePlan
from schema.execution.sqljson.roots import PlainField
from tests.api import Api

_AT_MOST = 4


async def test_others_have_a_turn_after_a_few_root_fields(api: Api, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    ticks, made, shown = 0, [], []
    ready, render = PlainField.ready, PagePlan.render

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    def noted(seen: list[int], call: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*arguments: Any) -> Any:
            seen.append(ticks)
            return call(*arguments)

        return noting

    monkeypatch.setattr(PlainField, "ready", noted(made, ready))
    monkeypatch.setattr(PagePlan, "render", noted(shown, render))
    other = asyncio.create_task(tick())
    try:
        data = await api.data(
            "{" + " ".join(f"a{n}: payers(first: {n}) {{ nodes {{ id }} }}" for n in range(1, 24)) + "}"
        )
    finally:
        other.cancel()

    assert len(data) == 23
    assert (len(made), len(shown)) == ((23, 23) if way == "auto" else (0, 0))
    for seen in (made, shown):
        assert all(len(list(group)) <= _AT_MOST for _, group in groupby(seen))
