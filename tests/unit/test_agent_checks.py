"""What agents may send: every limit is kept, and what breaks it is named by its place."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.agents import checks, errors
from backend.agents.checks import checked_findings, checked_metrics, checked_tools
from backend.agents.inputs import FindingInput, MetricInput, ToolInput
from backend.agents.models import FindingSeverity
from backend.agents.sarif_text import line_text
from backend.core.errors import AppError, LimitExceeded

GOOD = FindingInput(rule="E1", tool="ruff", severity=FindingSeverity.LOW, title="t", start_line=2)
LARGEST = 2**31 - 1


def finding_with(**changes: Any) -> list[FindingInput]:
    return [GOOD, GOOD, replace(GOOD, **changes)]


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("rule", checks.RULE),
        ("tool", checks.TOOL),
        ("title", checks.TITLE),
        ("message", checks.MESSAGE),
        ("category", checks.CATEGORY),
        ("path", checks.PATH),
        ("line_text", checks.LINE),
    ],
)
def test_a_text_is_taken_up_to_its_limit_and_no_further(name: str, rule: checks.Text) -> None:
    assert getattr(checked_findings(finding_with(**{name: "x" * rule.limit}))[2], name) == "x" * rule.limit

    with pytest.raises(LimitExceeded, match=f"is {rule.limit + 1}, more than {rule.limit}") as refusal:
        checked_findings(finding_with(**{name: "x" * (rule.limit + 1)}))

    assert refusal.value.path == ("findings", "2", name)


@pytest.mark.parametrize(
    ("changes", "error", "path"),
    [
        ({"rule": ""}, errors.TextMissing, ("rule",)),
        ({"tool": " \t"}, errors.TextMissing, ("tool",)),
        ({"title": "\x07"}, errors.TextMissing, ("title",)),
        ({"fingerprint": b"x" * 31}, errors.BadFingerprint, ("fingerprint",)),
        ({"start_line": 0}, errors.NumberOutOfRange, ("start_line",)),
        ({"start_line": LARGEST + 1}, errors.NumberOutOfRange, ("start_line",)),
        ({"end_line": -1}, errors.NumberOutOfRange, ("end_line",)),
        ({"start_column": 0}, errors.NumberOutOfRange, ("start_column",)),
        ({"end_column": LARGEST + 1}, errors.NumberOutOfRange, ("end_column",)),
        ({"end_line": 1}, errors.BadPlace, ("end_line",)),
        ({"start_line": None, "end_line": 3}, errors.BadPlace, ("end_line",)),
        ({"cwe": (79, 0)}, errors.NumberOutOfRange, ("cwe", "1")),
        ({"cwe": (100_000,)}, errors.NumberOutOfRange, ("cwe", "0")),
        ({"cwe": tuple(range(1, 22))}, LimitExceeded, ("cwe",)),
        ({"path": "/etc/passwd"}, errors.BadPath, ("path",)),
        ({"path": "C:\\work\\a.py"}, errors.BadPath, ("path",)),
        ({"path": "a/../../b.py"}, errors.BadPath, ("path",)),
        ({"help_uri": "javascript:alert(1)"}, errors.BadAddress, ("help_uri",)),
        ({"help_uri": "https://"}, errors.BadAddress, ("help_uri",)),
        ({"help_uri": "https://user:word@example.org"}, errors.BadAddress, ("help_uri",)),
        ({"help_uri": "https://example.org/a b"}, errors.BadAddress, ("help_uri",)),
        ({"help_uri": "https://example.org/" + "x" * 500}, LimitExceeded, ("help_uri",)),
    ],
)
def test_a_bad_finding_is_named_by_its_place(changes: dict[str, Any], error: type[AppError], path: tuple) -> None:
    with pytest.raises(error) as refusal:
        checked_findings(finding_with(**changes))

    assert refusal.value.path == ("findings", "2", *path)
    assert refusal.value.code == "BAD_USER_INPUT"


def test_a_finding_is_made_fit_to_store() -> None:
    texts = {"title": "one\n  two\x00", "message": "one\r\ntwo\x1b[31m", "path": "./a//b.py"}

    [found] = checked_findings([replace(GOOD, **texts, cwe=(89, 79, 89), end_line=2)])

    assert (found.title, found.message, found.path, found.cwe) == ("one two", "one\ntwo[31m", "a/b.py", (79, 89))


METRIC = MetricInput("coverage", 0.5)


@pytest.mark.parametrize(
    ("metrics", "error", "path"),
    [
        ([METRIC, MetricInput("", 1)], errors.TextMissing, ("metrics", "1", "name")),
        ([METRIC, MetricInput(" coverage ", 1)], errors.BadMetric, ("metrics", "1", "name")),
        ([MetricInput("n" * 201, 1)], LimitExceeded, ("metrics", "0", "name")),
        ([MetricInput("n", 1, unit="u" * 51)], LimitExceeded, ("metrics", "0", "unit")),
        ([MetricInput("n", float("inf"))], errors.BadMetric, ("metrics", "0", "value")),
        ([MetricInput("n", 1, threshold=float("nan"))], errors.BadMetric, ("metrics", "0", "threshold")),
        ([MetricInput(str(number), 1) for number in range(1_001)], LimitExceeded, ("metrics",)),
    ],
)
def test_a_bad_metric_is_named_by_its_place(metrics: list[MetricInput], error: type[AppError], path: tuple) -> None:
    with pytest.raises(error) as refusal:
        checked_metrics(metrics)

    assert refusal.value.path == path


@pytest.mark.parametrize(
    ("tools", "error", "path"),
    [
        ([ToolInput("a"), ToolInput("")], errors.TextMissing, ("tools", "1", "name")),
        ([ToolInput("a", version="v" * 201)], LimitExceeded, ("tools", "0", "version")),
        ([ToolInput("a", exit_code=2**31)], errors.NumberOutOfRange, ("tools", "0", "exit_code")),
        ([ToolInput("a")] * 51, LimitExceeded, ("tools",)),
    ],
)
def test_a_bad_tool_is_named_by_its_place(tools: list[ToolInput], error: type[AppError], path: tuple) -> None:
    with pytest.raises(error) as refusal:
        checked_tools(tools)

    assert refusal.value.path == path


@given(st.text(max_size=30), st.integers(1, 20), st.booleans(), st.booleans())
def test_whatever_is_sent_a_text_that_is_taken_is_within_its_rule(
    value: str, limit: int, required: bool, lines: bool
) -> None:
    rule = checks.Text(limit, required, lines)
    too_long, empty = len(value) > limit, not line_text(value, limit)
    if too_long or (required and empty):
        with pytest.raises(LimitExceeded if too_long else errors.TextMissing):
            rule.of(value, "name")
        return

    stored = rule.of(value, "name")

    assert len(stored) <= limit
    assert lines or "\n" not in stored
    assert rule.of(stored, "name") == stored
