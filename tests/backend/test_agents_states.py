"""What is known of a finding across runs, and what people decide about it."""

from datetime import timedelta

import pytest
from django.utils import timezone
from people import at_once

from backend.agents import errors, tasks
from backend.agents.models import (
    Agent,
    AgentKind,
    AgentRun,
    AgentRunStatus,
    Conclusion,
    Finding,
    FindingSeverity,
    FindingState,
    FindingStatus,
)
from backend.agents.selectors import finding_states_unsettled
from backend.agents.services import (
    FindingInput,
    ToolInput,
    agent_run_finish,
    agent_run_start,
    finding_triage,
    suppressions_expire,
)
from backend.core.actor import Actor, Role
from backend.core.errors import Forbidden, NotFound
from backend.core.tenancy import acting_for

OPEN, ACKNOWLEDGED, FIXED = FindingStatus.OPEN, FindingStatus.ACKNOWLEDGED, FindingStatus.FIXED
SUPPRESSED, REOPENED = FindingStatus.SUPPRESSED, FindingStatus.REOPENED


def finding(rule: str, *, suppressed: bool = False, severity: FindingSeverity = FindingSeverity.LOW) -> FindingInput:
    return FindingInput(rule=rule, tool="ruff", severity=severity, title=rule, path=f"{rule}.py", suppressed=suppressed)


def run(actor: Actor, *rules: str | FindingInput, branch: str = "main", hours_ago: int = 0, **changes) -> AgentRun:
    """A run that saw these rules broken, started some hours ago."""
    begun = agent_run_start(actor=actor, kind=AgentKind.CODE_QUALITY, name="ruff", branch=branch)
    if hours_ago:
        with acting_for(actor.organization_id):
            AgentRun.objects.filter(id=begun.id).update(started_at=timezone.now() - timedelta(hours=hours_ago))
    findings = [finding(rule) if isinstance(rule, str) else rule for rule in rules]
    given = {"conclusion": Conclusion.PASS, "findings": findings} | changes
    return agent_run_finish(actor=actor, run_id=begun.id, **given)


def states(actor: Actor) -> dict[str, str]:
    with acting_for(actor.organization_id):
        return dict(FindingState.objects.order_by("rule").values_list("rule", "status"))


def state(actor: Actor, rule: str) -> FindingState:
    with acting_for(actor.organization_id):
        return FindingState.objects.select_related("latest_finding").get(rule=rule)


def decide(actor: Actor, rule: str, status: FindingStatus, **changes) -> FindingState:
    known = state(actor, rule)
    return finding_triage(
        actor=actor, agent_id=known.agent_id, fingerprint=bytes(known.fingerprint), status=status, **changes
    )


def let_expire(actor: Actor, rule: str) -> None:
    with acting_for(actor.organization_id):
        FindingState.objects.filter(rule=rule).update(expires_at=timezone.now() - timedelta(seconds=1))


def test_a_finding_is_opened_fixed_and_reopened(actor: Actor) -> None:
    first = run(actor, "E1", "E2")
    assert states(actor) == {"E1": OPEN, "E2": OPEN}

    second = run(actor, "E2")
    assert states(actor) == {"E1": FIXED, "E2": OPEN}

    third = run(actor, "E1", "E2")
    assert states(actor) == {"E1": REOPENED, "E2": OPEN}
    known = state(actor, "E1")
    assert (known.first_seen_run_id, known.last_seen_run_id, known.latest_finding.run_id) == (
        first.id,
        third.id,
        third.id,
    )
    assert (known.first_seen_at, known.last_seen_at) == (first.started_at, third.started_at)
    assert state(actor, "E2").last_seen_run_id != second.id


@pytest.mark.parametrize("branch", ["feature", "maintenance"])
def test_another_branch_opens_findings_and_fixes_none(actor: Actor, branch: str) -> None:
    run(actor, "E1")

    run(actor, "E2", branch=branch)
    assert states(actor) == {"E1": OPEN, "E2": OPEN}

    run(actor, "E1")
    assert states(actor) == {"E1": OPEN, "E2": FIXED}


