"""What an agent says of its run: findings, metrics and tools, checked; nothing here knows the database."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backend.agents.errors import BadFinding, BadMetric
from backend.agents.fingerprint import fingerprint_of
from backend.agents.models import FindingSeverity
from backend.core.errors import LimitExceeded

MAX_FINDINGS = 25_000  # of one run
MAX_METRICS = 1_000
TITLE_LENGTH = 300
MESSAGE_LENGTH = 4_000
PATH_LENGTH = 1_000
FINGERPRINT_BYTES = 32


@dataclass(frozen=True, slots=True)
class FindingInput:
    """One thing that a run reports; `line_text` only helps to recognise it again and is not kept."""

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
    text = finding.line_text if finding.line_text is not None else finding.message
    return fingerprint_of(finding.tool, finding.rule, finding.path, text, occurrence)


def _is_sound(finding: FindingInput) -> bool:
    named = bool(finding.rule and finding.tool and finding.title)
    return named and (finding.fingerprint is None or len(finding.fingerprint) == FINGERPRINT_BYTES)


def _order_in_file(finding: FindingInput) -> tuple[str, int, int]:
    return finding.path, finding.start_line or 0, finding.start_column or 0


def by_fingerprint(findings: Sequence[FindingInput]) -> list[tuple[bytes, FindingInput]]:
    """The findings sorted by fingerprint, each fingerprint once with its most severe finding.

    Raises:
        LimitExceeded: more than 25,000.
        BadFinding: one is incomplete; the path leads to it.
    """
    if len(findings) > MAX_FINDINGS:
        raise LimitExceeded(what="The number of findings", actual=len(findings), limit=MAX_FINDINGS, setting="fixed")
    for index, finding in enumerate(findings):
        if not _is_sound(finding):
            raise BadFinding(path=("findings", str(index)))
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


def checked_metrics(metrics: Iterable[MetricInput]) -> list[MetricInput]:
    """The metrics by name.

    Raises: LimitExceeded, BadMetric (a name twice or empty, a value that is no finite number).
    """
    found = sorted(metrics, key=lambda metric: metric.name)
    if len(found) > MAX_METRICS:
        raise LimitExceeded(what="The number of metrics", actual=len(found), limit=MAX_METRICS, setting="fixed")
    names = {metric.name for metric in found}
    numbers = [number for metric in found for number in (metric.value, metric.threshold) if number is not None]
    if "" in names or len(names) < len(found) or not all(map(math.isfinite, numbers)):
        raise BadMetric(path=("metrics",))
    return found
