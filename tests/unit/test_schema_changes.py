"""What changes of the schema mean for clients."""

import datetime

import pytest
from django.core.management import CommandError, call_command
from graphql import build_schema

from schema.build import core_schema
from schema.changes import changes, deprecations

TODAY = datetime.date(2027, 2, 1)
OLD = """
enum Level { LOW @deprecated(reason: "Use HIGH. Removed on %s.") HIGH }
type Query {
  old: Int @deprecated(reason: "Use new. Removed on %s.")
  number: Int
  new(by: Int @deprecated(reason: "Use nothing. Removed on %s.")): Level
}
"""
NEW = "enum Level { HIGH } type Query { new: Level number: Int }"


def test_what_was_deprecated_goes_on_its_day_and_not_before() -> None:
    new = build_schema(NEW)

    due = changes(build_schema(OLD % (("2027-02-01",) * 3)), new, TODAY)
    early = changes(build_schema(OLD % (("2027-02-02",) * 3)), new, TODAY)

    assert (len(due.breaking), len(due.announced)) == (0, 3)
    assert (len(early.breaking), len(early.announced)) == (3, 0)


def test_what_goes_without_notice_breaks_clients() -> None:
    old = build_schema("type Query { a: Int b: Int c(x: Int): Int }")
    new = build_schema("type Query { a: String c(x: Int, y: Int!): Int d: Int }")

    found = changes(old, new, TODAY)

    assert len(found.breaking) == 3
    assert found.announced == []


def test_what_may_surprise_clients_is_dangerous_and_the_rest_is_safe() -> None:
    old = build_schema("enum E { A } type Query { e(x: Int = 1): E }")
    new = build_schema("enum E { A B } type Query { e(x: Int = 2): E f: Int }")

    found = changes(old, new, TODAY)

    assert (len(found.breaking), len(found.dangerous), len(found.safe)) == (0, 2, 1)


@pytest.mark.parametrize(
    ("reason", "day"),
    [
        ("Use b. Removed on 2027-01-31.", datetime.date(2027, 1, 31)),
        ("Use b. Removed on 2027-02-31.", None),
        ("Use b.", None),
        ("Removed on 2027-01-31. Use b.", None),
    ],
)
def test_the_day_of_removal_is_the_last_sentence(reason: str, day: datetime.date | None) -> None:
    schema = build_schema(f'type Query {{ a: Int @deprecated(reason: "{reason}") }}')

    [found] = deprecations(schema)

    assert (found.coordinate, found.removal) == ("Query.a", day)


def test_our_deprecations_have_a_day_of_removal() -> None:
    assert [one.coordinate for one in deprecations(core_schema()) if one.removal is None] == []


def test_the_command_compares_with_a_commit(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("schema_diff", "HEAD", "--safe")

    assert "Since HEAD: 0 breaking, 0 announced" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["no-such-branch"], ["--", "--output=x"]])
def test_a_ref_that_is_none_is_refused(words: list[str]) -> None:
    with pytest.raises(CommandError, match="names no commit"):
        call_command("schema_diff", *words)
