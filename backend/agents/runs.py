"""Writes of agent runs from start to end; what a run found is written by findings.py."""

import re
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.db.models import F
from django.db.models.functions import Greatest, Now
from django.utils import timezone

from backend.accounts.free_text import Screen
from backend.agents import errors
from backend.agents.checks import (
    VERSION,
    checked_address,
    checked_findings,
    checked_metrics,
    checked_progress,
    checked_tools,
)
from backend.agents.findings import MAIN_BRANCHES, count_by_severity, findings_write, lock_agent, states_fix, states_see
from backend.agents.inputs import FindingInput, MetricInput, ToolInput, by_fingerprint
from backend.agents.models import Agent, AgentKind, AgentMetric, AgentRun, AgentRunStatus, Conclusion, Trigger
from backend.agents.progress import progress_note
from backend.agents.screening import screened_findings, screened_metrics, screened_tools
from backend.core.actor import Actor, Right
from backend.core.errors import IdempotencyConflict, NotFound
from backend.core.tenancy import write

NAME_LENGTH = 120
BRANCH_LENGTH = 255
ACTIVE = (AgentRunStatus.QUEUED, AgentRunStatus.RUNNING)

_COMMIT = re.compile(r"[0-9a-f]{7,40}", re.ASCII)
_MILLISECOND = timedelta(milliseconds=1)


def agent_ensure(actor: Actor, *, kind: AgentKind, name: str, version: str = "") -> Agent:
    """The agent of this kind and name, made if it is new, with the version that it says it has.

    Raises: BadAgentName.
    SQL: 1; 2 for another version; 3 for a new agent. Within the caller's transaction.
    """
    name = name.strip()
    if not name or len(name) > NAME_LENGTH or not name.isprintable():
        raise errors.BadAgentName(limit=NAME_LENGTH, path=("agent",))
    known = Agent.objects.filter(kind=kind, name=name)
    agent = known.first()
    if agent is None:
        fresh = Agent(organization_id=actor.organization_id, kind=kind, name=name, version=version)
        Agent.objects.bulk_create([fresh], ignore_conflicts=True)
        agent = known.get()
    if version and agent.version != version:
        agent.version = version
        agent.save(update_fields=["version"])
    return agent


def checked_origin(commit: str, branch: str) -> tuple[str, str]:
    """The commit in lower case, and the branch.

    Raises: BadCommit, BadBranch.
    """
    commit = commit.lower()
    if commit and not _COMMIT.fullmatch(commit):
        raise errors.BadCommit(path=("commit",))
    if len(branch) > BRANCH_LENGTH or not branch.isprintable():
        raise errors.BadBranch(limit=BRANCH_LENGTH, path=("branch",))
    return commit, branch


def agent_run_start(
    *,
    actor: Actor,
    kind: AgentKind,
    name: str,
    version: str = "",
    trigger: Trigger = Trigger.MANUAL,
    commit: str = "",
    branch: str = "",
    idempotency_key: str | None = None,
    external_trace_url: str = "",
) -> AgentRun:
    """The RUNNING run; with a key that the agent used before, the run of that time.

    Raises:
        Forbidden, BadAgentName, BadCommit, BadBranch, BadAddress.
        LimitExceeded: a text is too long. IdentifiesPerson: a text does.
        IdempotencyConflict: the key belongs to a run of another trigger, commit or branch.
    SQL: BEGIN, 6 to 8, COMMIT; 4 to 6 with a key that was used before.
    """
    actor.require(Right.AGENTS_WRITE)
    commit, branch = checked_origin(commit, branch)
    version, trace = VERSION.of(version, "version"), checked_address(external_trace_url, "external_trace_url")
    screen = Screen(actor)
    name, version = screen.of(name, "agent", with_names=False), screen.of(version, "version", with_names=False)
    branch = screen.of(branch, "branch", with_names=False)
    trace = screen.of(trace, "external_trace_url", with_names=False)
    with write(actor):
        run = AgentRun(
            organization_id=actor.organization_id,
            agent=agent_ensure(actor, kind=kind, name=name, version=version),
            trigger=trigger,
            commit=commit,
            branch=branch,
            idempotency_key=idempotency_key,
            external_trace_url=trace,
        )
        AgentRun.objects.bulk_create([run], ignore_conflicts=True)
        known = {"id": run.id} if idempotency_key is None else {"idempotency_key": idempotency_key}
        found = AgentRun.objects.get(agent_id=run.agent_id, **known)
        if found.id == run.id:
            progress_note([run])
    if (found.trigger, found.commit, found.branch) != (trigger, commit, branch):
        raise IdempotencyConflict(path=("idempotencyKey",))
    return found


def _active_run(run_id: uuid.UUID) -> AgentRun:
    run = AgentRun.objects.select_for_update().filter(id=run_id).first()
    if run is None:
        raise NotFound(path=("id",))
    if run.status not in ACTIVE:
        raise errors.RunEnded(status=run.status, path=("id",))
    return run


def agent_run_heartbeat(
    *, actor: Actor, run_id: uuid.UUID, phase: str = "", done: int | None = None, total: int | None = None
) -> AgentRun:
    """The run, known to be alive at this time; how far it says it has come is told to those who follow it.

    Raises: Forbidden, NotFound, RunEnded, LimitExceeded, NumberOutOfRange, BadProgress, IdentifiesPerson.
    SQL: BEGIN, 3, COMMIT; 2 more where the run says something or was QUEUED.
    """
    actor.require(Right.AGENTS_WRITE)
    phase, done, total = checked_progress(phase, done, total)
    phase = Screen(actor).of(phase, "phase", with_names=False)
    with write(actor):
        run = _active_run(run_id)
        says_something = bool(phase) or done is not None or total is not None
        is_news = says_something or run.status != AgentRunStatus.RUNNING
        run.status, run.heartbeat_at = AgentRunStatus.RUNNING, timezone.now()
        run.save(update_fields=["status", "heartbeat_at"])
        if is_news:
            progress_note([run], phase=phase, done=done, total=total)
    return run


