"""What agents may send: the length and form of every text and number. The API's descriptions are made from these rules.

Texts are made fit to store as those of SARIF documents are, so that the same finding is the same by either way.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from backend.agents import errors
from backend.agents.inputs import FindingInput, MetricInput, ToolInput
from backend.agents.sarif_text import block_text, line_text, web_address
from backend.agents.sarif_uris import place_of_path
from backend.core.errors import LimitExceeded, within

MAX_FINDINGS = 25_000  # of one run
MAX_METRICS = 1_000
MAX_TOOLS = 50
MAX_CWES = 20
MAX_CWE = 99_999
MAX_NUMBER = 2**31 - 1  # of lines, columns and exit codes: a GraphQL Int
FINGERPRINT_BYTES = 32


@dataclass(frozen=True, slots=True)
class Text:
    """The rule of a text: how many characters it may have, whether it may be empty, whether it may have many lines."""

    limit: int
    required: bool = False
    lines: bool = False

    def __str__(self) -> str:
        return f"1 to {self.limit:,} characters" if self.required else f"up to {self.limit:,} characters"

    def of(self, value: str, name: str) -> str:
        """The text as it is stored: without control characters and, on one line, with single blanks.

        Raises:
            LimitExceeded: it is longer.
            TextMissing: nothing is left of it where something must be.
        """
        if len(value) > self.limit:
            what = "The number of characters of this text"
            raise LimitExceeded(what=what, actual=len(value), limit=self.limit, setting=FIXED, path=(name,))
        text = (block_text if self.lines else line_text)(value, self.limit)
        if self.required and not text:
            raise errors.TextMissing(rule=str(self), path=(name,))
        return text


FIXED = "a fixed limit"
RULE, TOOL, TITLE = Text(200, required=True), Text(200, required=True), Text(300, required=True)
MESSAGE, CATEGORY, PATH, LINE = Text(4_000, lines=True), Text(100), Text(1_000), Text(4_000, lines=True)
ADDRESS, VERSION, UNIT = Text(500), Text(200), Text(50)
METRIC_NAME = Text(200, required=True)
JUSTIFICATION = Text(2_000, lines=True)
PHASE = Text(100)

_FINDING_TEXTS = {"rule": RULE, "tool": TOOL, "title": TITLE, "message": MESSAGE, "category": CATEGORY}
_PLACES = ("start_line", "end_line", "start_column", "end_column")


def checked_address(value: str, name: str) -> str:
    """An http or https address that can be stored, or the empty text.

    Raises: LimitExceeded; BadAddress.
    """
    text = ADDRESS.of(value, name)
    if text and web_address(value, ADDRESS.limit) is None:
        raise errors.BadAddress(path=(name,))
    return text


def checked_findings(findings: Sequence[FindingInput]) -> list[FindingInput]:
    """The findings, fit to store.

    Raises:
        LimitExceeded: there are more than 25,000, or a text is too long; the path leads to it.
        TextMissing, BadFingerprint, BadPath, NumberOutOfRange, BadPlace, BadAddress: likewise.
    """
    _check_count("findings", len(findings), MAX_FINDINGS)
    found = []
    for index, finding in enumerate(findings):
        with within("findings", str(index)):
            found.append(_finding(finding))
    return found


def _finding(finding: FindingInput) -> FindingInput:
    if finding.fingerprint is not None and len(finding.fingerprint) != FINGERPRINT_BYTES:
        raise errors.BadFingerprint(path=("fingerprint",))
    texts: dict[str, Any] = {name: rule.of(getattr(finding, name), name) for name, rule in _FINDING_TEXTS.items()}
    if finding.line_text is not None:
        LINE.of(finding.line_text, "line_text")  # kept as it is: only its words make the fingerprint
    texts |= {"path": _path(finding.path), "help_uri": checked_address(finding.help_uri, "help_uri")}
    for name in _PLACES:
        _check_number(getattr(finding, name), 1, MAX_NUMBER, name)
    if finding.end_line is not None and (finding.start_line is None or finding.end_line < finding.start_line):
        raise errors.BadPlace(path=("end_line",))
    _check_count("cwe", len(finding.cwe), MAX_CWES)
    for position, number in enumerate(finding.cwe):
        with within("cwe"):
            _check_number(number, 1, MAX_CWE, str(position))
    return replace(finding, **texts, cwe=tuple(sorted(set(finding.cwe))))


def _path(value: str) -> str:
    if not (text := PATH.of(value, "path")):
        return ""
    place = place_of_path(text)
    if place.absolute or ".." in place.parts:
        raise errors.BadPath(path=("path",))
    return "/".join(place.parts)


def checked_metrics(metrics: Sequence[MetricInput]) -> list[MetricInput]:
    """The metrics, fit to store.

    Raises: LimitExceeded; TextMissing; BadMetric (a name twice, a value that is no finite number).
    """
    _check_count("metrics", len(metrics), MAX_METRICS)
    found: dict[str, MetricInput] = {}
    for index, metric in enumerate(metrics):
        with within("metrics", str(index)):
            name = METRIC_NAME.of(metric.name, "name")
            if name in found:
                raise errors.BadMetric(path=("name",))
            for part in ("value", "threshold"):
                number = getattr(metric, part)
                if number is not None and not math.isfinite(number):
                    raise errors.BadMetric(path=(part,))
            found[name] = replace(metric, name=name, unit=UNIT.of(metric.unit, "unit"))
    return list(found.values())


def checked_tools(tools: Iterable[ToolInput]) -> list[ToolInput]:
    """The tools, fit to store.

    Raises: LimitExceeded; TextMissing; NumberOutOfRange.
    """
    given = list(tools)
    _check_count("tools", len(given), MAX_TOOLS)
    found = []
    for index, tool in enumerate(given):
        with within("tools", str(index)):
            _check_number(tool.exit_code, -MAX_NUMBER - 1, MAX_NUMBER, "exit_code")
            name, version = TOOL.of(tool.name, "name"), VERSION.of(tool.version, "version")
            found.append(replace(tool, name=name, version=version))
    return found


def checked_progress(phase: str, done: int | None, total: int | None) -> tuple[str, int | None, int | None]:
    """Phase, done and total, fit to store.

    Raises: LimitExceeded; NumberOutOfRange; BadProgress (more is done than there is).
    """
    _check_number(done, 0, MAX_NUMBER, "done")
    _check_number(total, 0, MAX_NUMBER, "total")
    if done is not None and total is not None and done > total:
        raise errors.BadProgress(path=("done",))
    return PHASE.of(phase, "phase"), done, total


def _check_count(name: str, actual: int, limit: int) -> None:
    if actual > limit:
        raise LimitExceeded(what=f"The number of {name}", actual=actual, limit=limit, setting=FIXED, path=(name,))


def _check_number(value: int | None, low: int, high: int, name: str) -> None:
    if value is not None and not low <= value <= high:
        raise errors.NumberOutOfRange(low=low, high=high, path=(name,))
