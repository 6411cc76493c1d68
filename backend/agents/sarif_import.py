"""Stores what a SARIF document says as ended agent runs, one per run of the document; it is read by sarif.py."""

from pathlib import Path

from django.conf import settings
from django.utils import timezone

from backend.agents.checkout import Checkout
from backend.agents.checks import MAX_FINDINGS
from backend.agents.errors import NoCheckout
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
from backend.agents.runs import ACTIVE, BRANCH_LENGTH, agent_ensure, check_origin, conclude
from backend.agents.sarif import read_sarif
from backend.agents.sarif_model import SarifFinding, SarifRun
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
        Forbidden, BadAgentName, BadCommit, BadBranch, LimitExceeded; and what read_sarif raises for a document that is
        no SARIF 2.1.0. Then nothing was written.
    SQL: BEGIN, 2, then 9 per run and 1 per 1,000 findings, COMMIT; 2 per run that was imported before.
    """
    actor.require(Right.AGENTS_WRITE)
    check_origin(commit, branch)
    sources = None if checkout is None else _checkout(checkout)
    with within("file"):
        runs = read_sarif(
            document,
            root=None if sources is None else str(sources.root),
            source_line=None if sources is None else sources.line,
            max_bytes=settings.ENVIRONMENT.max_sarif_bytes,
            max_results=MAX_FINDINGS,
        )
    with write(actor):
        version = next((tool.version for run in runs for tool in run.tools[:1] if tool.version), "")
        agent = agent_ensure(actor, kind=kind, name=name, version=version)
        return tuple(
            _import_run(agent, index, run, commit=commit or run.commit or "", branch=branch or _branch(run))
            for index, run in enumerate(runs)
        )


def _checkout(root: Path) -> Checkout:
    if not root.is_dir():
        raise NoCheckout
    return Checkout(root)


def _branch(run: SarifRun) -> str:
    branch = (run.branch or "").removeprefix("refs/heads/")
    return branch if len(branch) <= BRANCH_LENGTH and branch.isprintable() else ""


def _import_run(agent: Agent, index: int, source: SarifRun, *, commit: str, branch: str) -> AgentRun:
    now = timezone.now()
    fresh = AgentRun(
        organization_id=agent.organization_id,
        agent=agent,
        trigger=Trigger.IMPORT,
        status=AgentRunStatus.RUNNING,
        commit=commit,
        branch=branch,
        # A clock that runs ahead must not make every later run look older than this one.
        started_at=min(source.started_at or now, now),
        sarif_sha256=source.sha256,
        sarif_run_index=index,
    )
    AgentRun.objects.bulk_create([fresh], ignore_conflicts=True)
    run = AgentRun.objects.select_for_update().get(
        agent=agent, sarif_sha256=source.sha256, sarif_run_index=index, commit=commit, branch=branch
    )
    if run.status in ACTIVE:
        conclude(
            run,
            status=AgentRunStatus.SUCCEEDED,
            conclusion=Conclusion(source.conclusion),
            findings=[_finding(finding) for finding in source.findings],
            metrics=[MetricInput(m.name, m.value, m.threshold, m.unit or "", m.passed) for m in source.metrics],
            tools=[ToolInput(tool.name, tool.version, tool.exit_code, tool.skipped) for tool in source.tools],
            finished_at=min(source.finished_at or now, now),
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
