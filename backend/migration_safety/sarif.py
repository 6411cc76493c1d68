"""What a command found as a SARIF 2.1.0 document, for code hosts and for whoever keeps results."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.utils.module_loading import import_string

from backend.migration_safety.scratch import options

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
# SARIF has no place for measured numbers, nor for a tool that could not do its work; these are what Driftgraph reads.
_METRICS, _SKIPPED = "driftgraph/metrics", "driftgraph/skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that a migration breaks; with a reason it is accepted."""

    migration: str
    rule: str
    message: str
    path: Path
    line: int  # from 1
    reason: str = ""


@dataclass(slots=True)
class Run:
    """One execution of a command; `tools` are packages that it used, `skipped` those that could not do their work."""

    command: str
    rules: Mapping[str, str] = field(default_factory=dict)
    tools: Sequence[str] = ()
    skipped: Sequence[str] = ()
    metrics: Mapping[str, tuple[float, str]] = field(default_factory=dict)  # name -> value and unit
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    def document(self, findings: Sequence[Finding]) -> str:
        """The document of a run that ends now, of the checkout as it is; an accepted finding is a suppressed result."""
        rules = sorted({item.rule for item in findings})
        driver = {"name": self.command, "rules": [self._rule(name) for name in rules]}
        run = {
            "tool": {"driver": driver, "extensions": [self._tool(name) for name in self.tools]},
            "invocations": [
                {
                    "executionSuccessful": True,
                    "startTimeUtc": self.started.isoformat(),
                    "endTimeUtc": datetime.now(UTC).isoformat(),
                }
            ],
            "versionControlProvenance": [{"repositoryUri": "file:///", **_revision()}],
            "results": [_result(item, rules) for item in findings],
            "properties": {
                _METRICS: [{"name": name, "value": value, "unit": unit} for name, (value, unit) in self.metrics.items()]
            },
        }
        return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)

    def _rule(self, name: str) -> dict[str, Any]:
        text = self.rules.get(name)
        return {"id": name, **({"shortDescription": {"text": text}} if text else {})}

    def _tool(self, name: str) -> dict[str, Any]:
        try:
            stated = {"version": version(name)}
        except PackageNotFoundError:
            stated = {}
        return {"name": name, **stated, "properties": {_SKIPPED: name in self.skipped}}


def deliver(document: str) -> str:
    """Where the project's REPORT took a document.

    Raises:
        CommandError: the project has none.
    """
    if not options()["REPORT"]:
        raise CommandError("settings.MIGRATION_SAFETY names no REPORT, which takes results.", returncode=2)
    said: str = import_string(options()["REPORT"])(document)
    return said


def relative(path: Path) -> str:
    """The path as seen from the working directory, if it is below."""
    here = Path.cwd().resolve()
    return (path.relative_to(here) if path.is_relative_to(here) else path).as_posix()


def _result(item: Finding, rules: Sequence[str]) -> dict[str, Any]:
    place = {"artifactLocation": {"uri": relative(item.path)}, "region": {"startLine": item.line}}
    found: dict[str, Any] = {
        "ruleId": item.rule,
        "ruleIndex": rules.index(item.rule),
        "level": "error",
        "message": {"text": f"{item.migration}: {item.message}"},
        "locations": [{"physicalLocation": place, "logicalLocations": [{"fullyQualifiedName": item.migration}]}],
    }
    if item.reason:
        found["suppressions"] = [{"kind": "inSource", "justification": item.reason}]
    return found


def _revision() -> dict[str, str]:
    """The branch ("HEAD" where none is checked out), and the commit unless the checkout differs from it."""
    branch, commit = _git("rev-parse", "--abbrev-ref", "HEAD"), _git("rev-parse", "HEAD")
    if not commit:
        return {}
    is_clean = not _git("status", "--porcelain", "--untracked-files=no")
    return {"branch": branch, **({"revisionId": commit} if is_clean else {})}


def _git(*words: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and the words are constants of this module
            ["git", *words],  # noqa: S607 - whichever git the developer uses
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
