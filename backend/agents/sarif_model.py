"""What a SARIF document says, as frozen values. How it is read lives in sarif.py; how it is stored, in the services."""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Literal

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]


class Severity(IntEnum):
    """How much a finding matters; the numbers are those that are stored."""

    INFO = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


@dataclass(frozen=True, slots=True)
class SarifTool:
    """A scanner of a run, or one of its extensions.

    `skipped` is true when it did not do its work at all; `incomplete` when it worked but reported errors on
    the way, so that the absence of findings proves nothing.
    """

    name: str
    version: str
    exit_code: int | None
    skipped: bool
    incomplete: bool


@dataclass(frozen=True, slots=True)
class SarifMetric:
    """A number that a run measured; `passed` is None where the producer gave no verdict."""

    name: str
    value: float
    threshold: float | None
    unit: str | None
    passed: bool | None


@dataclass(frozen=True, slots=True)
class SarifFinding:
    """One result of a run.

    `fingerprint` is 32 bytes, unique in the run. `path` is relative to the repository. Lines and columns
    count from 1. `severity` is a number of `Severity`. `snippet_sha` is the SHA-256 of the quoted source
    text, which itself is dropped.
    """

    fingerprint: bytes
    rule_id: str
    tool: str
    severity: int
    category: str | None
    title: str
    message: str
    path: str | None
    start_line: int | None
    end_line: int | None
    start_column: int | None
    end_column: int | None
    cwe: tuple[int, ...]
    help_uri: str | None
    snippet_sha: bytes | None
    suppressed: bool


@dataclass(frozen=True, slots=True)
class SarifRun:
    """One run of a document; `sha256` is that of the whole document, 32 bytes. Times are UTC."""

    tools: tuple[SarifTool, ...]
    findings: tuple[SarifFinding, ...]
    metrics: tuple[SarifMetric, ...]
    started_at: datetime | None
    finished_at: datetime | None
    commit: str | None
    branch: str | None
    conclusion: Verdict
    sha256: bytes
