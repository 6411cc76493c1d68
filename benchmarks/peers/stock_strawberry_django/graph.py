"""What both servers of strawberry-django serve: its types, and the root. Django is to be set up before."""

import strawberry
import strawberry_django
from django_tables import models
from strawberry import auto, relay
from strawberry_django.relay import DjangoCursorConnection


@strawberry_django.type(models.Payer)
class Payer(relay.Node):
    """Who decides and pays claims."""

    code: auto
    name: auto
    kind: auto
    active: auto


@strawberry_django.type(models.ProcedureGroup)
class ProcedureGroup(relay.Node):
    """A customer's group of procedure codes."""

    code: auto
    name: auto


@strawberry_django.type(models.DetectionRun)
class DetectionRun(relay.Node):
    """One execution of the detectors."""

    as_of: auto
    kind: auto
    status: auto
    tests_total: auto
    tests_significant: auto


@strawberry_django.type(models.DriftEvent)
class DriftEvent(relay.Node):
    """A change of a payer."""

    drift_type: auto
    payer: Payer
    group: ProcedureGroup | None
    direction: auto
    harmful: auto
    status: auto
    unit: auto
    baseline_value: auto
    current_value: auto
    delta: auto
    ci_low: auto
    ci_high: auto
    q_value: auto
    severity: auto
    n1: auto
    first_seen_on: auto
    change_on: auto
    revenue_cents: auto


@strawberry_django.type(models.Finding)
class Finding(relay.Node):
    """One thing that a run reports."""

    rule: auto
    tool: auto
    severity: auto
    title: auto
    path: auto
    start_line: auto
    start_column: auto
    cwe: auto
    suppressed: auto


@strawberry_django.type(models.Agent)
class Agent(relay.Node):
    """An automated auditor."""

    kind: auto
    name: auto
    version: auto


@strawberry_django.type(models.AgentRun)
class AgentRun(relay.Node):
    """One execution of an auditor."""

    trigger: auto
    status: auto
    conclusion: auto
    branch: auto
    critical_count: auto
    high_count: auto
    started_at: auto
    finished_at: auto
    duration_ms: auto
    findings: DjangoCursorConnection[Finding] = strawberry_django.connection()


@strawberry.type
class Query:
    """The root."""

    node: relay.Node | None = strawberry_django.node()
    drift_event: DriftEvent | None = strawberry_django.node()
    drift_events: DjangoCursorConnection[DriftEvent] = strawberry_django.connection()
    agents: DjangoCursorConnection[Agent] = strawberry_django.connection()
    agent_runs: DjangoCursorConnection[AgentRun] = strawberry_django.connection()
    payers: DjangoCursorConnection[Payer] = strawberry_django.connection()
    detection_runs: DjangoCursorConnection[DetectionRun] = strawberry_django.connection()
