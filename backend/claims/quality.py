"""Measures how far a batch can be trusted, from its staged rows and the batches before it."""

import uuid
from typing import Any

from django.db import connection

from backend.claims.loading import LoadResult
from backend.claims.models import ImportBatch, QualityReport
from backend.core.ids import uuid7

CLAIM_COLUMNS = (
    "procedure_code", "procedure_group", "submitted_on", "decided_on", "paid_on", "billed_cents", "allowed_cents",
    "paid_cents", "auth_required", "auth_present", "denial_carc", "patient_ref", "provider_ref", "place_of_service",
)  # fmt: skip
COUNT_COLUMNS = ("procedure_code", "procedure_group", "period_start", "period_end", "total", "favourable")
EARLIER_BATCHES = 5
VOLUME_CHANGE = 0.5
MIN_USUAL_ROWS = 20  # fewer rows in a batch double and halve by chance

_LAGS = """
SELECT percentile_disc(ARRAY[0.1, 0.5, 0.9]) WITHIN GROUP (ORDER BY decided_on - submitted_on)
FROM claim_stage WHERE decided_on >= submitted_on
"""
_PENDING_BY_AGE = """
SELECT CASE WHEN age <= 14 THEN '0-14' WHEN age <= 30 THEN '15-30' WHEN age <= 60 THEN '31-60'
    WHEN age <= 90 THEN '61-90' ELSE '91+' END, avg((outcome = 'PENDING')::int)::float8
FROM (SELECT outcome, max(greatest(submitted_on, decided_on)) OVER () - submitted_on AS age
      FROM claim_stage WHERE submitted_on IS NOT NULL) aged
GROUP BY 1 ORDER BY 1
"""
# log-MAD: distance of log(amount) from the code's median, in robust standard deviations (1.4826 MAD), over 6.
_OUTLIERS = """
WITH amounts AS (
  SELECT coalesce(procedure_code, '') AS code, ln(nullif(billed_cents, 0)::float8) AS billed,
    ln(nullif(allowed_cents, 0)::float8) AS allowed
  FROM claim_stage WHERE NOT is_reversal AND greatest(billed_cents, allowed_cents) > 0
    AND coalesce(billed_cents, 0) >= 0 AND coalesce(allowed_cents, 0) >= 0
), middle AS (
  SELECT code, percentile_cont(0.5) WITHIN GROUP (ORDER BY billed) AS billed,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY allowed) AS allowed
  FROM amounts GROUP BY code HAVING count(*) >= 20
), away AS (
  SELECT code, abs(a.billed - m.billed) AS billed, abs(a.allowed - m.allowed) AS allowed
  FROM amounts a JOIN middle m USING (code)
), spread AS (
  SELECT code, 1.4826 * nullif(percentile_cont(0.5) WITHIN GROUP (ORDER BY billed), 0) AS billed,
    1.4826 * nullif(percentile_cont(0.5) WITHIN GROUP (ORDER BY allowed), 0) AS allowed
  FROM away GROUP BY code
)
SELECT count(*) FROM away JOIN spread s USING (code) WHERE away.billed / s.billed > 6 OR away.allowed / s.allowed > 6
"""
_UNMAPPED = """
SELECT count(DISTINCT p.id) FROM {stage} s
JOIN payer_alias a ON a.raw_name = s.payer_raw JOIN payer p ON p.id = a.payer_id WHERE NOT p.mapped
"""
# Rows per day of a batch's own span, so that a year's first file and a week's file can be compared.
_VOLUMES = """
WITH compared AS (
  SELECT id FROM import_batch WHERE kind = %s AND status IN ('LOADED', 'PARTIAL') AND id < %s
  ORDER BY id DESC LIMIT %s
), loaded AS (
  SELECT batch_id, payer_id, count(*) AS lines, min(coalesce(submitted_on, decided_on)) AS first_on,
    max(coalesce(submitted_on, decided_on)) AS last_on
  FROM claim WHERE batch_id = ANY(ARRAY(SELECT id FROM compared) || %s) GROUP BY batch_id, payer_id
), days AS (
  SELECT batch_id, greatest(max(last_on) - min(first_on) + 1, 1)::float8 AS days FROM loaded GROUP BY batch_id
), rates AS (
  SELECT l.payer_id, coalesce(sum(l.lines / d.days) FILTER (WHERE l.batch_id = %s), 0) AS rate,
    sum(l.lines / d.days) FILTER (WHERE l.batch_id <> %s)
      / nullif((SELECT count(*) FROM days WHERE batch_id <> %s), 0) AS usual,
    sum(l.lines) FILTER (WHERE l.batch_id <> %s) AS usual_lines
  FROM loaded l JOIN days d USING (batch_id) GROUP BY l.payer_id
)
SELECT payer_id, rate::float8, usual::float8, (rate / usual - 1)::float8 AS change FROM rates
WHERE usual > 0 AND usual_lines >= %s AND abs(rate / usual - 1) > %s ORDER BY payer_id
"""


