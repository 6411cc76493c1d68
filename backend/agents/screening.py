"""Which texts of agents are screened for identifiers of persons; what is done then is the organization's choice."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from backend.accounts.free_text import Screen
from backend.agents.inputs import FindingInput, MetricInput, ToolInput
from backend.core.errors import within

_PROSE = ("title", "message")
_TERMS = ("rule", "tool", "category", "help_uri")


def screened_findings(screen: Screen, findings: Sequence[FindingInput]) -> list[FindingInput]:
    """The findings, their texts fit to be kept.

    Raises: IdentifiesPerson; the path leads to the text.
    """
    found = []
    for index, finding in enumerate(findings):
        with within("findings", str(index)):
            texts: dict[str, Any] = {name: screen.of(getattr(finding, name), name) for name in _PROSE}
            texts |= {name: screen.of(getattr(finding, name), name, with_names=False) for name in _TERMS}
            path = screen.of(finding.path, "path")
        found.append(replace(finding, **texts, path=path))
    return found


def screened_metrics(screen: Screen, metrics: Sequence[MetricInput]) -> list[MetricInput]:
    """The metrics, their names and units fit to be kept.

    Raises: IdentifiesPerson; the path leads to the text.
    """
    found = []
    for index, metric in enumerate(metrics):
        with within("metrics", str(index)):
            name = screen.of(metric.name, "name", with_names=False)
            found.append(replace(metric, name=name, unit=screen.of(metric.unit, "unit", with_names=False)))
    return found


def screened_tools(screen: Screen, tools: Sequence[ToolInput]) -> list[ToolInput]:
    """The tools, their names and versions fit to be kept.

    Raises: IdentifiesPerson; the path leads to the text.
    """
    found = []
    for index, tool in enumerate(tools):
        with within("tools", str(index)):
            name = screen.of(tool.name, "name", with_names=False)
            found.append(replace(tool, name=name, version=screen.of(tool.version, "version", with_names=False)))
    return found
