"""Findings as text for people, JSON for programs and SARIF for code hosts."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backend.migration_safety.lint.lint import Finding

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def as_text(findings: Sequence[Finding], count: int) -> str:
    """A line for each finding and one at the end."""
    lines = [
        f"{_relative(item.path)}:{item.line}: {item.rule}: {item.message}"
        + (f" (accepted: {item.reason})" if item.reason else "")
        for item in findings
    ]
    open_ones = sum(not item.reason for item in findings)
    return "\n".join([*lines, f"{count} migrations, {open_ones} findings, {len(findings) - open_ones} accepted"])


def as_json(findings: Sequence[Finding], count: int) -> str:
    """The same for programs."""
    listed = [
        {
            "migration": item.migration,
            "rule": item.rule,
            "message": item.message,
            "path": _relative(item.path),
            "line": item.line,
            "reason": item.reason or None,
        }
        for item in findings
    ]
    return json.dumps({"migrations": count, "findings": listed}, indent=2)


def as_sarif(findings: Sequence[Finding], _count: int) -> str:
    """SARIF 2.1.0; accepted findings are suppressed results with their reason."""
    rules = sorted({item.rule for item in findings})
    run = {
        "tool": {"driver": {"name": "lint_migrations", "rules": [{"id": rule} for rule in rules]}},
        "results": [_result(item, rules) for item in findings],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _result(item: Finding, rules: list[str]) -> dict[str, Any]:
    place = {"artifactLocation": {"uri": _relative(item.path)}, "region": {"startLine": item.line}}
    found: dict[str, Any] = {
        "ruleId": item.rule,
        "ruleIndex": rules.index(item.rule),
        "level": "error",
        "message": {"text": f"{item.migration}: {item.message}"},
        "locations": [{"physicalLocation": place}],
    }
    if item.reason:
        found["suppressions"] = [{"kind": "inSource", "justification": item.reason}]
    return found


def _relative(path: Path) -> str:
    here = Path.cwd().resolve()
    return (path.relative_to(here) if path.is_relative_to(here) else path).as_posix()


FORMS = {"text": as_text, "json": as_json, "sarif": as_sarif}
