"""What changes of the schema mean for clients."""

import datetime
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from graphql import build_schema, print_schema

from schema.build import core_schema
from schema.changes import changes, deprecations
from schema.management.commands import schema_diff

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


def test_a_value_that_must_be_said_from_now_on_breaks_clients() -> None:
    old = build_schema("input I { a: Int! = 1 b: Int = 1 } type Query { c(x: Int! = 1, y: Int = 1, i: I): Int }")
    new = build_schema("input I { a: Int! b: Int } type Query { c(x: Int!, y: Int, i: I): Int }")

    found = changes(old, new, TODAY)

    assert len(found.breaking) == 2
    assert all("I.a " in line or "Query.c(x:) " in line for line in found.breaking)
    assert len(found.dangerous) == 2


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


@pytest.mark.parametrize("words", [["no-such-branch"], ["HEAD..HEAD"], ["HEAD:schema"], ["--", "--output=x"]])
def test_a_ref_that_is_none_is_refused(words: list[str]) -> None:
    with pytest.raises(CommandError, match="names no commit"):
        call_command("schema_diff", *words)


@pytest.fixture
def history(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A repository of which the running schema is the work tree; called, runs git in it."""

    def git(*words: str) -> None:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    settings.BASE_DIR = tmp_path
    monkeypatch.setattr(schema_diff, "SDL", tmp_path / "schema.graphql")
    git("init", "--initial-branch=main")
    return git


def _commit(git: Callable[..., None], folder: Path, text: str) -> None:
    (folder / "schema.graphql").write_text(text)
    git("add", "schema.graphql")
    git("commit", "--message=x")


def test_main_is_compared_with_the_commit_before(
    history: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = print_schema(core_schema())
    _commit(history, tmp_path, running)
    call_command("schema_diff")
    assert "Nothing to compare with" in capsys.readouterr().out

    _commit(history, tmp_path, running.replace("type Query {", "type Query {\n  zzGone: Int", 1))
    _commit(history, tmp_path, running)
    with pytest.raises(CommandError, match="Clients would break"):
        call_command("schema_diff")
    assert "breaking: Field Query.zzGone was removed." in capsys.readouterr().out

    history("switch", "--create", "work")
    _commit(history, tmp_path, running + "\n")
    call_command("schema_diff")
    assert ": 0 breaking" in capsys.readouterr().out
    with pytest.raises(CommandError, match=r"main\.\.HEAD names no commit"):
        call_command("schema_diff", "main..HEAD")


def test_a_file_that_is_no_schema_is_told(history: Callable[..., None], tmp_path: Path) -> None:
    _commit(history, tmp_path, "{")

    with pytest.raises(CommandError, match=r"schema\.graphql of HEAD is no schema: GraphQLSyntaxError"):
        call_command("schema_diff", "HEAD")
