"""Writes of a finished run's findings and of the states that outlive it; the run itself is in runs.py."""

import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from backend.agents.inputs import FindingInput
from backend.agents.models import (
    AgentRun,
    AgentRunStatus,
    Conclusion,
    Finding,
    FindingSeverity,
    FindingState,
    FindingStatus,
)
from backend.core.ids import uuid7

MAIN_BRANCHES = ("main", "master", "")  # a run that names no branch counts as one of the main branch
SOURCE_SUPPRESSION = "Suppressed in the source code"
_BATCH = 1_000

_LOCK_AGENT = "SELECT pg_advisory_xact_lock(hashtextextended('agent ' || %s, 0))"

# A run can be imported after a newer one: then only the first sight moves back.
_MOVE_STATES = """
INSERT INTO finding_state AS state (
  id, organization_id, agent_id, fingerprint, status, severity, rule, path,
  first_seen_run_id, last_seen_run_id, latest_finding_id, first_seen_at, last_seen_at, justification)
SELECT fresh.id, f.organization_id, %(agent)s, f.fingerprint, CASE WHEN f.suppressed THEN 'SUPPRESSED' ELSE 'OPEN' END,
  f.severity, f.rule, f.path, f.run_id, f.run_id, f.id, %(seen_at)s, %(seen_at)s,
  CASE WHEN f.suppressed THEN %(source)s ELSE '' END
FROM unnest(%(ids)s::uuid[], %(fingerprints)s::bytea[]) AS fresh(id, fingerprint)
JOIN finding f ON f.organization_id = %(organization)s AND f.run_id = %(run)s AND f.fingerprint = fresh.fingerprint
ORDER BY f.fingerprint
ON CONFLICT (organization_id, agent_id, fingerprint) DO UPDATE SET
  first_seen_at = LEAST(state.first_seen_at, EXCLUDED.first_seen_at),
  first_seen_run_id = CASE WHEN EXCLUDED.first_seen_at < state.first_seen_at
    THEN EXCLUDED.first_seen_run_id ELSE state.first_seen_run_id END,
  last_seen_at = GREATEST(state.last_seen_at, EXCLUDED.last_seen_at),
  last_seen_run_id = CASE WHEN {newer} THEN EXCLUDED.last_seen_run_id ELSE state.last_seen_run_id END,
  latest_finding_id = CASE WHEN {newer} THEN EXCLUDED.latest_finding_id ELSE state.latest_finding_id END,
  severity = CASE WHEN {newer} THEN EXCLUDED.severity ELSE state.severity END,
  rule = CASE WHEN {newer} THEN EXCLUDED.rule ELSE state.rule END,
  path = CASE WHEN {newer} THEN EXCLUDED.path ELSE state.path END,
  status = CASE
    WHEN NOT {newer} THEN state.status
    WHEN {suppressed_now} THEN 'SUPPRESSED'
    WHEN state.status = 'FIXED' OR {expired} OR {unsuppressed} THEN 'REOPENED'
    ELSE state.status END,
  justification = CASE
    WHEN {newer} AND {suppressed_now} THEN EXCLUDED.justification
    WHEN {newer} AND {unsuppressed} THEN ''
    ELSE state.justification END,
  expires_at = CASE WHEN {newer} AND {ended} THEN NULL ELSE state.expires_at END
""".format(
    newer="(EXCLUDED.last_seen_at >= state.last_seen_at)",
    suppressed_now="(EXCLUDED.status = 'SUPPRESSED' AND state.status <> 'SUPPRESSED')",
    ended="(state.status = 'SUPPRESSED' AND state.expires_at <= now())",
    expired="(state.status = 'SUPPRESSED' AND state.expires_at <= now() AND EXCLUDED.status = 'OPEN')",
    # What the source suppressed, and no person, is open again when the source no longer does.
    unsuppressed="(state.status = 'SUPPRESSED' AND state.justification = %(source)s AND EXCLUDED.status = 'OPEN')",
)


def lock_agent(agent_id: uuid.UUID) -> None:
    """Waits until no other transaction moves the states of this agent's findings.

    SQL: 1.
    """
    with connection.cursor() as cursor:
        cursor.execute(_LOCK_AGENT, [str(agent_id)])


def findings_write(run: AgentRun, findings: Sequence[tuple[bytes, FindingInput]]) -> None:
    """Writes the findings of a run, sorted by fingerprint, each once.

    SQL: 1 per 1,000.
    """
    Finding.objects.bulk_create(
        (
            Finding(
                organization_id=run.organization_id,
                run_id=run.id,
                fingerprint=key,
                rule=finding.rule,
                tool=finding.tool,
                severity=finding.severity,
                category=finding.category,
                title=finding.title,
                message=finding.message,
                path=finding.path,
                start_line=finding.start_line,
                end_line=finding.end_line,
                start_column=finding.start_column,
                end_column=finding.end_column,
                cwe=list(finding.cwe),
                help_uri=finding.help_uri,
                snippet_sha256=finding.snippet_sha256,
                suppressed=finding.suppressed,
            )
            for key, finding in findings
        ),
        batch_size=_BATCH,
    )


def count_by_severity(run: AgentRun, findings: Sequence[tuple[bytes, FindingInput]]) -> None:
    """Sets the run's counts; a finding that its source suppresses does not count."""
    counts = Counter(finding.severity for _, finding in findings if not finding.suppressed)
    run.critical_count = counts[FindingSeverity.CRITICAL]
    run.high_count = counts[FindingSeverity.HIGH]
    run.medium_count = counts[FindingSeverity.MEDIUM]
    run.low_count = counts[FindingSeverity.LOW]
    run.info_count = counts[FindingSeverity.INFO]


def states_see(run: AgentRun, fingerprints: Sequence[bytes], seen_at: datetime) -> None:
    """Moves the states of the findings that a run saw; the caller holds the agent's lock.

    New: OPEN. FIXED, or suppressed until a past date, and seen again: REOPENED.

    SQL: 1 if the run has findings.
    """
    if fingerprints:
        values: dict[str, Any] = {
            "agent": run.agent_id,
            "organization": run.organization_id,
            "run": run.id,
            "seen_at": seen_at,
            "source": SOURCE_SUPPRESSION,
            "ids": [uuid7() for _ in fingerprints],
            "fingerprints": list(fingerprints),
        }
        with connection.cursor() as cursor:
            cursor.execute(_MOVE_STATES, values)


def _saw_everything(run: AgentRun) -> bool:
    conclusive = run.status == AgentRunStatus.SUCCEEDED and run.conclusion != Conclusion.INCONCLUSIVE
    return conclusive and not any(tool["skipped"] for tool in run.tools)


def states_fix(agent_id: uuid.UUID, runs: Sequence[AgentRun], seen_at: datetime) -> None:
    """Marks FIXED what none of these runs, which together are one look at the code, saw; the lock is held.

    Only SUCCEEDED runs of the main branch fix anything: the fix of another branch may not be merged. Nor does a run
    that may have overlooked something: one that is INCONCLUSIVE, or one of whose tools could not do its work.

    SQL: 1; none where a run fixes nothing.
    """
    if runs and all(_saw_everything(run) and run.branch in MAIN_BRANCHES for run in runs):
        unsettled = (FindingStatus.OPEN, FindingStatus.REOPENED, FindingStatus.ACKNOWLEDGED)
        unseen = FindingState.objects.filter(agent_id=agent_id, last_seen_at__lt=seen_at, status__in=unsettled)
        unseen.update(status=FindingStatus.FIXED)
