"""The statements that turn staged claim lines into versions of claims. The order in which they run is in loading.py."""

from backend.payers.services import code_system_sql

DOUBTED = "count(*) FILTER (WHERE CASE WHEN row_no < 8 * length(d.bits) THEN get_bit(d.bits, row_no) = 1 END)"
"""How many rows had a warning before they were loaded, by the bits of DOUBTS; rows beyond its end had none."""
DOUBTS = "(SELECT %s::bytea AS bits) d"

NO_CODE = "UNKNOWN"
"""Stands for the procedure of a remitted claim without service lines."""


def unseen_payers(stage: str) -> str:
    """Payer names of a staging table without an alias: raw name, name, X12 code, first row."""
    return f"""
SELECT s.payer_raw, min(s.payer_name), min(s.payer_code), min(s.row_no) FROM {stage} s
WHERE NOT EXISTS (SELECT FROM payer_alias a WHERE a.raw_name = s.payer_raw)
GROUP BY s.payer_raw ORDER BY s.payer_raw
"""


def unseen_codes(stage: str) -> str:
    """Procedure codes of a staging table that the organization lacks: code, most frequent group, first row."""
    return f"""
SELECT m.code, m.file_group, m.first_row FROM (
  SELECT coalesce(s.procedure_code, '{NO_CODE}') AS code,
    mode() WITHIN GROUP (ORDER BY s.procedure_group) AS file_group, min(s.row_no) AS first_row
  FROM {stage} s GROUP BY 1) m
WHERE NOT EXISTS (
  SELECT FROM procedure_code c WHERE c.code = m.code AND c.system = {code_system_sql("m.code")})
ORDER BY m.code
"""


def unseen_groups(stage: str) -> str:
    """Procedure groups of a staging table that the organization lacks."""
    return f"""
SELECT DISTINCT s.procedure_group FROM {stage} s
WHERE s.procedure_group IS NOT NULL AND NOT EXISTS (SELECT FROM procedure_group g WHERE g.code = s.procedure_group)
ORDER BY 1
"""


DIMENSIONS = f"""
JOIN payer_alias a ON a.raw_name = s.payer_raw
JOIN procedure_code c ON c.code = coalesce(s.procedure_code, '{NO_CODE}')
  AND c.system = {code_system_sql(f"coalesce(s.procedure_code, '{NO_CODE}')")}
LEFT JOIN procedure_group g ON g.code = s.procedure_group
"""

# A line that the file or any stored version holds already is "seen"; the others of a claim line take turns by date.
RESOLVE = f"""
INSERT INTO claim_row
SELECT f.*, CASE WHEN NOT f.seen THEN
    row_number() OVER (PARTITION BY payer_id, claim_key, line_no, seen ORDER BY decided_on NULLS FIRST, row_no) END
FROM (
  SELECT r.*, r.copy_no > 1 OR EXISTS (
      SELECT FROM claim v WHERE v.payer_id = r.payer_id AND v.claim_key = r.claim_key AND v.line_no = r.line_no
        AND v.row_sha256 = r.row_sha256) AS seen
  FROM (
    SELECT s.*, a.payer_id, c.id AS code_id, coalesce(g.id, c.group_id) AS group_id,
      row_number() OVER (PARTITION BY a.payer_id, s.claim_key, s.line_no, s.row_sha256 ORDER BY s.row_no) AS copy_no
    FROM claim_stage s {DIMENSIONS}) r) f
"""

TURNS = "SELECT coalesce(max(turn), 0), count(*) FILTER (WHERE seen) FROM claim_row"

