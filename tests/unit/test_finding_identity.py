"""Which findings of a run are the same as those of another one."""

from backend.agents.inputs import FindingInput, by_fingerprint
from backend.agents.models import FindingSeverity

LOW, HIGH = FindingSeverity.LOW, FindingSeverity.HIGH


def finding(line: int, *, text: str | None = "x = 1", **changes) -> FindingInput:
    given = {"rule": "E1", "tool": "ruff", "severity": LOW, "title": "t", "path": "a.py", "message": "m"}
    return FindingInput(**(given | changes), start_line=line, line_text=text)


def keys(*findings: FindingInput) -> list[bytes]:
    return [key for key, _ in by_fingerprint(findings)]


def test_a_finding_is_known_again_when_its_line_moves_or_is_indented() -> None:
    assert keys(finding(3)) == keys(finding(90, text="    x  = 1"))


def test_equal_lines_are_told_apart_by_their_order_alone() -> None:
    twice = keys(finding(3), finding(7))

    assert len(set(twice)) == 2
    assert twice == keys(finding(70), finding(30))


def test_another_rule_path_tool_or_text_is_another_finding() -> None:
    others = [finding(3, rule="E2"), finding(3, path="b.py"), finding(3, tool="mypy"), finding(3, text="y = 1")]

    assert len(set(keys(finding(3), *others))) == 5


def test_the_message_stands_in_for_a_text_that_is_not_known() -> None:
    assert keys(finding(3, text=None)) != keys(finding(3, text=None, message="n"))


def test_findings_are_sorted_and_one_fingerprint_keeps_its_worst() -> None:
    given = [
        finding(1, fingerprint=b"b" * 32, severity=LOW),
        finding(2, fingerprint=b"b" * 32, severity=HIGH),
        finding(3, fingerprint=b"b" * 32, severity=LOW),
        finding(4, fingerprint=b"a" * 32),
    ]

    assert [(key[:1], found.severity) for key, found in by_fingerprint(given)] == [(b"a", LOW), (b"b", HIGH)]
