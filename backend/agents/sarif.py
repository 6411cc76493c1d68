"""SARIF 2.1.0 documents as runs, tools, findings and metrics. Pure: how they are stored is up to the services."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from backend.agents.fingerprint import chosen_fingerprint, fingerprint_of, producer_fingerprint_of
from backend.agents.sarif_document import read_bytes, validated_document
from backend.agents.sarif_metrics import read_metrics
from backend.agents.sarif_model import SarifFinding, SarifMetric, SarifRun, SarifTool, Severity, Verdict
from backend.agents.sarif_rules import MAX_TITLE, Rule, RuleBook, category_of, severity_of
from backend.agents.sarif_text import line_text, message_text
from backend.agents.sarif_uris import PathResolver, Place, common_directory, directory_text, shown_path

MAX_BYTES = 10_000_000
MAX_RESULTS = 25_000  # of one run
MAX_MESSAGE = 2_000  # characters, as of the limits that follow
MAX_TOOL_NAME = 200
MAX_BRANCH = 255
MAX_TOOLS = 50  # the driver and its extensions
SKIPPED_KEY = "driftgraph/skipped"  # property of a tool that did not do its work
FAILING_SEVERITY = Severity.MEDIUM
UNNAMED_TOOL = "unnamed"

_MAX_INTEGER = 2**31 - 1
_COMMIT = re.compile(r"[0-9a-fA-F]{40}")
_NOT_FOUND_KINDS = frozenset({"pass", "notApplicable"})
_CREDENTIAL_CWES = frozenset({256, 257, 259, 260, 312, 321, 522, 540, 547, 798})
_QUOTATION = re.compile(r"(?P<mark>['\"`]).*(?P=mark)")
_FIRST_LINE = re.compile(r"[^\n]*")

Json = Mapping[str, Any]
SourceLine = Callable[[str, int], str | None]
"""The text of a line by path in the repository and number, where the sources are at hand."""


@dataclass(frozen=True, slots=True)
class _Region:
    start_line: int | None
    end_line: int | None
    start_column: int | None
    end_column: int | None
    line: str | None
    snippet_sha: bytes | None


@dataclass(frozen=True, slots=True)
class _Sighting:
    """A result with what its position in the run depends on."""

    index: int
    result: Json
    rule: Rule
    cwe: tuple[int, ...]
    place: Place | None
    region: _Region

    @property
    def identity_path(self) -> str:
        """The path that identifies: absolute where no root is known, lest files be taken for each other."""
        if self.place is None:
            return ""
        text = "/".join(self.place.parts)
        return "/" + text if self.place.absolute else text

    @property
    def order(self) -> tuple[str, int, int, int]:
        """Position, so that the order in which a scanner lists its results does not matter."""
        return self.identity_path, self.region.start_line or 0, self.region.start_column or 0, self.index


def read_sarif(
    source: bytes | os.PathLike[str],
    *,
    root: str | None = None,
    source_line: SourceLine | None = None,
    max_bytes: int = MAX_BYTES,
    max_results: int = MAX_RESULTS,
) -> tuple[SarifRun, ...]:
    """The runs of a SARIF 2.1.0 document, in its order; at least one.

    Results of kind `pass` and `notApplicable`, and those that a baseline says are gone (`baselineState:
    absent`), are no findings and are left out. Texts are bounded and without control characters; quoted
    source text is dropped, its SHA-256 kept.

    Args:
        source: The bytes, or the path of a file.
        root: Absolute directory of the checkout that was scanned, for scanners that name no base (ruff). Without
            it, and without any base in the document, the paths shown are relative to the directory that holds
            all findings of the run, and the identities depend on where the checkout is.
        source_line: Where the text of a line comes from that a scanner names and does not quote. It makes the identity
            and is not kept.
        max_bytes: Size above which a document is refused.
        max_results: Number of results above which a run is refused.

    Raises:
        BadUserInput: Of the classes in sarif_document.py and sarif_metrics.py, or LimitExceeded.
    """
    data = read_bytes(source, max_bytes=max_bytes)
    document = validated_document(data, max_results=max_results)
    digest = hashlib.sha256(data).digest()
    elsewhere = any(item.get("results") for item in document.get("inlineExternalProperties", ()))
    return tuple(
        _read_run(run, position, digest, PathResolver(run, root), source_line, results_elsewhere=elsewhere)
        for position, run in enumerate(document["runs"])
    )


def conclude(tools: Iterable[SarifTool], findings: Iterable[SarifFinding], metrics: Iterable[SarifMetric]) -> Verdict:
    """What a run says.

    INCONCLUSIVE when a tool did not do its work. FAIL when a finding of MEDIUM or above is not suppressed, or
    a metric failed. A tool that reported errors on the way makes INCONCLUSIVE of what would be PASS. PASS
    otherwise.
    """
    tools = tuple(tools)
    if any(tool.skipped for tool in tools):
        return "INCONCLUSIVE"
    found = any(item.severity >= FAILING_SEVERITY and not item.suppressed for item in findings)
    if found or any(metric.passed is False for metric in metrics):
        return "FAIL"
    return "INCONCLUSIVE" if any(tool.incomplete for tool in tools) else "PASS"


def _read_run(
    run: Json,
    position: int,
    digest: bytes,
    resolver: PathResolver,
    source_line: SourceLine | None,
    *,
    results_elsewhere: bool,
) -> SarifRun:
    tools = _tools(run, results_elsewhere=results_elsewhere)
    findings = _findings(run, tools[0].name, resolver, source_line)
    metrics = read_metrics(run.get("properties", {}), ("runs", str(position), "properties"))
    started_at, finished_at = _times(run.get("invocations", ()))
    commit, branch = _revision(run.get("versionControlProvenance", ()))
    return SarifRun(
        tools=tools,
        findings=findings,
        metrics=metrics,
        started_at=started_at,
        finished_at=finished_at,
        commit=commit,
        branch=branch,
        conclusion=conclude(tools, findings, metrics),
        sha256=digest,
    )


def _tools(run: Json, *, results_elsewhere: bool) -> tuple[SarifTool, ...]:
    """The driver, then its extensions. A run without `results` was no scan; results in other files are not seen."""
    invocations = run.get("invocations", ())
    external = "results" in run.get("externalPropertyFileReferences", {})
    failed = any(not item["executionSuccessful"] for item in invocations)
    notes = (note for item in invocations for note in item.get("toolExecutionNotifications", ()))
    errors = any(note.get("level") == "error" for note in notes)
    codes = [code for item in invocations if (code := _integer(item.get("exitCode"))) is not None]
    driver = run["tool"]["driver"]
    scanned = "results" in run and not external and not results_elsewhere
    first = SarifTool(
        name=_tool_name(driver),
        version=_version(driver),
        exit_code=next((code for code in codes if code), codes[0] if codes else None),
        skipped=failed or not scanned or _is_skipped(driver),
        incomplete=errors,
    )
    others = run["tool"].get("extensions", ())
    return first, *(
        SarifTool(_tool_name(item), _version(item), None, _is_skipped(item), incomplete=False)
        for item in others[: MAX_TOOLS - 1]
    )


def _tool_name(component: Json) -> str:
    return line_text(component["name"], MAX_TOOL_NAME) or UNNAMED_TOOL


def _version(component: Json) -> str:
    keys = ("version", "semanticVersion", "dottedQuadFileVersion")
    stated = next((component[key] for key in keys if component.get(key)), "")
    return line_text(stated, MAX_TOOL_NAME)


def _is_skipped(component: Json) -> bool:
    return component.get("properties", {}).get(SKIPPED_KEY) is True


def _findings(run: Json, tool: str, resolver: PathResolver, source_line: SourceLine | None) -> tuple[SarifFinding, ...]:
    """Findings in the order of the document; occurrence indices are given in order of position."""
    book = RuleBook(run)
    overrides = _level_overrides(run.get("invocations", ()))
    sightings = [
        _sighting(index, result, book, resolver, source_line)
        for index, result in enumerate(run.get("results", ()))
        if result.get("kind") not in _NOT_FOUND_KINDS and result.get("baselineState") != "absent"
    ]
    directory = common_directory(item.place for item in sightings if item.place is not None and item.place.absolute)
    machine = [*resolver.machine_directories(), *([directory_text(directory)] if directory else ())]
    fingerprints: dict[int, bytes] = {}
    seen: Counter[bytes] = Counter()
    for item in sorted(sightings, key=lambda sighting: sighting.order):
        first = _fingerprint(item, tool, 0)
        fingerprints[item.index] = _fingerprint(item, tool, seen[first]) if seen[first] else first
        seen[first] += 1
    return tuple(
        SarifFinding(
            fingerprint=fingerprints[item.index],
            rule_id=item.rule.id,
            tool=tool,
            severity=int(severity_of(item.result, item.rule, _override(item, overrides))),
            category=category_of(item.result.get("properties", {})) or item.rule.category,
            **_texts(item, machine),
            path=None if item.place is None else shown_path(item.place, directory),
            start_line=item.region.start_line,
            end_line=item.region.end_line,
            start_column=item.region.start_column,
            end_column=item.region.end_column,
            cwe=item.cwe,
            help_uri=item.rule.help_uri,
            snippet_sha=item.region.snippet_sha,
            suppressed=_is_suppressed(item.result),
        )
        for item in sightings
    )


def _sighting(
    index: int, result: Json, book: RuleBook, resolver: PathResolver, source_line: SourceLine | None
) -> _Sighting:
    location: Json = next(iter(result.get("locations", ())), {})
    physical = location.get("physicalLocation", {})
    place = resolver.place(physical.get("artifactLocation", {}))
    if place is None:
        place = resolver.place(result.get("analysisTarget", {}))
    logical = next((item.get("fullyQualifiedName", "") for item in location.get("logicalLocations", ())), "")
    rule = book.rule_of(result)
    cwe = tuple(sorted({*rule.cwe, *book.cwes(result)}))
    region = _region(physical)
    if region.line is None:
        line = _line_of(source_line, place, region.start_line)
        region = replace(region, line=logical if line is None else line)
    return _Sighting(index, result, rule, cwe, place, region)


def _line_of(source_line: SourceLine | None, place: Place | None, number: int | None) -> str | None:
    if source_line is None or place is None or place.absolute or number is None:
        return None
    return source_line("/".join(place.parts), number)


def _region(physical: Json) -> _Region:
    """Lines, columns and what identifies: the quoted source, else its line of the context; None without a quotation."""
    region = physical.get("region", {})
    context = physical.get("contextRegion", {})
    quoted = region.get("snippet", {}).get("text")
    around = context.get("snippet", {}).get("text")
    start = _integer(region.get("startLine"))
    line = quoted
    if line is None and around is not None:
        lines = around.splitlines()
        offset = (start or 0) - context.get("startLine", 0)
        line = lines[offset] if start and 0 <= offset < len(lines) else around
    text = quoted if quoted is not None else around
    return _Region(
        start_line=start,
        end_line=_integer(region.get("endLine", start)),
        start_column=_integer(region.get("startColumn")),
        end_column=_integer(region.get("endColumn")),
        line=line,
        snippet_sha=None if text is None else hashlib.sha256(text.encode()).digest(),
    )


def _fingerprint(item: _Sighting, tool: str, occurrence: int) -> bytes:
    chosen = chosen_fingerprint(item.result.get("fingerprints"), item.result.get("partialFingerprints"))
    if chosen is None:
        return fingerprint_of(tool, item.rule.id, item.identity_path, item.region.line or "", occurrence)
    return producer_fingerprint_of(tool, item.rule.id, item.identity_path, chosen, occurrence)


def _texts(item: _Sighting, machine_directories: Iterable[str]) -> dict[str, str]:
    """Title and message; where one is empty, the first line of the other stands in for it.

    What a message quotes is taken out where the weakness is a credential in the code: scanners quote the credential.
    """
    message = message_text(item.result["message"], item.rule.strings, MAX_MESSAGE)
    for directory in machine_directories:
        message = message.replace("file://" + directory, "").replace(directory, "")
    if not _CREDENTIAL_CWES.isdisjoint(item.cwe):
        message = _QUOTATION.sub(r"\g<mark>…\g<mark>", message)
    first_line = _FIRST_LINE.match(message)
    title = item.rule.title or line_text(first_line[0] if first_line else "", MAX_TITLE) or item.rule.id
    return {"title": title, "message": message or title}


def _level_overrides(invocations: Iterable[Json]) -> list[dict[str, str]]:
    """Per invocation, the levels that its configuration gives to rules by id."""
    return [
        {
            item["descriptor"]["id"]: item["configuration"]["level"]
            for item in invocation.get("ruleConfigurationOverrides", ())
            if "id" in item["descriptor"] and "level" in item["configuration"]
        }
        for invocation in invocations
    ]


def _override(item: _Sighting, overrides: list[dict[str, str]]) -> str | None:
    """The overriding level of the invocation that found the result; a run of one invocation needs not say which."""
    index = item.result.get("provenance", {}).get("invocationIndex", -1)
    if index < 0 and len(overrides) == 1:
        index = 0
    return overrides[index].get(item.rule.id) if 0 <= index < len(overrides) else None


def _is_suppressed(result: Json) -> bool:
    """By section 3.27.23: there are suppressions, and none of them is under review or rejected."""
    suppressions = result.get("suppressions", ())
    return bool(suppressions) and all(item.get("status", "accepted") == "accepted" for item in suppressions)


def _times(invocations: Iterable[Json]) -> tuple[datetime | None, datetime | None]:
    """First start and last end in UTC; an end before the start is no end."""
    invocations = tuple(invocations)
    starts = [time for item in invocations if (time := _time(item.get("startTimeUtc")))]
    ends = [time for item in invocations if (time := _time(item.get("endTimeUtc")))]
    started_at, finished_at = min(starts, default=None), max(ends, default=None)
    if started_at is not None and finished_at is not None and finished_at < started_at:
        return started_at, None
    return started_at, finished_at


def _time(text: str | None) -> datetime | None:
    try:
        time = datetime.fromisoformat(text or "")
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _revision(provenance: Iterable[Json]) -> tuple[str | None, str | None]:
    """Commit and branch of the first repository; a revision that is no full SHA-1 is no commit."""
    details: Json = next(iter(provenance), {})
    commit = details.get("revisionId", "").strip()
    branch = line_text(details.get("branch", ""), MAX_BRANCH).removeprefix("refs/heads/")
    return commit.lower() if _COMMIT.fullmatch(commit) else None, branch or None


def _integer(value: Any) -> int | None:
    """A whole number that a column of the database can hold, else None."""
    return value if isinstance(value, int) and abs(value) <= _MAX_INTEGER else None
