"""Findings as text for people and JSON for programs; SARIF is in sarif.py."""

import json
from collections.abc import Sequence

from backend.migration_safety.sarif import Finding, relative


def as_text(findings: Sequence[Finding], count: int) -> str:
    """A line for each finding and one at the end."""
    lines = [
        f"{relative(item.path)}:{item.line}: {item.rule}: {item.message}"
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
            "path": relative(item.path),
            "line": item.line,
            "reason": item.reason or None,
        }
        for item in findings
    ]
    return json.dumps({"migrations": count, "findings": listed}, indent=2)
