"""Stores what a SARIF document says as ended agent runs, one per run of the document; it is read by sarif.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from backend.accounts.free_text import Screen
from backend.agents.checkout import Checkout
from backend.agents.checks import MAX_FINDINGS
from backend.agents.errors import NoCheckout
from backend.agents.findings import states_fix
from backend.agents.inputs import FindingInput, MetricInput, ToolInput
from backend.agents.models import (
    Agent,
    AgentKind,
    AgentRun,
    AgentRunStatus,
    Conclusion,
    FindingSeverity,
    Trigger,
)
from backend.agents.runs import ACTIVE, BRANCH_LENGTH, agent_ensure, checked_origin, conclude
from backend.agents.sarif import read_sarif
from backend.agents.sarif_model import SarifFinding, SarifRun
from backend.agents.screening import screened_findings, screened_metrics, screened_tools
from backend.core.actor import Actor, Right
from backend.core.errors import within
from backend.core.tenancy import write


def agent_run_import_sarif(
    *,
    actor: Actor,
    document: bytes | Path,
    kind: AgentKind,
    name: str,
    commit: str = "",
    branch: str = "",
    checkout: Path | None = None,
) -> tuple[AgentRun, ...]:
    """The ended runs of the document, in its order.

    The same document for the same agent, commit and branch gives the same runs again.

    `commit` and `branch` count before those that the document names. With the `checkout` that was scanned, paths are
    relative to it, and findings whose line the document does not quote are told apart by the line in the checkout.

    Raises:
        NoCheckout: `checkout` is no directory.
        Forbidden, BadAgentName, BadCommit, BadBranch, LimitExceeded, IdentifiesPerson; and what read_sarif raises for a
        document that is no SARIF 2.1.0. Then nothing was written.
    SQL: BEGIN, 2, then 8 per run and 1 per 1,000 findings, 1, COMMIT; 2 per run that was imported before.
    """
    actor.require(Right.AGENTS_WRITE)
    commit, branch = checked_origin(commit, branch)
    sources = None if checkout is None else _checkout(checkout)
    with within("file"):
        runs = read_sarif(
            document,
            root=None if sources is None else str(sources.root),
            source_line=None if sources is None else sources.line,
            max_bytes=settings.ENVIRONMENT.max_sarif_bytes,
            max_results=MAX_FINDINGS,
        )
    screen = Screen(actor)
    name, branch = screen.of(name, "agent", with_names=False), screen.of(branch, "branch", with_names=False)
    with within("file"):
        reports = [_report(screen, index, run) for index, run in enumerate(runs)]
    with write(actor):
        version = next((tool.version for report in reports for tool in report.tools[:1] if tool.version), "")
        agent = agent_ensure(actor, kind=kind, name=name, version=version)
        seen_at = _seen_at(runs)
        stored = [
            _stored_run(agent, index, report, seen_at, commit=commit, branch=branch)
            for index, report in enumerate(reports)
        ]
        ended = [
            _conclude(run, report, seen_at) for run, report in zip(stored, reports, strict=True) if run.status in ACTIVE
        ]
        # A tool that reported errors on the way may have missed what it does not tell, whatever else it found.
        if not any(tool.incomplete for run in runs for tool in run.tools):
            states_fix(agent.id, ended, seen_at)
    return tuple(stored)


@dataclass(frozen=True, slots=True)
class _Report:
    """A run of the document as it is kept."""

    source: SarifRun
    branch: str
    findings: list[FindingInput]
    metrics: list[MetricInput]
    tools: list[ToolInput]


def _report(screen: Screen, index: int, run: SarifRun) -> _Report:
    with within("runs", str(index)):
        return _Report(
            source=run,
            branch=screen.of(_branch(run), "branch", with_names=False),
            findings=screened_findings(screen, [_finding(finding) for finding in run.findings]),
            metrics=screened_metrics(
                screen, [MetricInput(m.name, m.value, m.threshold, m.unit or "", m.passed) for m in run.metrics]
            ),
            tools=screened_tools(
                screen, [ToolInput(tool.name, tool.version, tool.exit_code, tool.skipped) for tool in run.tools]
            ),
        )


def _checkout(root: Path) -> Checkout:
    if not root.is_dir():
        raise NoCheckout
    return Checkout(root)


def _branch(run: SarifRun) -> str:
    branch = (run.branch or "").removeprefix("refs/heads/")
    return branch if len(branch) <= BRANCH_LENGTH and branch.isprintable() else ""


def _seen_at(runs: Sequence[SarifRun]) -> datetime:
    """The time of the document, at which all its runs saw what they saw: the latest start that one of them tells."""
    now = timezone.now()
    # A clock that runs ahead must not make every later run look older than this one.
    return min(max((run.started_at for run in runs if run.started_at), default=now), now)


def _stored_run(agent: Agent, index: int, report: _Report, seen_at: datetime, *, commit: str, branch: str) -> AgentRun:
    source = report.source
    commit, branch = commit or source.commit or "", branch or report.branch
    fresh = AgentRun(
        organization_id=agent.organization_id,
        agent=agent,
        trigger=Trigger.IMPORT,
        status=AgentRunStatus.RUNNING,
        commit=commit,
        branch=branch,
        started_at=min(source.started_at or seen_at, seen_at),
        sarif_sha256=source.sha256,
        sarif_run_index=index,
    )
    AgentRun.objects.bulk_create([fresh], ignore_conflicts=True)
    return AgentRun.objects.select_for_update().get(
        agent=agent, sarif_sha256=source.sha256, sarif_run_index=index, commit=commit, branch=branch
    )


def _conclude(run: AgentRun, report: _Report, seen_at: datetime) -> AgentRun:
    source, now = report.source, timezone.now()
    conclude(
        run,
        status=AgentRunStatus.SUCCEEDED,
        conclusion=Conclusion(source.conclusion),
        findings=report.findings,
        metrics=report.metrics,
        tools=report.tools,
        finished_at=min(source.finished_at or now, now),
        seen_at=seen_at,
    )
    return run


def _finding(finding: SarifFinding) -> FindingInput:
    return FindingInput(
        fingerprint=finding.fingerprint,
        rule=finding.rule_id,
        tool=finding.tool,
        severity=FindingSeverity(finding.severity),
        category=finding.category or "",
        title=finding.title,
        message=finding.message,
        path=finding.path or "",
        start_line=finding.start_line,
        end_line=finding.end_line,
        start_column=finding.start_column,
        end_column=finding.end_column,
        cwe=finding.cwe,
        help_uri=finding.help_uri or "",
        snippet_sha256=finding.snippet_sha,
        suppressed=finding.suppressed,
    )
