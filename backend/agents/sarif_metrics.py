"""Metrics in `properties["driftgraph/metrics"]` of a SARIF run. The standard has no place for measured numbers."""

import math
from collections.abc import Mapping
from typing import Any

from backend.agents.sarif_model import SarifMetric
from backend.agents.sarif_text import line_text
from backend.core.errors import BadUserInput, LimitExceeded

METRICS_KEY = "driftgraph/metrics"
MAX_METRICS = 1_000
MAX_NAME = 200  # characters
MAX_UNIT = 50

_FIELDS = frozenset({"name", "value", "threshold", "unit", "passed"})


class SarifBadMetric(BadUserInput):
    """The metric at {where} is not valid: {reason}."""


def read_metrics(properties: Mapping[str, Any], path: tuple[str, ...]) -> tuple[SarifMetric, ...]:
    """The metrics of a run, in its order; names are unique. `path` leads to the properties, for messages.

    Raises:
        SarifBadMetric: A metric lacks its name or value, has a field of another type, or repeats a name.
        LimitExceeded: There are more than `MAX_METRICS`.
    """
    path = (*path, METRICS_KEY)
    stated = properties.get(METRICS_KEY, [])
    if not isinstance(stated, list):
        raise _bad(path, "a list is expected")
    if len(stated) > MAX_METRICS:
        raise LimitExceeded(
            what="The number of metrics", actual=len(stated), limit=MAX_METRICS, setting="fixed", path=path
        )
    metrics: dict[str, SarifMetric] = {}
    for position, item in enumerate(stated):
        metric = _metric(item, (*path, str(position)))
        if metric.name in metrics:
            raise _bad((*path, str(position), "name"), "another metric of the run has this name")
        metrics[metric.name] = metric
    return tuple(metrics.values())


def _metric(item: Any, path: tuple[str, ...]) -> SarifMetric:
    if not isinstance(item, dict) or not item.keys() <= _FIELDS:
        raise _bad(path, f"an object of {', '.join(sorted(_FIELDS))} is expected")
    name = item.get("name")
    if not isinstance(name, str) or not line_text(name, MAX_NAME):
        raise _bad((*path, "name"), "a text that is not empty is expected")
    unit = item.get("unit")
    if unit is not None and not isinstance(unit, str):
        raise _bad((*path, "unit"), "a text is expected")
    passed = item.get("passed")
    if passed is not None and not isinstance(passed, bool):
        raise _bad((*path, "passed"), "true or false is expected")
    threshold = None if item.get("threshold") is None else _number(item["threshold"], (*path, "threshold"))
    return SarifMetric(
        name=line_text(name, MAX_NAME),
        value=_number(item.get("value"), (*path, "value")),
        threshold=threshold,
        unit=line_text(unit or "", MAX_UNIT) or None,
        passed=passed,
    )


def _number(value: Any, path: tuple[str, ...]) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _bad(path, "a number is expected")
    return float(value)


def _bad(path: tuple[str, ...], reason: str) -> SarifBadMetric:
    return SarifBadMetric(where="/".join(path), reason=reason, path=path)
