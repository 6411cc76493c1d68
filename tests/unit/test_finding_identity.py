"""Which findings of a run are the same as those of another one."""

import pytest
from sarif_documents import a_log, a_result, a_run, as_bytes

from backend.agents.checks import checked_findings
from backend.agents.inputs import FindingInput, by_fingerprint
from backend.agents.models import FindingSeverity
from backend.agents.sarif import read_sarif

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


def test_a_message_which_may_hold_figures_is_no_part_of_it() -> None:
    assert keys(finding(3, text=None)) == keys(finding(3, text=None, message="n")) == keys(finding(3, text=""))


@pytest.mark.parametrize(
    ("line", "snippet"),
    [("x = 1", "x = 1"), ("\tx  =  1  # why", "x = 1 # why\n"), ("", None), (None, None)],
)
def test_the_same_findings_by_api_and_by_sarif_are_the_same(line: str | None, snippet: str | None) -> None:
    document = a_log(
        a_run(
            *(
                a_result(rule="E1", path=path, line=number, snippet=snippet)
                for path, number in (("a.py", 3), ("a.py", 9))
            ),
            a_result(rule="E2", path="./app/b%20c.py", line=1, snippet=snippet),
        )
    )
    sent = [
        finding(9, text=line, tool=" scan"),
        finding(3, text=line, tool="scan", message="another"),
        finding(1, text=line, tool="scan", rule="E2", path="app\\b c.py"),
    ]

    by_sarif = {found.fingerprint for run in read_sarif(as_bytes(document)) for found in run.findings}

    assert set(keys(*checked_findings(sent))) == by_sarif
    assert len(by_sarif) == 3


def test_findings_are_sorted_and_one_fingerprint_keeps_its_worst() -> None:
    given = [
        finding(1, fingerprint=b"b" * 32, severity=LOW),
        finding(2, fingerprint=b"b" * 32, severity=HIGH),
        finding(3, fingerprint=b"b" * 32, severity=LOW),
        finding(4, fingerprint=b"a" * 32),
    ]

    assert [(key[:1], found.severity) for key, found in by_fingerprint(given)] == [(b"a", LOW), (b"b", HIGH)]