@pytest.mark.parametrize("branch", ["master", ""])
def test_master_and_no_branch_count_as_main(actor: Actor, branch: str) -> None:
    run(actor, "E1")

    run(actor, branch=branch)

    assert states(actor) == {"E1": FIXED}


def test_a_run_that_broke_down_fixes_nothing(actor: Actor) -> None:
    run(actor, "E1")

    run(actor, conclusion=None, status=AgentRunStatus.FAILED)

    assert states(actor) == {"E1": OPEN}


@pytest.mark.parametrize(
    "changes",
    [
        {"conclusion": Conclusion.INCONCLUSIVE},
        {"conclusion": Conclusion.FAIL, "tools": [ToolInput("ruff"), ToolInput("mypy", skipped=True)]},
    ],
    ids=["inconclusive", "tool skipped"],
)
def test_a_run_that_did_not_look_at_everything_fixes_nothing(actor: Actor, changes: dict) -> None:
    run(actor, "E1")

    run(actor, "E2", **changes)
    assert states(actor) == {"E1": OPEN, "E2": OPEN}

    run(actor, "E2")
    assert states(actor) == {"E1": FIXED, "E2": OPEN}


def test_an_older_run_that_comes_late_moves_only_the_first_sight(actor: Actor) -> None:
    newer = run(actor, finding("E1", severity=FindingSeverity.HIGH), "E2")
    run(actor, "E2")

    older = run(actor, "E1", hours_ago=5)

    known = state(actor, "E1")
    assert states(actor) == {"E1": FIXED, "E2": OPEN}
    assert (known.first_seen_run_id, known.last_seen_run_id, known.severity) == (older.id, newer.id, 3)
    assert known.first_seen_at == older.started_at


def test_another_agent_has_states_of_its_own(actor: Actor) -> None:
    run(actor, "E1")
    other = agent_run_start(actor=actor, kind=AgentKind.EXTERNAL, name="scanner", branch="main")

    agent_run_finish(actor=actor, run_id=other.id, conclusion=Conclusion.PASS)

    assert states(actor) == {"E1": OPEN}


def test_a_decision_outlives_runs_until_the_finding_is_gone(actor: Actor) -> None:
    run(actor, "E1")
    decide(actor, "E1", ACKNOWLEDGED)

    run(actor, "E1")
    assert states(actor) == {"E1": ACKNOWLEDGED}

    run(actor)
    assert states(actor) == {"E1": FIXED}


def test_a_suppression_outlives_runs_with_and_without_the_finding(actor: Actor) -> None:
    run(actor, "E1")
    decided = decide(actor, "E1", SUPPRESSED, justification="  false alarm  ")

    run(actor, "E1")
    run(actor)

    assert states(actor) == {"E1": SUPPRESSED}
    assert (decided.justification, decided.decided_at is not None) == ("false alarm", True)


def test_an_expired_suppression_is_reopened_by_the_next_run(actor: Actor) -> None:
    run(actor, "E1")
    decide(actor, "E1", SUPPRESSED, justification="later", expires_at=timezone.now() + timedelta(days=1))
    let_expire(actor, "E1")

    run(actor, "E1")

    assert (states(actor), state(actor, "E1").expires_at) == ({"E1": REOPENED}, None)


def test_an_expired_suppression_is_reopened_by_the_job(actor: Actor) -> None:
    run(actor, "E1", "E2")
    for rule in ("E1", "E2"):
        decide(actor, rule, SUPPRESSED, justification="later", expires_at=timezone.now() + timedelta(days=1))
    let_expire(actor, "E1")

    tasks.reopen_findings(0)

    assert states(actor) == {"E1": REOPENED, "E2": SUPPRESSED}
    assert suppressions_expire(actor=actor) == 0