# "Forward" is a later decision, a later or first payment of it, a first or firmer outcome, a decision after a reversal.
JUDGE = """
INSERT INTO claim_verdict (id, turn, row_no, previous_id, version, verdict)
SELECT r.id, r.turn, r.row_no, p.id, coalesce(p.version, 0) + 1,
  CASE
    WHEN p.id IS NULL THEN 'NEW'
    WHEN r.submitted_on IS NULL AND r.decided_on < p.submitted_on THEN 'IMPOSSIBLE'
    WHEN r.is_reversal AND p.outcome <> 'REVERSED' AND (p.decided_on IS NULL OR r.decided_on >= p.decided_on)
      THEN 'REVERSAL'
    WHEN r.is_reversal THEN 'STALE'
    WHEN p.outcome = 'PENDING' AND r.outcome <> 'PENDING' THEN 'FORWARD'
    WHEN p.outcome = 'REVERSED' AND r.decided_on >= p.decided_on THEN 'FORWARD'
    WHEN r.decided_on > p.decided_on THEN 'FORWARD'
    WHEN p.outcome <> 'REVERSED' AND r.decided_on = p.decided_on AND (
        r.paid_on > p.paid_on OR (p.paid_on IS NULL AND r.paid_on IS NOT NULL)
        OR (p.outcome = 'OTHER' AND r.outcome IN ('PAID', 'PARTIAL', 'DENIED'))) THEN 'FORWARD'
    WHEN p.submitted_on IS NULL AND r.submitted_on > p.decided_on THEN 'IMPOSSIBLE'
    WHEN p.submitted_on IS NULL AND r.submitted_on IS NOT NULL THEN 'FILL'
    ELSE 'STALE'
  END
FROM claim_row r
LEFT JOIN claim p ON p.payer_id = r.payer_id AND p.claim_key = r.claim_key AND p.line_no = r.line_no
  AND p.superseded_at IS NULL
WHERE r.turn = %s
"""

SURPLUS = """
INSERT INTO claim_verdict (id, turn, row_no, verdict) SELECT id, turn, row_no, 'SURPLUS' FROM claim_row WHERE turn > %s
"""

SUPERSEDE = """
UPDATE claim p SET superseded_at = now() FROM claim_verdict v
WHERE v.turn = %s AND v.previous_id = p.id AND v.verdict IN ('FORWARD', 'REVERSAL', 'FILL')
"""

COLUMNS = """id, organization_id, batch_id, source_row_no, version, row_sha256, payer_id, claim_key, line_no,
  procedure_code_id, group_id, modifiers, submitted_on, decided_on, paid_on, outcome, billed_cents, allowed_cents,
  paid_cents, auth_required, auth_present, denial_carc, denial_group, rarc, auth_denial, patient_ref, provider_ref,
  place_of_service, key_no"""


def _decision(column: str, reversed_value: str = "NULL") -> str:
    """A column of the decision: the stored one when only a submitted date is filled in, nothing when it is reversed."""
    return f"CASE WHEN f.fill THEN p.{column} WHEN r.is_reversal THEN {reversed_value} ELSE r.{column} END"


INSERT_VERSIONS = f"""
INSERT INTO claim ({COLUMNS})
SELECT r.id, %s, %s, r.row_no, v.version, r.row_sha256, r.payer_id, r.claim_key, r.line_no,
  CASE WHEN p.id IS NOT NULL AND (f.fill OR r.procedure_code IS NULL) THEN p.procedure_code_id ELSE r.code_id END,
  CASE WHEN p.id IS NOT NULL AND r.procedure_group IS NULL AND (r.procedure_code IS NULL OR f.fill
      OR p.procedure_code_id = r.code_id) THEN p.group_id ELSE r.group_id END,
  CASE WHEN p.id IS NOT NULL AND r.modifiers = '{{}}' THEN p.modifiers ELSE r.modifiers END,
  coalesce(r.submitted_on, p.submitted_on, (
    SELECT min(o.submitted_on) FROM claim o
    WHERE o.payer_id = r.payer_id AND o.claim_key = r.claim_key AND o.submitted_on <= r.decided_on)),
  {_decision("decided_on", "greatest(r.decided_on, p.submitted_on)")}, {_decision("paid_on")},
  CASE WHEN f.fill THEN p.outcome WHEN r.is_reversal THEN 'REVERSED' ELSE r.outcome END,
  CASE WHEN f.fill OR r.is_reversal THEN coalesce(p.billed_cents, greatest(r.billed_cents, 0))
    ELSE coalesce(r.billed_cents, p.billed_cents) END,
  {_decision("allowed_cents")}, {_decision("paid_cents")},
  coalesce(r.auth_required, p.auth_required), coalesce(r.auth_present, p.auth_present),
  {_decision("denial_carc")}, {_decision("denial_group")}, {_decision("rarc", "'{}'")},
  {_decision("auth_denial", "false")}, coalesce(r.patient_ref, p.patient_ref),
  coalesce(r.provider_ref, p.provider_ref), coalesce(r.place_of_service, p.place_of_service), %s
FROM claim_verdict v
JOIN claim_row r ON r.id = v.id
LEFT JOIN claim p ON p.id = v.previous_id
CROSS JOIN LATERAL (SELECT v.verdict = 'FILL' AS fill) f
WHERE v.turn = %s AND v.verdict IN ('NEW', 'FORWARD', 'REVERSAL', 'FILL')
ORDER BY r.payer_id, r.claim_key, r.line_no
"""

