"""Object types of agents, their runs, findings and metrics."""

import datetime
from typing import Any

import strawberry
import strawberry_django

from backend.agents import models
from backend.agents.models import (
    AgentKind,
    AgentRunStatus,
    Conclusion,
    FindingSeverity,
    FindingStatus,
    Trigger,
)
from backend.core.actor import Right
from schema.declarations import Conversion
from schema.declare import (
    aggregate,
    child_first,
    child_list,
    child_page,
    child_top,
    column,
    global_id,
    hexadecimal,
    orders,
    to_one,
)
from schema.filters.agents import FindingFilter
from schema.relay.connection import Connection
from schema.relay.keyset import Order
from schema.relay.node import Node
from schema.relay.pages import ListSource
from schema.scalars import BigIntValue


@strawberry.type(description="Findings by severity.")
class SeverityCounts:
    critical: int = strawberry.field(description="Of severity CRITICAL.")
    high: int = strawberry.field(description="Of severity HIGH.")
    medium: int = strawberry.field(description="Of severity MEDIUM.")
    low: int = strawberry.field(description="Of severity LOW.")
    info: int = strawberry.field(description="Of severity INFO.")


_LEVELS = {"critical": 4, "high": 3, "medium": 2, "low": 1, "info": 0}
_OPEN_FINDINGS = (
    "SELECT agent_id, "
    + ", ".join(f"count(*) FILTER (WHERE severity = {level}) AS {name}" for name, level in _LEVELS.items())
    + " FROM finding_state WHERE status IN ('OPEN', 'REOPENED') AND agent_id = ANY(%s) GROUP BY agent_id"
)


@strawberry.type(description="A tool that a run used.")
class AgentTool:
    name: str = strawberry.field(description="Name of the tool.")
    version: str = strawberry.field(description="Its version; empty when not known.")
    exit_code: int | None = strawberry.field(description="How its process ended; null when not known.")
    skipped: bool = strawberry.field(description="Whether it could not do its work, which makes a run INCONCLUSIVE.")


# A link with another scheme could run a script in a browser.
_web_address = Conversion(
    lambda uri: uri if uri.startswith(("https://", "http://")) else "",
    lambda uri: f"CASE WHEN starts_with({uri}, 'https://') OR starts_with({uri}, 'http://') THEN {uri} ELSE '' END",
)


def _tools(found: list[dict[str, Any]]) -> list[AgentTool]:
    return [
        AgentTool(
            name=tool["name"],
            version=tool.get("version") or "",
            exit_code=tool.get("exitCode"),
            skipped=bool(tool.get("skipped", False)),
        )
        for tool in found
    ]


@strawberry_django.type(
    models.AgentMetric, name="AgentMetric", description="A number that a run measured, such as coverage.line."
)
class AgentMetric(Node):
    id: strawberry.ID = global_id("AM", models.AgentMetric, "AgentMetric", right=Right.AGENTS_READ)
    name: str = column("Dotted name; unique in the run.", "name")
    value: float = column("The number, in `unit`.", "value")
    threshold: float | None = column("What it is held against; null without one.", "threshold")
    unit: str = column("Unit; empty for a plain number.", "unit")
    passed: bool | None = column("Whether it meets the threshold; null without one.", "passed")


@strawberry_django.type(models.Finding, name="Finding", description="One thing that a run reports.")
class Finding(Node):
    id: strawberry.ID = global_id("FI", models.Finding, "Finding", right=Right.AGENTS_READ)
    fingerprint: str = column(
        "What makes it the same finding in another run; 64 hexadecimal digits.", "fingerprint", hexadecimal
    )
    rule: str = column("Id of the rule that it breaks.", "rule")
    tool: str = column("The tool that reported it.", "tool")
    severity: FindingSeverity = column("How much it matters.", "severity")
    category: str = column("Category; empty without one.", "category")
    title: str = column("One line.", "title")
    message: str = column("The tool's message.", "message")
    path: str = column("File, relative to the repository; empty without one.", "path")
    start_line: int | None = column("First line, from 1; null without one.", "start_line")
    end_line: int | None = column("Last line; null without one.", "end_line")
    start_column: int | None = column("First column, from 1; null without one.", "start_column")
    end_column: int | None = column("Last column; null without one.", "end_column")
    cwe: list[int] = column("Numbers of the Common Weakness Enumeration; usually at most three.", "cwe")
    help_uri: str = column("Where the rule is explained, http or https; empty without one.", "help_uri", _web_address)
    suppressed: bool = column("Whether the source code itself suppresses it.", "suppressed")


FindingOrder = orders(
    "FindingOrder", Order("SEVERITY_DESC", ("severity",), descending=True, description="The most severe first.")
)
RUN_FINDINGS = ListSource(
    "run.findings",
    models.Finding,
    models.Finding.objects.all,
    FindingOrder,
    FindingOrder.SEVERITY_DESC,
    parent="run_id",
)


