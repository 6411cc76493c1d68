"""The log of how far agent runs have come: written by the services of runs, read by subscriptions, forgotten by a job.

Transactions do not commit in the order in which they began. What is read is therefore ordered by transaction and id,
and ends at the oldest transaction that still runs: nothing can appear before a position that has been read.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db import connection

from backend.agents.models import AgentRun, AgentRunProgress
from backend.core.actor import Actor
from backend.core.ids import uuid7_floor
from backend.core.tenancy import write
from backend.db.listening import NOTIFY

BATCH = 100  # entries of one read
START = (0, "00000000-0000-0000-0000-000000000000")
"""The position before the first entry of every run."""
_FORGOTTEN_AT_ONCE = 1_000  # entries of one transaction

_ENTRIES = """
SELECT entry.transaction, entry.id, entry.status, entry.phase, entry.done, entry.total, entry.created_at,
       entry.transaction < pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS settled
  FROM agent_run_progress AS entry WHERE entry.organization_id = run.organization_id AND entry.run_id = run.id
"""
_ACTIVE = "run.status IN ('QUEUED', 'RUNNING')"
AFTER = f"""
SELECT {_ACTIVE}, place.transaction < pg_snapshot_xmin(pg_current_snapshot())::text::bigint, log.*
  FROM agent_run AS run CROSS JOIN (VALUES (%s::bigint, %s::uuid)) AS place (transaction, id) LEFT JOIN LATERAL (
  {_ENTRIES} AND (entry.transaction, entry.id) > (place.transaction, place.id)
   ORDER BY entry.transaction, entry.id LIMIT {BATCH}
) AS log ON true WHERE run.id = %s ORDER BY log.transaction, log.id
"""
"""Whether the run is active, whether an entry at a position can have been read, and the entries after it.

Takes transaction, id and the id of the run.
"""
LATEST = f"""
SELECT {_ACTIVE}, true, log.* FROM agent_run AS run LEFT JOIN LATERAL (
  SELECT * FROM ({_ENTRIES} ORDER BY entry.transaction DESC, entry.id DESC LIMIT {BATCH}) AS newest
   WHERE newest.settled LIMIT 1
) AS log ON true WHERE run.id = %s
"""
"""The same with the newest entry that can be read; takes the id of the run."""
_FORGET = """
DELETE FROM agent_run_progress WHERE id IN (
  SELECT id FROM agent_run_progress WHERE organization_id = %s AND id < %s ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
"""


def topic(run_id: object) -> str:
    """What is told of a run."""
    return f"agent_run:{run_id}"


def progress_note(
    runs: Sequence[AgentRun], *, phase: str = "", done: int | None = None, total: int | None = None
) -> None:
    """Nothing; adds an entry for each run with its status, and tells of it when the caller's transaction commits.

    SQL: 2.
    """
    AgentRunProgress.objects.bulk_create(
        AgentRunProgress(
            organization_id=run.organization_id,
            run_id=run.id,
            status=run.status,
            phase=phase,
            done=done,
            total=total,
        )
        for run in runs
    )
    with connection.cursor() as cursor:
        cursor.execute(NOTIFY, [[topic(run.id) for run in runs]])


def progress_forget(*, actor: Actor, before: datetime) -> int:
    """How many entries of the organization were made before a moment, and are deleted.

    SQL: BEGIN, 2, COMMIT per 1,000.
    """
    forgotten, last = 0, _FORGOTTEN_AT_ONCE
    while last == _FORGOTTEN_AT_ONCE:
        with write(actor), connection.cursor() as cursor:
            cursor.execute(_FORGET, [actor.organization_id, uuid7_floor(before), _FORGOTTEN_AT_ONCE])
            last = cursor.rowcount
        forgotten += last
    return forgotten
