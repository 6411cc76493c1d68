"""Which parts of the schema an operation uses, and which client sends it."""

from typing import Any

import pytest
from graphql import FragmentDefinitionNode, OperationDefinitionNode, build_schema, parse, validate

from schema.http.messages import Headers
from schema.usage.clients import Client, client_of
from schema.usage.coordinates import Usage, usage_of
from tests.unit.counted_work import counted

SCHEMA = build_schema("""
enum Level { LOW HIGH }
input Range { min: Level max: Level within: [Range!] }
input Filter { range: Range levels: [Level!] text: String }
interface Named { name: String }
type Payer implements Named { name: String level: Level }
union Found = Payer
type Query {
  payers(filter: Filter, level: Level = LOW, first: Int): [Payer]
  named: Named
  found: [Found]
}
""")


def _usage(text: str) -> Usage:
    document = parse(text)
    assert validate(SCHEMA, document) == []
    [operation] = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    return usage_of(SCHEMA, operation, fragments)


@pytest.mark.parametrize(
    ("text", "coordinates"),
    [
        ("{ payers { name } }", {"Query.payers", "Payer.name"}),
        ("{ payers(first: 1) { __typename } }", {"Query.payers", "Query.payers(first:)"}),
        ("{ payers(level: HIGH) { name } }", {"Query.payers", "Query.payers(level:)", "Level.HIGH", "Payer.name"}),
        (
            "{ payers(filter: {range: {min: LOW}, levels: [HIGH]}) { name } }",
            {
                "Query.payers",
                "Query.payers(filter:)",
                "Filter.range",
                "Range.min",
                "Level.LOW",
                "Filter.levels",
                "Level.HIGH",
                "Payer.name",
            },
        ),
        ("{ named { name ... on Payer { level } } }", {"Query.named", "Named.name", "Payer.level"}),
        (
            "{ found { ...F } } fragment F on Payer { ...G } fragment G on Payer { level }",
            {"Query.found", "Payer.level"},
        ),
        ("{ payers @skip(if: true) { name } }", {"Query.payers", "Payer.name"}),
        ("{ __schema { types { name } } __typename }", set()),
        (
            "query($l: Level = HIGH) { payers(level: $l) { name } }",
            {"Query.payers", "Query.payers(level:)", "Level.HIGH", "Payer.name"},
        ),
    ],
)
def test_a_document_uses_what_it_names(text: str, coordinates: set[str]) -> None:
    assert _usage(text).coordinates(None) == coordinates


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (
            {"range": {"min": "LOW", "within": [{"max": "HIGH"}]}},
            "Filter.range Range.min Level.LOW Range.within Range.max Level.HIGH",
        ),
        ({"levels": ["LOW", "LOW"]}, "Filter.levels Level.LOW"),
        ({"levels": "HIGH"}, "Filter.levels Level.HIGH"),
        ({"text": None}, "Filter.text"),
        ({"text": "LOW"}, "Filter.text"),
        ({"unknown": 1, "levels": ["NONE", 3, None]}, "Filter.levels"),
        ([7, "LOW"], ""),
        (None, ""),
    ],
)
def test_the_values_of_variables_tell_input_fields_and_enum_values(value: Any, told: str) -> None:
    usage = _usage("query($f: Filter, $n: Int) { payers(filter: $f, first: $n) { name } }")

    assert usage.coordinates({"f": value, "n": 2, "other": "LOW"}) - usage.named == set(told.split())


def test_values_that_tell_nothing_new_are_no_other_set() -> None:
    usage = _usage("query($l: Level, $n: Int) { payers(level: $l, first: $n, filter: {levels: LOW}) { name } }")

    assert usage.coordinates({"l": "LOW", "n": 5}) is usage.named
    assert usage.coordinates({"l": "HIGH"}) == usage.named | {"Level.HIGH"}


def test_a_request_with_many_values_is_not_looked_at_to_its_end() -> None:
    usage = _usage("query($f: Filter) { payers(filter: $f) { name } }")

    few, steps_of_few = counted(lambda: usage.coordinates({"f": {"levels": ["LOW"] * 1_000}}), at_most=100_000)
    many, steps_of_many = counted(lambda: usage.coordinates({"f": {"levels": ["LOW"] * 100_000}}), at_most=100_000)

    assert few == many
    assert steps_of_many <= steps_of_few + 10


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        ({}, ("", "")),
        ({"graphql-client-name": "web", "graphql-client-version": "1.2.3"}, ("web", "1.2.3")),
        ({"apollographql-client-name": "ios", "apollographql-client-version": "2026.11-rc_1"}, ("ios", "2026.11-rc_1")),
        (
            {"graphql-client-name": "a", "apollographql-client-name": "b", "apollographql-client-version": "1"},
            ("a", ""),
        ),
        ({"graphql-client-version": "1"}, ("", "")),
        ({"graphql-client-name": "web", "graphql-client-version": "patient Jane Roe"}, ("web", "other")),
        ({"graphql-client-name": "x" * 65}, ("other", "")),
        ({"graphql-client-name": "web\n"}, ("other", "")),
        ({"graphql-client-name": "wéb"}, ("other", "")),
        ({"graphql-client-name": "123-45-6789"}, ("other", "")),
        ({"graphql-client-name": "Mary-Johnson"}, ("other", "")),
    ],
)
def test_a_client_is_what_its_headers_say_if_that_is_a_name(headers: dict[str, str], client: tuple[str, str]) -> None:
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]

    assert client_of(Headers(pairs)) == Client(*client)