@strawberry_django.type(models.AgentRun, name="AgentRun", description="One execution of an automated auditor.")
class AgentRun(Node):
    id: strawberry.ID = global_id("RU", models.AgentRun, "AgentRun", right=Right.AGENTS_READ)
    agent: "Agent" = to_one("The auditor.", "agent_id", models.Agent)
    trigger: Trigger = column("What started it.", "trigger")
    status: AgentRunStatus = column("How far it has come.", "status")
    conclusion: Conclusion | None = column("What it says; null until it succeeded.", "conclusion")
    commit: str = column("Commit that it looked at, up to 40 hexadecimal digits; empty when not known.", "commit")
    branch: str = column("Branch that it looked at; empty when not known.", "branch")
    tools: list[AgentTool] = column("The tools that it used; usually one, at most a few.", "tools", _tools)
    critical: int = column("Findings of severity CRITICAL.", "critical_count")
    high: int = column("Findings of severity HIGH.", "high_count")
    medium: int = column("Findings of severity MEDIUM.", "medium_count")
    low: int = column("Findings of severity LOW.", "low_count")
    info: int = column("Findings of severity INFO.", "info_count")
    started_at: datetime.datetime = column("When it began.", "started_at")
    heartbeat_at: datetime.datetime = column("When it last gave a sign of life.", "heartbeat_at")
    finished_at: datetime.datetime | None = column("When it ended; null until then.", "finished_at")
    duration_ms: BigIntValue | None = column("How long it took in milliseconds; null until it ended.", "duration_ms")
    baseline_run: "AgentRun | None" = to_one(
        "The run it is compared with; null without one.", "baseline_run_id", models.AgentRun
    )
    metrics: list[AgentMetric] = child_list(
        "What it measured, by name; at most 1,000.",
        "run.metrics",
        lambda: models.AgentMetric.objects.order_by("name", "id"),
        "run_id",
    )
    findings: Connection[Finding] = child_page("What it reports.", RUN_FINDINGS, FindingFilter)


AgentRunOrder = orders(
    "AgentRunOrder", Order("STARTED_AT_DESC", ("started_at",), descending=True, description="The latest first.")
)
RUNS = ListSource(
    "agentRuns", models.AgentRun, models.AgentRun.objects.all, AgentRunOrder, AgentRunOrder.STARTED_AT_DESC
)
AGENT_RUNS = ListSource(
    "agent.runs",
    models.AgentRun,
    models.AgentRun.objects.all,
    AgentRunOrder,
    AgentRunOrder.STARTED_AT_DESC,
    parent="agent_id",
)


@strawberry_django.type(models.Agent, name="Agent", description="An automated auditor.")
class Agent(Node):
    id: strawberry.ID = global_id("AG", models.Agent, "Agent", right=Right.AGENTS_READ)
    kind: AgentKind = column("What it looks at.", "kind")
    name: str = column("Name; unique among agents of its kind.", "name")
    version: str = column("Version; empty when not known.", "version")
    last_run: AgentRun | None = child_first("The latest run; null before the first.", AGENT_RUNS)
    trend: list[AgentRun] = child_top("The latest runs, latest first.", AGENT_RUNS, size=10)
    runs: Connection[AgentRun] = child_page("Its runs.", AGENT_RUNS)
    open_findings: SeverityCounts = aggregate(
        "Findings that are open across runs, by severity.",
        "agent.open_findings",
        _OPEN_FINDINGS,
        SeverityCounts,
        tuple(_LEVELS),
    )


AgentOrder = orders("AgentOrder", Order("NAME_ASC", ("name",), descending=False, description="By name, A first."))
AGENTS = ListSource("agents", models.Agent, models.Agent.objects.all, AgentOrder, AgentOrder.NAME_ASC)


@strawberry_django.type(
    models.FindingState,
    name="FindingState",
    description="What is known of one finding across the runs of an agent, and what people decided about it.",
)
class FindingState(Node):
    id: strawberry.ID = global_id("FS", models.FindingState, "FindingState", right=Right.AGENTS_READ)
    agent: Agent = to_one("The auditor.", "agent_id", models.Agent)
    fingerprint: str = column(
        "What makes it the same finding in each run; 64 hexadecimal digits.", "fingerprint", hexadecimal
    )
    status: FindingStatus = column("Where it stands.", "status")
    severity: FindingSeverity = column("Severity in the latest run that reported it.", "severity")
    rule: str = column("Id of the rule that it breaks.", "rule")
    path: str = column("File, relative to the repository; empty without one.", "path")
    latest_finding: Finding = to_one("As the latest run reported it.", "latest_finding_id", models.Finding)
    first_seen_run: AgentRun = to_one("The run that first reported it.", "first_seen_run_id", models.AgentRun)
    last_seen_run: AgentRun = to_one("The latest run that reported it.", "last_seen_run_id", models.AgentRun)
    first_seen_at: datetime.datetime = column("When it was first reported.", "first_seen_at")
    last_seen_at: datetime.datetime = column("When it was last reported.", "last_seen_at")
    justification: str = column("Why it was suppressed; empty if it was not.", "justification")
    expires_at: datetime.datetime | None = column("When its suppression ends; null without an end.", "expires_at")
    decided_at: datetime.datetime | None = column("When somebody decided about it; null if nobody did.", "decided_at")


FindingStateOrder = orders(
    "FindingStateOrder",
    Order(
        "SEVERITY_FIRST_SEEN",
        ("severity", "first_seen_at"),
        descending=True,
        description="The most severe first, and of those the newest.",
    ),
)
FINDINGS = ListSource(
    "findings",
    models.FindingState,
    models.FindingState.objects.all,
    FindingStateOrder,
    FindingStateOrder.SEVERITY_FIRST_SEEN,
)
