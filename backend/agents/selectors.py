"""Reads of agents, runs, findings and their states; within a transaction of one organization, only its rows exist."""

import uuid

from django.db.models import QuerySet

from backend.agents.models import Agent, AgentMetric, AgentRun, AgentRunStatus, Finding, FindingState, FindingStatus


def agents_all() -> QuerySet[Agent]:
    """The agents by name."""
    return Agent.objects.order_by("name", "id")


def agent_runs_latest() -> QuerySet[AgentRun]:
    """The runs of all agents, the latest first."""
    return AgentRun.objects.order_by("-started_at", "-id")


def agent_runs_of(agent_id: uuid.UUID) -> QuerySet[AgentRun]:
    """The runs of an agent, the latest first."""
    return agent_runs_latest().filter(agent_id=agent_id)


def agent_runs_active() -> QuerySet[AgentRun]:
    """The runs that have not ended, the one that has been silent longest first."""
    return AgentRun.objects.filter(status__in=(AgentRunStatus.QUEUED, AgentRunStatus.RUNNING)).order_by("heartbeat_at")


def findings_of(run_id: uuid.UUID) -> QuerySet[Finding]:
    """What a run found, the most severe first."""
    return Finding.objects.filter(run_id=run_id).order_by("-severity", "-id")


def metrics_of(run_id: uuid.UUID) -> QuerySet[AgentMetric]:
    """What a run measured, by name."""
    return AgentMetric.objects.filter(run_id=run_id).order_by("name")


def finding_states_unsettled() -> QuerySet[FindingState]:
    """What still has to be looked at, the most severe first."""
    unsettled = (FindingStatus.OPEN, FindingStatus.REOPENED)
    return FindingState.objects.filter(status__in=unsettled).order_by("-severity", "-first_seen_at", "-id")
