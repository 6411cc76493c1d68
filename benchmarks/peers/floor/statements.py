"""The statements of the floor: each makes the whole answer as one JSON text. Parameters are named."""

_EVENT = """json_build_object('id', e.id, 'driftType', e.drift_type, 'direction', e.direction, 'status', e.status,
  'unit', e.unit, 'harmful', e.harmful, 'baselineValue', e.baseline_value, 'currentValue', e.current_value,
  'delta', e.delta, 'ciLow', e.ci_low, 'ciHigh', e.ci_high, 'qValue', e.q_value, 'severity', e.severity,
  'firstSeenOn', e.first_seen_on, 'revenueCents', e.revenue_at_risk_30d_cents,
  'payer', (SELECT json_build_object('id', p.id, 'name', p.name, 'kind', p.kind) FROM payer p
    WHERE p.organization_id = e.organization_id AND p.id = e.payer_id),
  'group', (SELECT json_build_object('id', g.id, 'code', g.code, 'name', g.name) FROM procedure_group g
    WHERE g.organization_id = e.organization_id AND g.id = e.group_id))"""

_PAGE = """SELECT json_build_object('data', json_build_object('{name}', json_build_object(
  'edges', coalesce(json_agg(json_build_object('node', node) ORDER BY place) FILTER (WHERE place <= %(first)s), '[]'),
  'pageInfo', json_build_object('hasNextPage', count(*) > %(first)s,
    'endCursor', max(cursor) FILTER (WHERE place = %(first)s)))))::text
FROM (SELECT row_number() OVER () AS place, {cursor} AS cursor, {node} AS node
  FROM (SELECT * FROM {table} {condition} ORDER BY {order} LIMIT %(first)s + 1) AS e) AS rows"""

_EVENTS = {
    "name": "driftEvents",
    "table": "drift_event",
    "cursor": "e.revenue_at_risk_30d_cents || ':' || e.id",
    "node": _EVENT,
    "order": "revenue_at_risk_30d_cents DESC, id DESC",
}

_RUN = """json_build_object('id', e.id, 'status', e.status, 'conclusion', e.conclusion, 'trigger', e.trigger,
  'branch', e.branch, 'criticalCount', e.critical_count, 'highCount', e.high_count, 'startedAt', e.started_at,
  'finishedAt', e.finished_at, 'durationMs', e.duration_ms,
  'findings', (SELECT json_build_object(
      'edges', coalesce(json_agg(json_build_object('node', node) ORDER BY place)
        FILTER (WHERE place <= %(findings)s), '[]'),
      'pageInfo', json_build_object('hasNextPage', count(*) > %(findings)s))
    FROM (SELECT row_number() OVER () AS place, json_build_object('id', f.id, 'rule', f.rule, 'tool', f.tool,
        'severity', f.severity, 'title', f.title, 'path', f.path, 'startLine', f.start_line, 'suppressed', f.suppressed)
        AS node
      FROM (SELECT * FROM finding WHERE organization_id = e.organization_id AND run_id = e.id
        ORDER BY severity DESC, id DESC LIMIT %(findings)s + 1) AS f) AS findings))"""


def _small(fields: str, table: str, order: str, count: int) -> str:
    return (
        f"json_build_object('edges', (SELECT json_agg(json_build_object('node', json_build_object({fields})))"
        f" FROM (SELECT * FROM {table} ORDER BY {order} LIMIT {count}) AS e))"
    )


_SIX = {
    "payers": _small("'id', id, 'code', code, 'name', name, 'kind', kind", "payer", "name, id", 10),
    "agents": _small("'id', id, 'kind', kind, 'name', name, 'version', version", "agent", "name, id", 5),
    "detectionRuns": _small(
        "'id', id, 'asOf', as_of, 'kind', kind, 'status', status, 'testsTotal', tests_total",
        "detection_run",
        "as_of DESC, id DESC",
        5,
    ),
    "agentRuns": _small(
        "'id', id, 'status', status, 'startedAt', started_at", "agent_run", "started_at DESC, id DESC", 5
    ),
    "driftEvents": _small(
        "'id', id, 'driftType', drift_type, 'severity', severity, 'revenueCents', revenue_at_risk_30d_cents",
        "drift_event",
        "revenue_at_risk_30d_cents DESC, id DESC",
        5,
    ),
    "driftEvent": "(SELECT json_build_object('id', id, 'driftType', drift_type, 'status', status) FROM drift_event"
    " WHERE id = %(id)s)",
}

STATEMENTS = {
    "q1": _PAGE.format(**_EVENTS, condition=""),
    "q1 after": _PAGE.format(**_EVENTS, condition="WHERE (revenue_at_risk_30d_cents, id) < (%(cents)s, %(after_id)s)"),
    "q2": _PAGE.format(
        name="agentRuns",
        table="agent_run",
        cursor="e.started_at || ':' || e.id",
        node=_RUN,
        order="started_at DESC, id DESC",
        condition="",
    ),
    "q3": f"SELECT json_build_object('data', json_build_object('node', {_EVENT}))::text FROM drift_event AS e"
    " WHERE e.id = %(id)s",
    "q5": "SELECT json_build_object('data', json_build_object("
    + ", ".join(f"'{name}', {text}" for name, text in _SIX.items())
    + "))::text",
}