def report_make(batch: ImportBatch, result: LoadResult, *, claims: bool, dropped_cells: int) -> QualityReport:
    """The saved report of a batch; score = 1 - (rows with errors + half the rows with warnings) / rows.

    `volume_changes` lists payers whose loaded rows per day differ by more than half from the mean of up to five
    earlier batches of the kind, payers without any row included: a missing file looks like drift.
    `dropped_cells` counts filled cells of unknown columns, which were dropped unread.

    SQL: 7 for claims, 3 for counts.
    """
    stage = "claim_stage" if claims else "count_stage"
    loaded = not result.refused
    report = QualityReport(
        id=uuid7(),
        organization_id=batch.organization_id,
        batch=batch,
        score=_score(result),
        completeness=_completeness(stage, CLAIM_COLUMNS if claims else COUNT_COLUMNS),
        rule_counts=dict(sorted(result.log.counts.items())),
        duplicate_rate=min(result.duplicate / result.total, 1.0) if result.total else 0.0,
        lag_stats=_lag_stats() if claims else {},
        volume_changes=_volume_changes(batch.id, batch.kind) if claims and loaded else [],
        outliers=_number(_OUTLIERS) if claims else 0,
        payer_unmapped=_number(_UNMAPPED.format(stage=stage)) if loaded else 0,
        dropped_cells=dropped_cells,
    )
    report.save(force_insert=True)
    return report


def _score(result: LoadResult) -> float:
    if not result.total:
        return 0.0
    bad = result.log.rows_with_errors + result.log.rows_warned / 2
    return min(max(1 - bad / result.total, 0.0), 1.0)


def _completeness(stage: str, columns: tuple[str, ...]) -> dict[str, float]:
    shares = ", ".join(f"count({column})::float8 / nullif(count(*), 0)" for column in columns)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {shares} FROM {stage}")
        row = cursor.fetchone()
    return {column: round(share or 0.0, 4) for column, share in zip(columns, row, strict=True)}


def _lag_stats() -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(_LAGS)
        days = cursor.fetchone()[0] or [None, None, None]
        cursor.execute(_PENDING_BY_AGE)
        pending = {age: round(share, 4) for age, share in cursor.fetchall()}
    return {"p10": days[0], "p50": days[1], "p90": days[2], "pending_by_age": pending}


def _volume_changes(batch_id: uuid.UUID, kind: str) -> list[dict[str, Any]]:
    same = [batch_id] * 4
    with connection.cursor() as cursor:
        cursor.execute(_VOLUMES, [kind, batch_id, EARLIER_BATCHES, batch_id, *same, MIN_USUAL_ROWS, VOLUME_CHANGE])
        rows = cursor.fetchall()
    return [
        {"payer_id": str(payer), "rows_per_day": rate, "usual_rows_per_day": usual, "change": change}
        for payer, rate, usual, change in rows
    ]


def _number(statement: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return int(cursor.fetchone()[0])
