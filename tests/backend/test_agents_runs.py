"""Agent runs from start to end: idempotency, liveness, ends, and what is refused."""

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone
from people import at_once

from backend.agents import errors, tasks
from backend.agents.models import Agent, AgentKind, AgentRun, AgentRunStatus, Conclusion, FindingSeverity, Trigger
from backend.agents.selectors import agent_runs_active, agent_runs_of, agents_all, findings_of, metrics_of
from backend.agents.services import (
    FindingInput,
    MetricInput,
    ToolInput,
    agent_run_cancel,
    agent_run_finish,
    agent_run_heartbeat,
    agent_run_start,
    agent_runs_time_out,
)
from backend.core.actor import Actor, Right, Role
from backend.core.errors import Forbidden, IdempotencyConflict, LimitExceeded, NotFound
from backend.core.tenancy import acting_for


def start(actor: Actor, **changes) -> AgentRun:
    return agent_run_start(actor=actor, **({"kind": AgentKind.CODE_QUALITY, "name": "ruff"} | changes))


def finding(rule: str, severity: FindingSeverity = FindingSeverity.MEDIUM, **changes) -> FindingInput:
    return FindingInput(rule=rule, tool="ruff", severity=severity, title=f"{rule} found", **changes)


def make_silent(run: AgentRun, minutes: int) -> None:
    with acting_for(run.organization_id):
        AgentRun.objects.filter(id=run.id).update(heartbeat_at=timezone.now() - timedelta(minutes=minutes))


def test_a_run_starts_running_and_its_agent_is_made(actor: Actor) -> None:
    run = start(actor, version="0.17.6", trigger=Trigger.CI, commit="a" * 40, branch="main")

    assert (run.status, run.trigger, run.commit, run.branch) == ("RUNNING", "CI", "a" * 40, "main")
    with acting_for(actor.organization_id):
        assert [(found.kind, found.name, found.version) for found in agents_all()] == [
            ("CODE_QUALITY", "ruff", "0.17.6")
        ]
        assert list(agent_runs_of(run.agent_id)) == list(agent_runs_active()) == [run]


def test_an_agent_is_made_once_and_takes_a_new_version(actor: Actor) -> None:
    first = start(actor, version="1")
    second = start(actor, version="2")
    third = start(actor)

    assert first.agent_id == second.agent_id == third.agent_id
    assert first.id != second.id
    with acting_for(actor.organization_id):
        assert agents_all().get().version == "2"


def test_a_key_starts_one_run(actor: Actor) -> None:
    first = start(actor, idempotency_key="build 7", commit="abcdef0")
    again = start(actor, idempotency_key="build 7", commit="abcdef0")

    assert first.id == again.id
    with pytest.raises(IdempotencyConflict):
        start(actor, idempotency_key="build 7", commit="1234567")
    assert start(actor, idempotency_key="build 7", name="other", commit="abcdef0").id != first.id


def test_eight_starts_at_once_with_one_key_are_one_run(actor: Actor) -> None:
    runs = at_once(*[lambda: start(actor, idempotency_key="k")] * 8)

    assert len({run.id for run in runs}) == 1, runs
    with acting_for(actor.organization_id):
        assert (Agent.objects.count(), AgentRun.objects.count()) == (1, 1)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": ""}, errors.BadAgentName),
        ({"name": "n" * 121}, errors.BadAgentName),
        ({"commit": "HEAD"}, errors.BadCommit),
        ({"commit": "a" * 41}, errors.BadCommit),
        ({"branch": "b" * 256}, errors.BadBranch),
        ({"branch": "a\nb"}, errors.BadBranch),
        ({"external_trace_url": "javascript:alert(1)"}, errors.BadAddress),
        ({"external_trace_url": "https://example.org/" + "x" * 500}, LimitExceeded),
        ({"version": "v" * 201}, LimitExceeded),
    ],
)
def test_a_bad_start_is_named_and_leaves_nothing(actor: Actor, changes: dict, error: type[Exception]) -> None:
    with pytest.raises(error) as refusal:
        start(actor, **changes)

    assert refusal.value.code == "BAD_USER_INPUT"
    with acting_for(actor.organization_id):
        assert not AgentRun.objects.exists()