def _end(run: AgentRun, status: AgentRunStatus, finished_at: datetime) -> None:
    run.status = status
    run.finished_at = max(finished_at, run.started_at)
    run.duration_ms = (run.finished_at - run.started_at) // _MILLISECOND


def _baseline(run: AgentRun) -> AgentRun | None:
    earlier = AgentRun.objects.filter(
        agent_id=run.agent_id,
        status=AgentRunStatus.SUCCEEDED,
        conclusion__in=(Conclusion.PASS, Conclusion.FAIL),
        branch__in=MAIN_BRANCHES,
        started_at__lt=run.started_at,
    )
    if run.sarif_sha256 is not None:
        earlier = earlier.exclude(sarif_sha256=run.sarif_sha256)
    return earlier.order_by("-started_at", "-id").first()


def conclude(
    run: AgentRun,
    *,
    status: AgentRunStatus,
    conclusion: Conclusion | None,
    findings: Sequence[FindingInput],
    metrics: Iterable[MetricInput],
    tools: Iterable[ToolInput],
    finished_at: datetime,
    seen_at: datetime,
) -> None:
    """Ends a run that the caller holds locked: findings, metrics, counts and states, within its transaction.

    What it takes has been checked. What is fixed is for the caller to tell, with states_fix and the same `seen_at`.

    Raises: BadOutcome.
    SQL: 4, and 1 per 1,000 findings.
    """
    is_valid = conclusion is not None if status is AgentRunStatus.SUCCEEDED else status is AgentRunStatus.FAILED
    if not is_valid:
        raise errors.BadOutcome(path=("conclusion",))
    sorted_findings = by_fingerprint(findings)
    _end(run, status, finished_at)
    run.conclusion = conclusion
    run.tools = [tool.as_json() for tool in tools]
    run.baseline_run = _baseline(run)
    count_by_severity(run, sorted_findings)
    run.save()
    AgentMetric.objects.bulk_create(
        AgentMetric(
            organization_id=run.organization_id,
            run_id=run.id,
            name=metric.name,
            value=metric.value,
            threshold=metric.threshold,
            unit=metric.unit,
            passed=metric.passed,
        )
        for metric in metrics
    )
    lock_agent(run.agent_id)
    findings_write(run, sorted_findings)
    states_see(run, [key for key, _ in sorted_findings], seen_at)


def agent_run_finish(
    *,
    actor: Actor,
    run_id: uuid.UUID,
    conclusion: Conclusion | None,
    status: AgentRunStatus = AgentRunStatus.SUCCEEDED,
    findings: Sequence[FindingInput] = (),
    metrics: Sequence[MetricInput] = (),
    tools: Sequence[ToolInput] = (),
) -> AgentRun:
    """The ended run: SUCCEEDED with what it concludes, or FAILED when the auditor itself broke down.

    Raises: Forbidden, NotFound, RunEnded, BadOutcome, IdentifiesPerson, and what checks.py raises; the path leads to
        the fault.
    SQL: BEGIN, 9, 1 per 1,000 findings, COMMIT.
    """
    actor.require(Right.AGENTS_WRITE)
    screen = Screen(actor)
    fit_findings = screened_findings(screen, checked_findings(findings))
    fit_metrics = screened_metrics(screen, checked_metrics(metrics))
    fit_tools = screened_tools(screen, checked_tools(tools))
    with write(actor):
        run = _active_run(run_id)
        conclude(
            run,
            status=status,
            conclusion=conclusion,
            findings=fit_findings,
            metrics=fit_metrics,
            tools=fit_tools,
            finished_at=timezone.now(),
            seen_at=run.started_at,
        )
        states_fix(run.agent_id, [run], run.started_at)
        progress_note([run])
    return run


def agent_run_cancel(*, actor: Actor, run_id: uuid.UUID) -> AgentRun:
    """The CANCELLED run.

    Raises: Forbidden, NotFound, RunEnded.
    SQL: BEGIN, 5, COMMIT.
    """
    actor.require(Right.AGENTS_WRITE)
    with write(actor):
        run = _active_run(run_id)
        _end(run, AgentRunStatus.CANCELLED, timezone.now())
        run.save(update_fields=["status", "finished_at", "duration_ms"])
        progress_note([run])
    return run


def agent_runs_time_out(*, actor: Actor, silent_for: timedelta) -> int:
    """How many of the organization's runs gave no sign of life for so long, and are TIMED_OUT.

    A run that is being finished at this moment is left alone.

    SQL: BEGIN, 5, COMMIT; 2 where there are none.
    """
    with write(actor):
        silent = AgentRun.objects.filter(status__in=ACTIVE, heartbeat_at__lt=timezone.now() - silent_for)
        runs = list(silent.order_by("id").select_for_update(skip_locked=True).only("id", "organization_id"))
        if not runs:
            return 0
        AgentRun.objects.filter(id__in=[run.id for run in runs]).update(
            status=AgentRunStatus.TIMED_OUT,
            conclusion=Conclusion.INCONCLUSIVE,
            finished_at=Greatest(Now(), F("started_at")),
        )
        for run in runs:
            run.status = AgentRunStatus.TIMED_OUT
        progress_note(runs)
    return len(runs)
