"""Alert rules applied to drift events: which alerts are raised, which end with their event. Delivery is not here."""

from dataclasses import dataclass
from typing import Any

from django.db import connection

from backend.alerts.models import AlertRule
from backend.core.actor import Actor, Right
from backend.core.ids import uuid7
from backend.core.tenancy import write
from backend.drift.models import DetectionRun, RunKind, RunStatus, Severity

DEFAULT_RULE = "Confirmed harmful drift"
NESTED = "The same rule alerts about the payer as a whole."

# The payer-level event speaks for its groups: their alerts exist, for the day when the parent ends, but stay quiet.
_MATCHES = """
WITH live AS (
  SELECT e.id AS event_id, r.id AS rule_id, e.parent_id, e.severity
    FROM drift_event AS e
    JOIN alert_rule AS r
      ON r.organization_id = e.organization_id
     AND r.enabled
     AND (e.harmful OR NOT r.harmful_only)
     AND (e.status IN ('CONFIRMED', 'ACKNOWLEDGED') OR NOT r.require_confirmed)
     AND (cardinality(r.drift_types) = 0 OR e.drift_type = ANY(r.drift_types))
     AND (cardinality(r.payer_ids) = 0 OR e.payer_id = ANY(r.payer_ids))
     AND (cardinality(r.group_ids) = 0 OR e.group_id = ANY(r.group_ids))
     AND (cardinality(r.directions) = 0 OR e.direction = ANY(r.directions))
     AND e.severity >= r.min_severity
     AND e.confidence >= r.min_confidence
     AND e.revenue_at_risk_30d_cents >= r.min_revenue_cents
   WHERE e.source = %(source)s AND e.ended_on IS NULL AND e.status IN ('OPEN', 'CONFIRMED', 'ACKNOWLEDGED')
)
SELECT live.event_id, live.rule_id, live.severity, parent.event_id IS NOT NULL,
       coalesce(old.status = 'SUPPRESSED' AND old.reason = %(nested)s, false)
  FROM live
  LEFT JOIN alert AS old ON old.event_id = live.event_id AND old.rule_id = live.rule_id
  LEFT JOIN live AS parent ON parent.event_id = live.parent_id AND parent.rule_id = live.rule_id
 ORDER BY live.event_id, live.rule_id
"""

# A raised alert follows its event's severity, and wakes when the payer's own event no longer speaks for it; what a
# person decided about it stays.
_RAISE = """
INSERT INTO alert (id, organization_id, event_id, rule_id, status, severity, reason)
SELECT new.id, %(organization)s, new.event_id, new.rule_id,
       CASE WHEN new.nested THEN 'SUPPRESSED' ELSE 'OPEN' END, new.severity,
       CASE WHEN new.nested THEN %(nested)s ELSE '' END
  FROM unnest(%(ids)s::uuid[], %(events)s::uuid[], %(rules)s::uuid[], %(severities)s::smallint[], %(flags)s::boolean[])
    AS new(id, event_id, rule_id, severity, nested)
 ORDER BY new.event_id, new.rule_id
    ON CONFLICT (organization_id, event_id, rule_id) DO UPDATE
   SET severity = excluded.severity,
       status = CASE WHEN alert.status = 'SUPPRESSED' AND alert.reason = %(nested)s
                     THEN excluded.status ELSE alert.status END,
       reason = CASE WHEN alert.status = 'SUPPRESSED' AND alert.reason = %(nested)s
                     THEN excluded.reason ELSE alert.reason END
 WHERE alert.severity <> excluded.severity
    OR (alert.status = 'SUPPRESSED' AND alert.reason = %(nested)s AND excluded.status = 'OPEN')
RETURNING event_id, rule_id, xmax = 0, status = 'OPEN'
"""

_RESOLVE = """
UPDATE alert
   SET status = 'RESOLVED', resolved_at = now()
  FROM drift_event AS e
 WHERE e.organization_id = alert.organization_id AND e.id = alert.event_id AND e.source = %(source)s
   AND e.status IN ('RESOLVED', 'EXPIRED') AND alert.status <> 'RESOLVED'
"""


@dataclass(frozen=True, slots=True)
class AlertsEvaluated:
    """Alerts that an evaluation raised (new or no longer suppressed) and resolved."""

    raised: int = 0
    resolved: int = 0


def alert_rule_default(actor: Actor) -> AlertRule:
    """The rule that every organization starts with, confirmed harmful drift of any kind; made once.

    SQL: 2.
    """
    actor.require(Right.RULES)
    with write(actor):
        rule = AlertRule(
            organization_id=actor.organization_id,
            name=DEFAULT_RULE,
            min_severity=Severity.LOW,
            harmful_only=True,
            require_confirmed=True,
        )
        AlertRule.objects.bulk_create([rule], ignore_conflicts=True)
        return AlertRule.objects.get(name=DEFAULT_RULE)


def alerts_evaluate(*, actor: Actor, run: DetectionRun) -> AlertsEvaluated:
    """What the enabled rules make of the live events of the run's source; repeating it changes nothing.

    All live events count, not only those that this run touched, so that an evaluation that was cut off is made up
    for by the next. A back-test, a what-if or a run without result changes nothing.

    SQL: 2 or 3.
    """
    actor.require(Right.DETECT)
    if run.kind == RunKind.BACKTEST or run.what_if or run.status != RunStatus.SUCCEEDED:
        return AlertsEvaluated()
    with write(actor), connection.cursor() as cursor:
        cursor.execute(_MATCHES, {"source": run.source, "nested": NESTED})
        raised = _raise(cursor, actor, cursor.fetchall())
        cursor.execute(_RESOLVE, {"source": run.source})
        return AlertsEvaluated(raised, cursor.rowcount)


def _raise(cursor: Any, actor: Actor, matches: list[tuple[Any, ...]]) -> int:
    if not matches:
        return 0
    events, rules, severities, nested, quiet = zip(*matches, strict=True)
    cursor.execute(
        _RAISE,
        {
            "organization": actor.organization_id,
            "nested": NESTED,
            "ids": [uuid7() for _ in matches],
            "events": list(events),
            "rules": list(rules),
            "severities": list(severities),
            "flags": list(nested),
        },
    )
    woken = {pair for pair, was_quiet in zip(zip(events, rules, strict=True), quiet, strict=True) if was_quiet}
    return sum(heard and (new or (event, rule) in woken) for event, rule, new, heard in cursor.fetchall())
