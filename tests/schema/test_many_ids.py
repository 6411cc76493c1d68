"""Lists of ids in aliases: together they are bounded, and so are the errors that an answer tells."""

import dataclasses
from typing import Any

import pytest
from django.conf import settings
from graphql import GraphQLError

from schema.errors import presented
from tests.api import Api


def _set(monkeypatch: pytest.MonkeyPatch, **values: Any) -> None:
    monkeypatch.setattr(settings, "ENVIRONMENT", dataclasses.replace(settings.ENVIRONMENT, **values))


def _aliases(count: int) -> str:
    return "query($i: [ID!]!) {" + " ".join(f"a{number}: nodes(ids: $i) {{ id }}" for number in range(count)) + "}"


async def test_all_ids_of_an_operation_count_together(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, max_operation_ids=12)

    allowed = await api(_aliases(3), i=["malformed"] * 4)
    refused = await api(_aliases(4), i=["malformed"] * 4)

    assert allowed.data == {f"a{number}": [None] * 4 for number in range(3)}
    assert len(allowed.errors) == 12
    assert refused.data is None
    assert any(
        error["message"].startswith("The number of ids of the operation, up to this list, is 16, more than 12")
        and "DRIFTGRAPH_MAX_OPERATION_IDS" in error["message"]
        for error in refused.errors
    )


async def test_an_answer_tells_so_many_errors_and_how_many_there_are(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, max_errors=5)

    fits = await api(_aliases(1), i=["malformed"] * 5)
    cut = await api(_aliases(2), i=["malformed"] * 5)

    assert [error["path"] for error in fits.errors] == [["a0", number] for number in range(5)]
    assert len(cut.errors) == 6
    assert cut.errors[-1]["message"] == "There are 10 errors, of which 5 are told (DRIFTGRAPH_MAX_ERRORS)."
    assert cut.data == {"a0": [None] * 5, "a1": [None] * 5}


def test_a_bug_among_many_errors_is_told_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _set(monkeypatch, max_errors=2)
    usual = [GraphQLError(f"Cannot query field {number}.") for number in range(4)]

    found = presented([*usual, GraphQLError("", path=["a"], original_error=KeyError("a"))], "request")

    assert [error["extensions"]["code"] for error in found] == [
        "INTERNAL",
        "GRAPHQL_VALIDATION_FAILED",
        "BAD_USER_INPUT",
    ]
    assert "request request failed: KeyError" in caplog.text