def test_a_heartbeat_keeps_a_run_alive(actor: Actor) -> None:
    run = start(actor)
    make_silent(run, 61)

    alive = agent_run_heartbeat(actor=actor, run_id=run.id)

    assert timezone.now() - alive.heartbeat_at < timedelta(minutes=1)
    assert agent_runs_time_out(actor=actor, silent_for=timedelta(minutes=60)) == 0


def test_a_finished_run_has_findings_metrics_tools_and_counts(actor: Actor) -> None:
    run = start(actor)
    findings = [
        finding("S608", FindingSeverity.CRITICAL, path="a.py", start_line=3, cwe=(89,)),
        finding("E501", FindingSeverity.LOW, path="a.py", line_text="x  =  1", start_line=9),
        finding("E501", FindingSeverity.LOW, path="a.py", line_text="x = 1", start_line=4),
        finding("F401", FindingSeverity.HIGH, suppressed=True),
    ]

    done = agent_run_finish(
        actor=actor,
        run_id=run.id,
        conclusion=Conclusion.FAIL,
        findings=findings,
        metrics=[MetricInput("coverage.line", 0.5, 0.95, "ratio", False)],
        tools=[ToolInput("ruff", "0.17.6", 1)],
    )

    assert (done.status, done.conclusion) == ("SUCCEEDED", "FAIL")
    assert (done.critical_count, done.high_count, done.medium_count, done.low_count) == (1, 0, 0, 2)
    assert done.tools == [{"name": "ruff", "version": "0.17.6", "exitCode": 1, "skipped": False}]
    assert done.duration_ms == (done.finished_at - done.started_at) // timedelta(milliseconds=1)
    with acting_for(actor.organization_id):
        assert [(found.rule, found.severity) for found in findings_of(run.id)][:2] == [("S608", 4), ("F401", 3)]
        assert findings_of(run.id).count() == 4
        assert [(metric.name, metric.value, metric.passed) for metric in metrics_of(run.id)] == [
            ("coverage.line", 0.5, False)
        ]


def test_a_broken_auditor_ends_failed_without_a_conclusion(actor: Actor) -> None:
    run = start(actor)

    done = agent_run_finish(actor=actor, run_id=run.id, conclusion=None, status=AgentRunStatus.FAILED)

    assert (done.status, done.conclusion) == ("FAILED", None)


def test_the_baseline_is_the_last_good_run_of_the_main_branch(actor: Actor) -> None:
    runs = [start(actor, branch=branch) for branch in ("main", "feature", "main")]
    done = [agent_run_finish(actor=actor, run_id=run.id, conclusion=Conclusion.PASS) for run in runs]

    assert [run.baseline_run_id for run in done] == [None, runs[0].id, runs[0].id]


def test_a_run_that_could_not_tell_is_no_baseline(actor: Actor) -> None:
    good = agent_run_finish(actor=actor, run_id=start(actor).id, conclusion=Conclusion.PASS)
    agent_run_finish(actor=actor, run_id=start(actor).id, conclusion=Conclusion.INCONCLUSIVE)

    last = agent_run_finish(actor=actor, run_id=start(actor).id, conclusion=Conclusion.PASS)

    assert last.baseline_run_id == good.id


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"conclusion": None}, errors.BadOutcome),
        ({"status": AgentRunStatus.CANCELLED}, errors.BadOutcome),
        ({"findings": [finding("")]}, errors.TextMissing),
        ({"findings": [finding("E1", fingerprint=b"short")]}, errors.BadFingerprint),
        ({"findings": [finding("E1")] * 25_001}, LimitExceeded),
        ({"metrics": [MetricInput("a", 1), MetricInput("a", 2)]}, errors.BadMetric),
        ({"metrics": [MetricInput("a", float("nan"))]}, errors.BadMetric),
        ({"metrics": [MetricInput(str(number), 1) for number in range(1_001)]}, LimitExceeded),
    ],
)
def test_a_bad_finish_leaves_the_run_running(actor: Actor, changes: dict, error: type[Exception]) -> None:
    run = start(actor)

    with pytest.raises(error):
        agent_run_finish(actor=actor, run_id=run.id, **({"conclusion": Conclusion.PASS} | changes))

    with acting_for(actor.organization_id):
        assert AgentRun.objects.get(id=run.id).status == "RUNNING"
        assert not findings_of(run.id).exists()


