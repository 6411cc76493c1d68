"""What agents, runs and findings can be filtered by."""

import strawberry

from backend.agents.models import AgentKind, AgentRunStatus, Conclusion, FindingSeverity, FindingStatus, Trigger
from schema.filters.lookups import (
    Comparison,
    DateTimeComparison,
    Equality,
    IdComparison,
    TextComparison,
    condition,
    key_of,
    lookup,
    prefix,
    prefix_bounds,
)


@strawberry.input(description="Conditions on an agent; all that are given must hold.")
class AgentFilter:
    kind: Equality[AgentKind] | None = lookup("kind", "What it looks at.")
    name: TextComparison | None = lookup("name", "Its name.")


@strawberry.input(description="Conditions on an agent run; all that are given must hold.")
class AgentRunFilter:
    agent: IdComparison | None = lookup("agent_id", "The auditor.", key_of("AG", "Agent"))
    kind: Equality[AgentKind] | None = lookup("agent__kind", "What the auditor looks at.")
    status: Equality[AgentRunStatus] | None = lookup("status", "How far it has come.")
    conclusion: Equality[Conclusion] | None = lookup("conclusion", "What it says.")
    trigger: Equality[Trigger] | None = lookup("trigger", "What started it.")
    branch: TextComparison | None = lookup("branch", "Branch that it looked at.")
    commit: TextComparison | None = lookup("commit", "Commit that it looked at; letters of either case.", str.lower)
    started_at: DateTimeComparison | None = lookup("started_at", "When it began.")


@strawberry.input(description="Conditions on a finding of a run; all that are given must hold.")
class FindingFilter:
    severity: Comparison[FindingSeverity] | None = lookup("severity", "How much it matters; INFO is the least.")
    rule: TextComparison | None = lookup("rule", "Id of the rule.")
    tool: TextComparison | None = lookup("tool", "The tool that reported it.")
    path_prefix: str | None = condition(
        "finding.path_prefix", prefix("path"), "Only in files whose path starts so.", prefix_bounds
    )


@strawberry.input(description="Conditions on a finding across runs; all that are given must hold.")
class FindingStateFilter:
    agent: IdComparison | None = lookup("agent_id", "The auditor.", key_of("AG", "Agent"))
    kind: Equality[AgentKind] | None = lookup("agent__kind", "What the auditor looks at.")
    status: Equality[FindingStatus] | None = lookup("status", "Where it stands.")
    severity: Comparison[FindingSeverity] | None = lookup("severity", "How much it matters; INFO is the least.")
    rule: TextComparison | None = lookup("rule", "Id of the rule.")
    path_prefix: str | None = condition(
        "finding_state.path_prefix", prefix("path"), "Only in files whose path starts so.", prefix_bounds
    )
