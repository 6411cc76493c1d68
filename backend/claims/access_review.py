"""Who looked at claim lines in a period, as one statement over the audit trail of the organization that is set."""

import datetime
import uuid
from typing import NamedTuple

MAX_ACTORS = 200
BULK = 100  # claim lines of one read; the ids of more are not in its entry
OPENS, CLOSES = 7, 19  # hours of a working day, by the organization's clock

_LOOKED = "act.action = 'read' AND act.fields_phi AND act.outcome <> 'DENIED'"
_STRANGE_HOUR = (
    f"(extract(isodow FROM local) > 5 OR extract(hour FROM local) < {OPENS} OR extract(hour FROM local) >= {CLOSES})"
)

# What was asked for in one request is one operation, of however many entries.
ACCESS_REVIEW = f"""
WITH act AS MATERIALIZED (
  SELECT e.actor_id, e.token_id, e.actor_role, e.action, e.outcome, e.fields_phi, e.object_type, e.object_ids,
    e.object_count, e.at, e.at AT TIME ZONE o.timezone AS local,
    coalesce(nullif(e.request_id, ''), e.id::text) AS request
  FROM audit_entry e JOIN organization o ON o.id = e.organization_id
  WHERE e.at >= %s AND e.at < %s
), actor AS (
  SELECT actor_id, token_id, (array_agg(actor_role ORDER BY at DESC) FILTER (WHERE actor_role IS NOT NULL))[1] AS role,
    count(DISTINCT request) FILTER (WHERE {_LOOKED}) AS reads,
    count(DISTINCT request) FILTER (WHERE {_LOOKED} AND {_STRANGE_HOUR}) AS strange_reads,
    count(DISTINCT request) FILTER (WHERE {_LOOKED} AND object_count > {BULK}) AS bulk_reads,
    coalesce(sum(object_count) FILTER (WHERE {_LOOKED}), 0)::bigint AS rows,
    count(DISTINCT request) FILTER (WHERE action IN ('read', 'refuse') AND outcome = 'DENIED') AS refusals,
    max(at) AS last_seen_at
  FROM act WHERE actor_id IS NOT NULL OR token_id IS NOT NULL GROUP BY actor_id, token_id
), named AS (
  SELECT act.actor_id, act.token_id, count(DISTINCT o.id) AS claims, count(DISTINCT c.patient_ref) AS patients
  FROM act CROSS JOIN LATERAL unnest(act.object_ids) AS o (id) LEFT JOIN claim c ON c.id = o.id
  WHERE {_LOOKED} AND act.object_type = 'claim' GROUP BY act.actor_id, act.token_id
)
SELECT r.actor_id, r.token_id, coalesce(u.email, t.name, ''), r.role, r.reads, r.rows, coalesce(n.claims, 0),
  coalesce(n.patients, 0), r.bulk_reads, r.strange_reads, r.refusals, r.last_seen_at,
  count(r.last_seen_at) OVER () AS actors, f.failed
FROM (SELECT count(*) AS failed FROM act WHERE action = 'sign_in' AND outcome = 'DENIED') f LEFT JOIN actor r ON true
LEFT JOIN named n ON n.actor_id IS NOT DISTINCT FROM r.actor_id AND n.token_id IS NOT DISTINCT FROM r.token_id
LEFT JOIN user_account u ON u.id = r.actor_id
LEFT JOIN api_token t ON t.id = r.token_id
ORDER BY r.rows DESC, r.refusals DESC, r.last_seen_at DESC, r.actor_id, r.token_id LIMIT {MAX_ACTORS}
"""
"""Takes begin and end of the period. Where nobody did anything there is one row, of no actor."""

EMERGENCIES = """
SELECT e.user_id, u.email, e.role, e.reason, e.created_at, e.expires_at
FROM emergency_access e JOIN user_account u ON u.id = e.user_id
WHERE e.created_at < %s AND e.expires_at > %s ORDER BY e.created_at DESC, e.id LIMIT 100
"""
"""Takes end and begin of the period: emergency access that there was in it."""


class ActorAccess(NamedTuple):
    """One row of ACCESS_REVIEW: a person, or a token."""

    actor_id: uuid.UUID | None
    token_id: uuid.UUID | None
    name: str
    role: str | None
    reads: int
    rows: int
    claims: int
    patients: int
    bulk_reads: int
    strange_reads: int
    refusals: int
    last_seen_at: datetime.datetime | None  # None: the row of no actor
    actors: int  # in all
    failed_sign_ins: int  # in all
