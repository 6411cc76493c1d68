"""What an agent says of its run: findings, metrics and tools. What they may be is in checks.py."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from backend.agents.fingerprint import fingerprint_of
from backend.agents.models import FindingSeverity


@dataclass(frozen=True, slots=True)
class FindingInput:
    """One thing that a run reports; `line_text`, the source line, only helps to know it again and is not kept."""

    rule: str
    tool: str
    severity: FindingSeverity
    title: str
    message: str = ""
    fingerprint: bytes | None = None
    category: str = ""
    path: str = ""
    line_text: str | None = None
    start_line: int | None = None
    end_line: int | None = None
    start_column: int | None = None
    end_column: int | None = None
    cwe: tuple[int, ...] = ()
    help_uri: str = ""
    snippet_sha256: bytes | None = None
    suppressed: bool = False


@dataclass(frozen=True, slots=True)
class MetricInput:
    """A number that a run measured; `passed` is None where there is no threshold to pass."""

    name: str
    value: float
    threshold: float | None = None
    unit: str = ""
    passed: bool | None = None


@dataclass(frozen=True, slots=True)
class ToolInput:
    """A tool that the run used."""

    name: str
    version: str = ""
    exit_code: int | None = None
    skipped: bool = False

    def as_json(self) -> dict[str, str | int | bool | None]:
        """As the run keeps it."""
        return {"name": self.name, "version": self.version, "exitCode": self.exit_code, "skipped": self.skipped}


def _identity(finding: FindingInput, occurrence: int) -> bytes:
    return fingerprint_of(finding.tool, finding.rule, finding.path, finding.line_text or "", occurrence)


def _order_in_file(finding: FindingInput) -> tuple[str, int, int]:
    return finding.path, finding.start_line or 0, finding.start_column or 0


def by_fingerprint(findings: Sequence[FindingInput]) -> list[tuple[bytes, FindingInput]]:
    """The findings sorted by fingerprint, each fingerprint once with its most severe finding."""
    known: dict[bytes, FindingInput] = {}
    seen: defaultdict[bytes, int] = defaultdict(int)
    for finding in sorted(findings, key=_order_in_file):
        key = finding.fingerprint
        if key is None:
            first = _identity(finding, 0)
            key = _identity(finding, seen[first])
            seen[first] += 1
        if key not in known or known[key].severity < finding.severity:
            known[key] = finding
    return sorted(known.items(), key=lambda item: item[0])
