"""Moves claims and outcome counts from a replaced payer to the one that takes its place, newest version first."""

import uuid
from typing import Any

from django.db import connection

# Both payers know the line: the newer decision stays current and keeps a submitted date that only the other knew.
_SETTLE = """
WITH pairs AS (
  SELECT o.id AS old_id, n.id AS new_id,
    (coalesce(o.decided_on, '-infinity'), coalesce(o.paid_on, '-infinity'), o.id)
      > (coalesce(n.decided_on, '-infinity'), coalesce(n.paid_on, '-infinity'), n.id) AS old_wins,
    coalesce(o.submitted_on, n.submitted_on) AS submitted_on
  FROM claim o JOIN claim n USING (claim_key, line_no)
  WHERE o.payer_id = %(old)s AND n.payer_id = %(new)s AND o.superseded_at IS NULL AND n.superseded_at IS NULL
)
UPDATE claim c SET
  superseded_at = CASE WHEN (c.id = p.old_id) = p.old_wins THEN NULL ELSE now() END,
  submitted_on = CASE WHEN c.submitted_on IS NULL AND p.submitted_on <= c.decided_on THEN p.submitted_on
    ELSE c.submitted_on END
FROM pairs p WHERE c.id IN (p.old_id, p.new_id)
"""
_MOVE = """
WITH known AS (
  SELECT claim_key, line_no, max(version) AS version FROM claim WHERE payer_id = %(new)s GROUP BY claim_key, line_no
), moved AS (
  UPDATE claim c SET payer_id = %(new)s, version = c.version + coalesce(
    (SELECT k.version FROM known k WHERE k.claim_key = c.claim_key AND k.line_no = c.line_no), 0)
  WHERE c.payer_id = %(old)s RETURNING c.superseded_at
)
SELECT count(*) FILTER (WHERE superseded_at IS NULL) FROM moved
"""
# The current version has the highest number, so that a rollback finds what was before it.
_RENUMBER = """
UPDATE claim c SET version = l.version + 1
FROM (SELECT claim_key, line_no, max(version) AS version FROM claim WHERE payer_id = %(new)s
      GROUP BY claim_key, line_no) l
WHERE c.payer_id = %(new)s AND c.superseded_at IS NULL AND c.claim_key = l.claim_key AND c.line_no = l.line_no
  AND c.version < l.version
"""
_SETTLE_COUNTS = """
UPDATE outcome_count c SET superseded_at = now()
FROM outcome_count o JOIN outcome_count n USING (procedure_code_id, measure, period_start, period_end)
WHERE o.payer_id = %(old)s AND n.payer_id = %(new)s AND o.superseded_at IS NULL AND n.superseded_at IS NULL
  AND c.id = least(o.id, n.id)
"""
_MOVE_COUNTS = """
WITH moved AS (UPDATE outcome_count SET payer_id = %(new)s WHERE payer_id = %(old)s RETURNING superseded_at)
SELECT count(*) FILTER (WHERE superseded_at IS NULL) FROM moved
"""


def payer_rows_move(*, old_id: uuid.UUID, new_id: uuid.UUID, **_signal: Any) -> dict[str, int]:
    """Current claims and outcome counts that moved; runs in the caller's transaction, under its lock.

    SQL: 5.
    """
    payers = {"old": old_id, "new": new_id}
    with connection.cursor() as cursor:
        cursor.execute(_SETTLE, payers)
        cursor.execute(_MOVE, payers)
        claims = int(cursor.fetchone()[0])
        cursor.execute(_RENUMBER, payers)
        cursor.execute(_SETTLE_COUNTS, payers)
        cursor.execute(_MOVE_COUNTS, payers)
        counts = int(cursor.fetchone()[0])
    return {"claims": claims, "outcome_counts": counts}
