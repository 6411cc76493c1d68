"""Loads one file of outcome counts: staging, names, versions of published figures."""

import uuid
from collections.abc import Iterator

from django.db import connection

from backend.claims.loading import LoadResult
from backend.claims.loading_sql import DIMENSIONS, DOUBTED, DOUBTS
from backend.claims.staging import Progress, dimensions_ensure, staging_analyze, staging_copy, staging_open
from backend.ingestion.outcome_counts_csv import OutcomeCountsReader, StagedCount
from backend.payers.services import organization_lock

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_COLUMNS = (
    "s.id, s.row_no, s.payer_raw, s.payer_name, s.payer_code, s.procedure_code, s.procedure_group, s.measure,"
    " s.period_start, s.period_end, s.total, s.favourable"
)

# Of several figures for one key the largest total wins; a period may not overlap another one of its key.
_JUDGE = f"""
INSERT INTO count_row
SELECT {_COLUMNS}, s.payer_id, s.code_id, s.group_id, p.id, coalesce(p.version, 0) + 1,
  CASE
    WHEN s.copy_no > 1 THEN 'DUPLICATE'
    WHEN p.total = s.total AND p.favourable = s.favourable THEN 'DUPLICATE'
    WHEN p.id IS NOT NULL THEN 'UPDATE'
    WHEN EXISTS (
      SELECT FROM outcome_count o WHERE o.payer_id = s.payer_id AND o.procedure_code_id = s.code_id
        AND o.measure = s.measure AND o.superseded_at IS NULL
        AND o.period_start <= s.period_end AND o.period_end >= s.period_start) THEN 'OVERLAP'
    ELSE 'NEW'
  END
FROM (
  SELECT {_COLUMNS}, a.payer_id, c.id AS code_id, coalesce(g.id, c.group_id) AS group_id,
    row_number() OVER (PARTITION BY a.payer_id, c.id, s.measure, s.period_start, s.period_end
                       ORDER BY s.total DESC, s.row_no) AS copy_no
  FROM count_stage s {DIMENSIONS}) s
LEFT JOIN outcome_count p ON p.payer_id = s.payer_id AND p.procedure_code_id = s.code_id AND p.measure = s.measure
  AND p.period_start = s.period_start AND p.period_end = s.period_end AND p.superseded_at IS NULL
"""

_SUPERSEDE = """
UPDATE outcome_count p SET superseded_at = now() FROM count_row r WHERE r.verdict = 'UPDATE' AND r.previous_id = p.id
"""

_INSERT = """
INSERT INTO outcome_count (id, organization_id, payer_id, procedure_code_id, group_id, measure, period_start,
  period_end, total, favourable, batch_id, source_row_no, version)
SELECT id, %s, payer_id, code_id, group_id, measure, period_start, period_end, total, favourable, %s, row_no, version
FROM count_row WHERE verdict IN ('NEW', 'UPDATE')
ORDER BY payer_id, code_id, measure, period_start, period_end
"""

_TALLY = f"""
SELECT verdict, count(*), {DOUBTED}, (array_agg(row_no ORDER BY row_no) FILTER (WHERE verdict = 'OVERLAP'))[1:%s]
FROM count_row, {DOUBTS} GROUP BY verdict
"""

_SPAN = "SELECT min(period_start), max(period_end) FROM count_stage"


def stage_counts(
    reader: OutcomeCountsReader,
    result: LoadResult,
    progress: Progress | None,
    size: int,
) -> None:
    """Copies the good rows of a file to staging and collects the issues of all.

    SQL: 3.
    """

    def lines() -> Iterator[str]:
        for count, issues in reader:
            if issues:
                result.log.add_row(issues, staged_as=None if count is None else count.row_no)
            if count is not None:
                yield _line(count)

    staging_open()
    result.staged = staging_copy("count_stage", lines())
    result.total = max(reader.rows_read - reader.rows_skipped, result.staged)
    for found in reader.file_issues:
        result.log.add_row([found])
    staging_analyze("count_stage")
    if progress is not None:
        progress(size, size)


def load_counts(organization_id: uuid.UUID, batch_id: uuid.UUID, result: LoadResult, keep: int) -> None:
    """Writes new figures, and new versions of figures that changed.

    SQL: 10 to 16.
    """
    organization_lock(organization_id)
    dimensions_ensure("count_stage", organization_id, result.log)
    with connection.cursor() as cursor:
        cursor.execute(_JUDGE)
        staging_analyze("count_row")
        cursor.execute(_SUPERSEDE)
        cursor.execute(_INSERT, [organization_id, batch_id])
        cursor.execute(_TALLY, [keep, result.log.doubts])
        tally = {verdict: (number, doubted, rows) for verdict, number, doubted, rows in cursor.fetchall()}
        cursor.execute(_SPAN)
        result.date_min, result.date_max = cursor.fetchone()
    none: tuple[int, int, list[int]] = (0, 0, [])
    result.accepted, new_doubted, _ = tally.get("NEW", none)
    result.updated, updated_doubted, _ = tally.get("UPDATE", none)
    result.warned = new_doubted + updated_doubted
    result.duplicate = tally.get("DUPLICATE", none)[0] + result.log.counts["C102"]
    overlapping, doubted, rows = tally.get("OVERLAP", none)
    result.log.add_rows("C006", rows, total=overlapping, doubted=doubted, column="period_start")


def _line(count: StagedCount) -> str:
    cells = (
        count.row_no,
        count.payer_raw.translate(_ESCAPES),
        count.payer_name.translate(_ESCAPES),
        "\\N",
        count.procedure_code.translate(_ESCAPES),
        "\\N" if count.procedure_group is None else count.procedure_group.translate(_ESCAPES),
        count.measure,
        count.period_start,
        count.period_end,
        count.total,
        count.favourable,
    )
    return "\t".join(map(str, cells)) + "\n"
