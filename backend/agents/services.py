"""Every write of the agents, under one name each; the work is in runs.py, triage.py and sarif_import.py."""

from backend.agents.inputs import FindingInput, MetricInput, ToolInput
from backend.agents.runs import (
    agent_run_cancel,
    agent_run_finish,
    agent_run_heartbeat,
    agent_run_start,
    agent_runs_time_out,
)
from backend.agents.sarif_import import agent_run_import_sarif
from backend.agents.triage import finding_triage, suppressions_expire

__all__ = [
    "FindingInput",
    "MetricInput",
    "ToolInput",
    "agent_run_cancel",
    "agent_run_finish",
    "agent_run_heartbeat",
    "agent_run_import_sarif",
    "agent_run_start",
    "agent_runs_time_out",
    "finding_triage",
    "suppressions_expire",
]