# Lines of the same claim that only a remittance told of so far: they were submitted with this one.
UNDATED_LINES = """
SELECT p.id, min(r.submitted_on), min(r.row_no) FROM claim_row r
JOIN claim p ON p.payer_id = r.payer_id AND p.claim_key = r.claim_key AND p.superseded_at IS NULL
WHERE p.submitted_on IS NULL AND r.submitted_on <= p.decided_on
GROUP BY p.id ORDER BY p.id
"""

SUPERSEDE_LINES = "UPDATE claim SET superseded_at = now() WHERE id = ANY(%s)"

INSERT_DATED_LINES = f"""
INSERT INTO claim ({COLUMNS})
SELECT n.id, p.organization_id, %s, n.row_no, p.version + 1, p.row_sha256, p.payer_id, p.claim_key, p.line_no,
  p.procedure_code_id, p.group_id, p.modifiers, n.submitted_on, p.decided_on, p.paid_on, p.outcome, p.billed_cents,
  p.allowed_cents, p.paid_cents, p.auth_required, p.auth_present, p.denial_carc, p.denial_group, p.rarc,
  p.auth_denial, p.patient_ref, p.provider_ref, p.place_of_service, p.key_no
FROM unnest(%s::uuid[], %s::uuid[], %s::date[], %s::int[]) AS n(id, previous_id, submitted_on, row_no)
JOIN claim p ON p.id = n.previous_id
ORDER BY p.payer_id, p.claim_key, p.line_no
"""

TALLY = f"""
SELECT verdict, count(*), {DOUBTED},
  (array_agg(row_no ORDER BY row_no) FILTER (WHERE verdict IN ('STALE', 'SURPLUS', 'IMPOSSIBLE')))[1:%s]
FROM claim_verdict, {DOUBTS} GROUP BY verdict
"""

DATE_SPAN = "SELECT min(least(submitted_on, decided_on)), max(greatest(submitted_on, decided_on)) FROM claim_stage"

# Removing a batch: what it superseded is current again, unless a later batch has its own version.
ROLLBACK_CLAIMS = """
WITH gone AS (
  DELETE FROM claim WHERE batch_id = %s RETURNING payer_id, claim_key, line_no, superseded_at
), current_gone AS (
  SELECT payer_id, claim_key, line_no FROM gone WHERE superseded_at IS NULL
), before AS (
  SELECT DISTINCT ON (p.payer_id, p.claim_key, p.line_no) p.id
  FROM claim p JOIN current_gone USING (payer_id, claim_key, line_no)
  WHERE p.batch_id <> %s ORDER BY p.payer_id, p.claim_key, p.line_no, p.version DESC
)
SELECT (SELECT count(*) FROM gone), (SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM before)
"""

RESTORE_CLAIMS = "UPDATE claim SET superseded_at = NULL WHERE id = ANY(%s)"

ROLLBACK_COUNTS = """
WITH gone AS (
  DELETE FROM outcome_count WHERE batch_id = %s
  RETURNING payer_id, procedure_code_id, measure, period_start, period_end, superseded_at
), current_gone AS (SELECT * FROM gone WHERE superseded_at IS NULL), before AS (
  SELECT DISTINCT ON (p.payer_id, p.procedure_code_id, p.measure, p.period_start, p.period_end) p.id
  FROM outcome_count p JOIN current_gone USING (payer_id, procedure_code_id, measure, period_start, period_end)
  WHERE p.batch_id <> %s
  ORDER BY p.payer_id, p.procedure_code_id, p.measure, p.period_start, p.period_end, p.version DESC
)
SELECT (SELECT count(*) FROM gone), (SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM before)
"""

RESTORE_COUNTS = "UPDATE outcome_count SET superseded_at = NULL WHERE id = ANY(%s)"
