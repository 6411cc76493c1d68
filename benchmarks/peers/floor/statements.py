"""The statements of the floor: each row is the JSON text of one edge, or of a whole answer, made by concat.

That is cheaper than PostgreSQL's functions for JSON. What an enum, a key or a number holds needs no escaping; free text
does. How many rows are wanted stands in the text, where the planner sees it. Other parameters are named.
"""

from functools import cache
from string import Template

_EVENT = """concat('{"id":"', e.id, '","driftType":"', e.drift_type, '","direction":"', e.direction,
  '","status":"', e.status, '","unit":"', e.unit, '","harmful":', CASE WHEN e.harmful THEN 'true' ELSE 'false' END,
  ',"baselineValue":', e.baseline_value, ',"currentValue":', e.current_value, ',"delta":', e.delta,
  ',"ciLow":', e.ci_low, ',"ciHigh":', e.ci_high, ',"qValue":', e.q_value, ',"severity":', e.severity,
  ',"firstSeenOn":"', e.first_seen_on, '","revenueCents":', e.revenue_at_risk_30d_cents, ',"payer":',
  (SELECT concat('{"id":"', p.id, '","name":', to_json(p.name), ',"kind":"', p.kind, '"}') FROM payer p
    WHERE p.organization_id = e.organization_id AND p.id = e.payer_id),
  ',"group":', coalesce((SELECT concat('{"id":"', g.id, '","code":', to_json(g.code), ',"name":', to_json(g.name), '}')
    FROM procedure_group g WHERE g.organization_id = e.organization_id AND g.id = e.group_id), 'null'), '}')"""

_EVENTS = f"""SELECT concat('{{"node":', {_EVENT}, '}}'), concat(e.revenue_at_risk_30d_cents, ':', e.id)
FROM (SELECT * FROM drift_event $condition
  ORDER BY revenue_at_risk_30d_cents DESC, id DESC LIMIT $first + 1) AS e"""

_FINDING = """concat('{"node":{"id":"', f.id, '","rule":', to_json(f.rule), ',"tool":', to_json(f.tool),
  ',"severity":', f.severity, ',"title":', to_json(f.title), ',"path":', to_json(f.path),
  ',"startLine":', coalesce(f.start_line::text, 'null'),
  ',"suppressed":', CASE WHEN f.suppressed THEN 'true' ELSE 'false' END, '}}')"""

_FINDINGS = f"""(SELECT concat('{{"edges":[', array_to_string(found[1:$findings], ','),
    '],"pageInfo":{{"hasNextPage":', CASE WHEN cardinality(found) > $findings THEN 'true' ELSE 'false' END, '}}}}')
  FROM (SELECT array(SELECT {_FINDING}
    FROM (SELECT * FROM finding WHERE organization_id = e.organization_id AND run_id = e.id
      ORDER BY severity DESC, id DESC LIMIT $findings + 1) AS f) AS found OFFSET 0) AS findings)"""

_RUNS = f"""SELECT concat('{{"node":{{"id":"', e.id, '","status":"', e.status,
  '","conclusion":', coalesce('"' || e.conclusion || '"', 'null'), ',"trigger":"', e.trigger,
  '","branch":', to_json(e.branch), ',"criticalCount":', e.critical_count, ',"highCount":', e.high_count,
  ',"startedAt":', to_json(e.started_at), ',"finishedAt":', coalesce(to_json(e.finished_at)::text, 'null'),
  ',"durationMs":', coalesce(e.duration_ms::text, 'null'), ',"findings":', {_FINDINGS}, '}}}}'),
  concat(e.started_at, '|', e.id)
FROM (SELECT * FROM agent_run ORDER BY started_at DESC, id DESC LIMIT $first + 1) AS e"""


def _small(row: str, table: str, order: str, count: int) -> str:
    rows = f"(SELECT * FROM {table} ORDER BY {order} LIMIT {count}) AS e"
    return f"""'{{"edges":[', array_to_string(array(SELECT concat('{{"node":{{"id":"', e.id, {row}, '}}}}')
  FROM {rows}), ','), ']}}'"""


_SIX = {
    "payers": _small(
        """'","code":', to_json(code), ',"name":', to_json(name), ',"kind":"', kind, '"'""", "payer", "name, id", 10
    ),
    "agents": _small(
        """'","kind":"', kind, '","name":', to_json(name), ',"version":', to_json(version)""", "agent", "name, id", 5
    ),
    "detectionRuns": _small(
        """'","asOf":"', as_of, '","kind":"', kind, '","status":"', status, '","testsTotal":', tests_total""",
        "detection_run",
        "as_of DESC, id DESC",
        5,
    ),
    "agentRuns": _small(
        """'","status":"', status, '","startedAt":', to_json(started_at)""",
        "agent_run",
        "started_at DESC, id DESC",
        5,
    ),
    "driftEvents": _small(
        """'","driftType":"', drift_type, '","severity":', severity, ',"revenueCents":', revenue_at_risk_30d_cents""",
        "drift_event",
        "revenue_at_risk_30d_cents DESC, id DESC",
        5,
    ),
    "driftEvent": """(SELECT concat('{"id":"', id, '","driftType":"', drift_type, '","status":"', status, '"}')
  FROM drift_event WHERE id = %(id)s)""",
}

LISTS = {"q1": b"driftEvents", "q1 after": b"driftEvents", "q2": b"agentRuns"}  # whose rows are edges, with cursors
_TEXTS = {
    "q1": Template(_EVENTS.replace("$condition", "")),
    "q1 after": Template(
        _EVENTS.replace("$condition", "WHERE (revenue_at_risk_30d_cents, id) < (%(cents)s, %(after_id)s)")
    ),
    "q2": Template(_RUNS),
    "q3": Template(
        f"""SELECT concat('{{"data":{{"node":', {_EVENT}, '}}}}') FROM drift_event AS e WHERE e.id = %(id)s"""
    ),
    "q5": Template(
        """SELECT concat('{"data":{', """
        + ", ',', ".join(f"""'"{name}":', {text}""" for name, text in _SIX.items())
        + ", '}}')"
    ),
}


@cache
def statement(name: str, first: int, findings: int) -> str:
    """The text of a statement for that many rows, and rows below each."""
    return _TEXTS[name].substitute(first=first, findings=findings)
