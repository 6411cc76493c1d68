"""What errors and introspection tell of the schema, by the settings."""

import dataclasses
from collections.abc import Callable, Iterator

import pytest
from django.conf import settings
from graphql import get_introspection_query

from backend.config.env import BadSetting, read_environment
from schema.build import core_schema
from schema.cost.dry_run import DocumentNotValid, operation_cost
from schema.execution import documents
from schema.execution.core import RefusedVariables, coerce_variables
from schema.execution.documents import prepare
from schema.execution.turns import Party, Turns

Telling = Callable[..., None]
KEYS = {"DRIFTGRAPH_SECRET_KEY": "s" * 40, "DRIFTGRAPH_CLAIM_KEY": "c" * 40}


@pytest.fixture
def telling(monkeypatch: pytest.MonkeyPatch) -> Iterator[Telling]:
    """Sets settings; what was found of documents under others is forgotten, before and after."""

    def set_to(**values: object) -> None:
        told = dataclasses.replace(settings.ENVIRONMENT, **values)  # type: ignore[arg-type]  # any setting
        monkeypatch.setattr(settings, "ENVIRONMENT", told)
        documents._documents.cache_clear()

    yield set_to
    documents._documents.cache_clear()


@pytest.mark.parametrize(
    ("variables", "schema", "suggestions"),
    [
        ({}, True, True),
        ({"DRIFTGRAPH_SUGGESTIONS": "false"}, True, False),
        ({"DRIFTGRAPH_INTROSPECTION": "off"}, False, False),
        ({"DRIFTGRAPH_ENVIRONMENT": "production", **KEYS}, False, False),
        ({"DRIFTGRAPH_ENVIRONMENT": "production", "DRIFTGRAPH_INTROSPECTION": "on", **KEYS}, True, True),
    ],
)
def test_production_tells_nothing_unless_it_is_to(variables: dict[str, str], schema: bool, suggestions: bool) -> None:
    environment = read_environment(variables)

    assert (environment.shows_schema, environment.shows_suggestions) == (schema, suggestions)


def test_a_word_that_is_no_choice_is_refused() -> None:
    with pytest.raises(BadSetting, match="DRIFTGRAPH_INTROSPECTION is not valid: it must be auto, on or off"):
        read_environment({"DRIFTGRAPH_INTROSPECTION": "yes"})


def test_without_introspection_the_schema_is_not_told(telling: Telling) -> None:
    telling(introspection="off")

    asked = [prepare(text, None) for text in (get_introspection_query(), '{ __type(name: "Payer") { name } }')]
    typename = prepare("{ __typename viewer { __typename role } }", None)

    assert ["DRIFTGRAPH_INTROSPECTION is off" in str(one.errors) for one in asked] == [True, True]
    assert [len(one.errors) for one in asked] == [1, 1]
    assert typename.errors == []


async def test_suggestions_are_made_where_the_schema_may_be_known(telling: Telling) -> None:
    texts = ["{ viewr { role } }", "{ viewer { rolle } }", "{ payers(frist: 1) { nodes { id } } }"]
    texts += ["{ claims(filter: {outcome: {eq: DENID}}) { totalCount } }", "{ payers { ...on Payr { id } } }"]
    variable = prepare("query($r: ClaimFilter) { claims(filter: $r) { totalCount } }", None)

    def messages() -> list[str]:
        found = [str(prepare(text, None).errors) for text in texts]
        for wrong in ({"outcome": {"eq": "DENID"}}, {"outcom": {"eq": "DENIED"}}):
            with pytest.raises(RefusedVariables) as refused:
                coerce_variables(core_schema(), variable.operation, {"r": wrong})
            found.append(str(refused.value.errors))
        return found

    assert [text for text in messages() if "Did you mean" not in text] == []
    telling(suggestions=False)
    assert [text for text in messages() if "Did you mean" in text or text == "[]"] == []
    with pytest.raises(DocumentNotValid) as priced:
        await operation_cost(core_schema(), texts[0], None, None, turns=Turns(), party=Party("it", is_known=True))
    assert "Did you mean" not in priced.value.message