def test_an_ended_run_takes_nothing_more(actor: Actor) -> None:
    run = start(actor)

    cancelled = agent_run_cancel(actor=actor, run_id=run.id)

    assert cancelled.status == "CANCELLED"
    assert cancelled.finished_at is not None
    for late in (
        lambda: agent_run_cancel(actor=actor, run_id=run.id),
        lambda: agent_run_heartbeat(actor=actor, run_id=run.id),
        lambda: agent_run_finish(actor=actor, run_id=run.id, conclusion=Conclusion.PASS),
    ):
        with pytest.raises(errors.RunEnded, match="it is CANCELLED"):
            late()


def test_of_two_ends_at_once_one_counts(actor: Actor) -> None:
    run = start(actor)

    results = at_once(
        lambda: agent_run_finish(actor=actor, run_id=run.id, conclusion=Conclusion.PASS, findings=[finding("E1")]),
        lambda: agent_run_finish(actor=actor, run_id=run.id, conclusion=Conclusion.FAIL, findings=[finding("E2")]),
    )

    assert sorted(type(result).__name__ for result in results) == ["AgentRun", "RunEnded"]
    with acting_for(actor.organization_id):
        assert findings_of(run.id).count() == 1


def test_a_silent_run_times_out_and_a_live_one_does_not(actor: Actor, other_organization) -> None:
    silent, alive = start(actor), start(actor)
    theirs = start(Actor(organization_id=other_organization.id, role=Role.OWNER))
    make_silent(silent, 61)
    make_silent(theirs, 61)

    ended = agent_runs_time_out(actor=actor, silent_for=timedelta(minutes=60))

    assert ended == 1
    with acting_for(actor.organization_id):
        found = AgentRun.objects.get(id=silent.id)
        assert (found.status, found.conclusion) == ("TIMED_OUT", "INCONCLUSIVE")
        assert found.finished_at >= found.started_at
        assert AgentRun.objects.get(id=alive.id).status == "RUNNING"
    with acting_for(other_organization.id):
        assert AgentRun.objects.get(id=theirs.id).status == "RUNNING"


def test_the_job_ends_silent_runs_of_every_organization(actor: Actor, other_organization) -> None:
    runs = [start(found) for found in (actor, Actor(organization_id=other_organization.id, role=Role.OWNER))]
    for run in runs:
        make_silent(run, 61)

    tasks.end_silent_runs(0)

    for run in runs:
        with acting_for(run.organization_id):
            assert AgentRun.objects.get(id=run.id).status == "TIMED_OUT"


@pytest.mark.parametrize("role", [Role.ANALYST, Role.VIEWER, Role.AUDITOR])
def test_who_may_only_read_starts_and_ends_nothing(actor: Actor, actor_as, role: Role) -> None:
    run, reader = start(actor), actor_as(role)

    for attempt in (
        lambda: start(reader),
        lambda: agent_run_heartbeat(actor=reader, run_id=run.id),
        lambda: agent_run_finish(actor=reader, run_id=run.id, conclusion=Conclusion.PASS),
        lambda: agent_run_cancel(actor=reader, run_id=run.id),
    ):
        with pytest.raises(Forbidden):
            attempt()


def test_a_program_needs_the_scope(actor: Actor) -> None:
    program = replace(actor, role=Role.SERVICE, token_id=uuid.uuid4(), scopes=frozenset({Right.AGENTS_READ}))

    with pytest.raises(Forbidden):
        start(program)

    assert start(replace(program, scopes=frozenset({Right.AGENTS_WRITE}))).status == "RUNNING"


def test_the_run_of_another_organization_does_not_exist(actor: Actor, other_organization) -> None:
    run = start(actor)
    stranger = Actor(organization_id=other_organization.id, role=Role.OWNER)

    for attempt in (agent_run_heartbeat, agent_run_cancel):
        with pytest.raises(NotFound):
            attempt(actor=stranger, run_id=run.id)
