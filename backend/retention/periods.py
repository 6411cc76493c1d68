"""Which rows are past their time, table by table, in the order in which foreign keys let them go."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from backend.accounts.models import Organization
from backend.core.ids import uuid7_floor

# A line of a claim goes with all of its versions, once the last date of its current one is past.
_CLAIM = """EXISTS (
  SELECT FROM claim k WHERE k.payer_id = t.payer_id AND k.claim_key = t.claim_key AND k.line_no = t.line_no
    AND k.superseded_at IS NULL AND greatest(k.submitted_on, k.decided_on, k.paid_on) < %(claims_on)s)"""
_DELETE_LINES = """
DELETE FROM claim c USING claim k WHERE k.id = ANY(%(ids)s) AND c.organization_id = k.organization_id
  AND c.payer_id = k.payer_id AND c.claim_key = k.claim_key AND c.line_no = k.line_no
"""
# What is still to be mended, or was decided about, keeps the runs that it is known from.
_FIXED = "(s.status = 'FIXED' AND s.last_seen_at < %(agents_at)s)"
_STATE_OF_RUN = f"""EXISTS (
  SELECT FROM finding_state s LEFT JOIN finding f ON f.id = s.latest_finding_id
  WHERE t.id IN (s.first_seen_run_id, s.last_seen_run_id, f.run_id) AND NOT {_FIXED})"""
_OLD_RUN = "(SELECT r.id FROM agent_run r WHERE r.id < %(agents)s AND r.finished_at IS NOT NULL)"
_ENDED = "(e.ended_on < %(drift_on)s)"
_EVENT_OF = f"EXISTS (SELECT FROM drift_event e WHERE e.id = t.event_id AND {_ENDED})"
_SEEN_BY_RUN = f"""
  EXISTS (SELECT FROM drift_event e WHERE t.id IN (e.first_run_id, e.last_run_id) AND {_ENDED} IS NOT TRUE)
  OR EXISTS (SELECT FROM drift_observation o JOIN drift_event e ON e.id = o.event_id
    WHERE o.run_id = t.id AND {_ENDED} IS NOT TRUE)
  OR EXISTS (SELECT FROM drift_test d WHERE d.run_id = t.id AND d.id >= %(tests)s)"""


@dataclass(frozen=True, slots=True)
class Expiry:
    """The rows `t` of a table that are past their time; nothing that stays refers to them once those before it went."""

    table: str
    due: str  # condition on t
    first: str = ""  # what lets go of the rows %(ids)s
    delete: str = ""  # deletes the rows %(ids)s, where that is more than they
    locked: bool = False  # under the lock of the organization's claims


EXPIRIES = (
    Expiry("import_issue", "t.id < %(claims)s"),
    Expiry("claim", _CLAIM, delete=_DELETE_LINES, locked=True),
    Expiry("outcome_count", "t.period_end < %(drift_on)s", locked=True),
    Expiry("drift_test", "t.id < %(tests)s"),
    Expiry("alert", _EVENT_OF),
    Expiry("drift_observation", _EVENT_OF),
    Expiry(
        "drift_event",
        _ENDED.replace("e.", "t."),
        first="UPDATE drift_event SET parent_id = NULL WHERE parent_id = ANY(%(ids)s)",
    ),
    Expiry(
        "detection_run",
        f"t.id < %(drift)s AND t.status NOT IN ('QUEUED', 'RUNNING') AND NOT ({_SEEN_BY_RUN})",
    ),
    Expiry("finding_state", _FIXED.replace("s.", "t.")),
    Expiry(
        "finding",
        f"t.run_id IN {_OLD_RUN} AND NOT EXISTS ("
        f"SELECT FROM finding_state s WHERE s.latest_finding_id = t.id AND NOT {_FIXED})",
    ),
    Expiry("agent_metric", f"t.run_id IN {_OLD_RUN}"),
    Expiry(
        "agent_run",
        f"t.id IN {_OLD_RUN} AND NOT {_STATE_OF_RUN}",
        first="UPDATE agent_run SET baseline_run_id = NULL WHERE baseline_run_id = ANY(%(ids)s)",
    ),
)


def limits(organization: Organization, now: datetime) -> Mapping[str, Any]:
    """Before what a row is past its time: days, moments, and the ids that were made before."""
    environment = settings.ENVIRONMENT
    claims = now - timedelta(days=organization.retention_days)
    tests = now - timedelta(days=environment.retention_drift_test_days)
    agents = now - timedelta(days=environment.retention_agent_run_days)
    drift = now - timedelta(days=environment.retention_drift_days)
    return {
        "organization": organization.id,
        "claims_on": claims.date(),
        "claims": uuid7_floor(claims),
        "tests": uuid7_floor(tests),
        "agents_at": agents,
        "agents": uuid7_floor(agents),
        "drift_on": drift.date(),
        "drift": uuid7_floor(drift),
    }