def test_the_source_suppresses_and_unsuppresses(actor: Actor) -> None:
    run(actor, finding("E1", suppressed=True), "E2")
    assert states(actor) == {"E1": SUPPRESSED, "E2": OPEN}

    run(actor, "E1", finding("E2", suppressed=True))

    assert states(actor) == {"E1": REOPENED, "E2": SUPPRESSED}
    assert state(actor, "E2").justification
    with acting_for(actor.organization_id):
        assert [found.rule for found in finding_states_unsettled()] == ["E1"]


def test_what_a_person_suppressed_stays_so_when_the_source_does_not(actor: Actor) -> None:
    run(actor, "E1")
    decide(actor, "E1", SUPPRESSED, justification="false alarm")

    run(actor, finding("E1", suppressed=True))
    run(actor, "E1")

    assert states(actor) == {"E1": SUPPRESSED}


@pytest.mark.parametrize(
    ("status", "changes", "error"),
    [
        (SUPPRESSED, {}, errors.JustificationMissing),
        (SUPPRESSED, {"justification": " "}, errors.JustificationMissing),
        (REOPENED, {}, errors.BadTriage),
        (OPEN, {"expires_at": timezone.now() + timedelta(days=1)}, errors.BadSuppressionExpiry),
        (
            SUPPRESSED,
            {"justification": "x", "expires_at": timezone.now() - timedelta(days=1)},
            errors.BadSuppressionExpiry,
        ),
    ],
)
def test_a_bad_decision_changes_nothing(
    actor: Actor, status: FindingStatus, changes: dict, error: type[Exception]
) -> None:
    run(actor, "E1")

    with pytest.raises(error):
        decide(actor, "E1", status, **changes)

    assert states(actor) == {"E1": OPEN}


@pytest.mark.parametrize("role", [Role.ANALYST, Role.VIEWER, Role.AUDITOR])
def test_readers_decide_nothing(actor: Actor, actor_as, role: Role) -> None:
    run(actor, "E1")
    known = state(actor, "E1")

    with pytest.raises(Forbidden):
        finding_triage(
            actor=actor_as(role), agent_id=known.agent_id, fingerprint=bytes(known.fingerprint), status=FIXED
        )


def test_the_finding_of_another_organization_does_not_exist(actor: Actor, other_organization) -> None:
    run(actor, "E1")
    known = state(actor, "E1")
    stranger = Actor(organization_id=other_organization.id, role=Role.OWNER)

    with pytest.raises(NotFound):
        finding_triage(actor=stranger, agent_id=known.agent_id, fingerprint=bytes(known.fingerprint), status=FIXED)


def test_a_decision_says_who_made_it(actor: Actor, actor_as) -> None:
    run(actor, "E1")
    ann = actor_as(Role.ADMIN)

    assert decide(ann, "E1", FIXED).decided_by == ann.user_id


def test_eight_runs_that_end_at_once_lose_nothing_and_duplicate_nothing(actor: Actor) -> None:
    rules = [f"E{number:03}" for number in range(60)]
    begun = [agent_run_start(actor=actor, kind=AgentKind.CODE_QUALITY, name="ruff", branch="feature") for _ in range(8)]

    def finish(index: int) -> AgentRun:
        # Each sends its own half, in its own order.
        mine = [finding(rule) for number, rule in enumerate(rules) if (number + index) % 2][:: (-1) ** index]
        return agent_run_finish(actor=actor, run_id=begun[index].id, conclusion=Conclusion.FAIL, findings=mine)

    results = at_once(*(lambda index=index: finish(index) for index in range(8)))

    assert all(isinstance(result, AgentRun) for result in results), results
    assert states(actor) == dict.fromkeys(rules, OPEN)
    with acting_for(actor.organization_id):
        assert (Agent.objects.count(), Finding.objects.count()) == (1, 8 * 30)
