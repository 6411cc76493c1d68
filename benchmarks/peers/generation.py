"""The rows of the benchmark's database, made in SQL and the same on every machine: each value is a function of the
number of its row.
"""

from collections.abc import Iterator
from dataclasses import dataclass

GENERATOR = 1  # to be raised with every change of a statement here: databases of another number are built anew
ORGANIZATIONS = 20
MEASURED = 1  # number of the organization that the peers serve
CROWDED = ORGANIZATIONS  # number of the organization whose newest runs have a hundred findings each
PAYERS, GROUPS, DETECTION_RUNS, AGENTS = 40, 30, 50, 6  # per organization
FINDINGS_OF_CROWDED_RUN = 100
EVENTS, RUNS = 1_000_000, 100_000  # of all organizations, at factor 1; findings are ten per run

# In the session's own schema: nothing of the benchmark stays in the product's.
FUNCTIONS = (
    # A UUIDv7 whose time rises with n.
    """CREATE OR REPLACE FUNCTION pg_temp.row_id(kind text, organization bigint, n bigint) RETURNS uuid
    LANGUAGE sql IMMUTABLE AS $$ SELECT (lpad(to_hex(1750000000000 + n * 1000), 12, '0')
      || '7' || substr(md5(kind || ':' || organization || ':' || n), 1, 3)
      || '8' || substr(md5(kind || ':' || organization || ':' || n), 4, 15))::uuid $$""",
    # Evenly spread numbers, 0 to 2^24 - 1: the high bits of Knuth's multiplicative hash.
    """CREATE OR REPLACE FUNCTION pg_temp.draw(n bigint, salt bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE AS $$ SELECT ((n * 16 + salt) * 2654435761 % 4294967296) >> 8 $$""",
    """CREATE OR REPLACE FUNCTION pg_temp.share(n bigint, salt bigint) RETURNS double precision
    LANGUAGE sql IMMUTABLE AS $$ SELECT pg_temp.draw(n, salt) / 16777216.0::double precision $$""",
)

TABLES = ("organization", "payer", "procedure_group", "detection_run", "drift_event", "agent", "agent_run", "finding")

_ORGANIZATION = """
INSERT INTO organization (id, name, timezone, phi_policy, retention_days, fdr_q, severity_lift_cents)
VALUES (pg_temp.row_id('organization', 0, %(o)s), 'Organization ' || %(o)s, 'UTC', 'REJECT', 760, 0.05, 5000000)"""

_PAYER = """
INSERT INTO payer (id, organization_id, created_at, code, name, kind, active, mapped)
SELECT pg_temp.row_id('payer', %(o)s, i), pg_temp.row_id('organization', 0, %(o)s), timestamptz '2025-01-01 00:00Z',
  'payer-' || i, 'Payer ' || chr(65 + i %% 26) || i,
  (ARRAY['COMMERCIAL', 'MEDICARE', 'MEDICARE_ADV', 'MEDICAID', 'OTHER'])[1 + i %% 5], i %% 10 <> 0, true
FROM generate_series(0, %(payers)s - 1) AS i"""

_PROCEDURE_GROUP = """
INSERT INTO procedure_group (id, organization_id, created_at, code, name)
SELECT pg_temp.row_id('group', %(o)s, i), pg_temp.row_id('organization', 0, %(o)s), timestamptz '2025-01-01 00:00Z',
  'G' || i, 'Group "' || i || '" Röntgen & labs'
FROM generate_series(0, %(groups)s - 1) AS i"""

_DETECTION_RUN = """
INSERT INTO detection_run (id, organization_id, created_at, as_of, kind, source, config, config_hash, data_watermark,
  status, tests_total, tests_significant, events_opened, events_closed, q, dispersion, started_at, finished_at,
  error_code)
SELECT pg_temp.row_id('run', %(o)s, i), pg_temp.row_id('organization', 0, %(o)s), at, at::date,
  CASE WHEN i %% 10 = 0 THEN 'MANUAL' ELSE 'SCHEDULED' END, 'CLAIMS', '{}', '\\x00', md5('watermark' || i), 'SUCCEEDED',
  4000 + i, 40 + i %% 7, i %% 9, i %% 4, 0.05, '{}', at + interval '1 second', at + interval '9 seconds', ''
FROM generate_series(0, %(detection_runs)s - 1) AS i,
  LATERAL (SELECT timestamptz '2025-01-06 06:00Z' + i * interval '7 days' AS at) AS moment"""

# Payer, group, type, direction and source are the digits of i, so that the live ones (the first tenth) are all
# different, as the database demands. Money is not: equal amounts are told apart by id.
_DRIFT_EVENT = """
INSERT INTO drift_event (id, organization_id, created_at, baseline_value, current_value, delta, ci_low, ci_high,
  q_value, confidence, severity, severity_score, n0, n1, baseline_start, baseline_end, current_start, current_end,
  revenue_at_risk_30d_cents, revenue_low_cents, revenue_high_cents, drift_type, source, direction, harmful, status,
  unit, first_seen_on, last_seen_on, ended_on, misses, consecutive_runs, change_on, change_low_on, change_high_on,
  evidence, first_run_id, last_run_id, payer_id, group_id)
SELECT pg_temp.row_id('event', %(o)s, i), pg_temp.row_id('organization', 0, %(o)s),
  timestamptz '2025-01-06 06:00:00.123456Z' + i * interval '7 minutes',
  base, base + shift, shift, shift - 0.03, shift + 0.03, q, 1 - q,
  1 + pg_temp.draw(i, 3) %% 4, pg_temp.share(i, 4), 400 + pg_temp.draw(i, 5) %% 9000, 100 + pg_temp.draw(i, 6) %% 3000,
  seen - 120, seen - 31, seen - 30, seen, cents, cents / 2, cents * 2,
  (ARRAY['DENIAL_RATE', 'APPROVAL_RATE', 'AUTH_FAILURE_RATE', 'PAYMENT_AMOUNT', 'DECISION_TIME', 'PROCESSING_DELAY'])
    [1 + i / 1240 %% 6],
  (ARRAY['CLAIMS', 'OUTCOME_COUNTS'])[1 + i / 14880 %% 2], (ARRAY['UP', 'DOWN'])[1 + i / 7440 %% 2], i %% 3 <> 0,
  CASE WHEN i < live THEN (ARRAY['OPEN', 'CONFIRMED', 'ACKNOWLEDGED'])[1 + i %% 3]
    ELSE (ARRAY['RESOLVED', 'EXPIRED', 'DISMISSED'])[1 + i %% 3] END,
  (ARRAY['RATE', 'RATE', 'RATE', 'RATIO', 'DAYS', 'DAYS'])[1 + i / 1240 %% 6],
  seen - 7 * (1 + (pg_temp.draw(i, 7) %% 9))::int, seen, CASE WHEN i >= live THEN seen + 14 END, 0,
  1 + pg_temp.draw(i, 7) %% 9, CASE WHEN i %% 11 <> 0 THEN seen - 40 END, CASE WHEN i %% 11 <> 0 THEN seen - 47 END,
  CASE WHEN i %% 11 <> 0 THEN seen - 33 END,
  '{"reasons": [{"code": "CO-197", "count": 41, "baseline_count": 17}, {"code": "CO-50", "count": 23}],
    "procedures": [{"code": "99213", "count": 31, "rate": 0.21, "baseline_rate": 0.12}]}',
  pg_temp.row_id('run', %(o)s, week - 9), pg_temp.row_id('run', %(o)s, week),
  pg_temp.row_id('payer', %(o)s, i %% %(payers)s),
  CASE WHEN i / 40 %% 31 < %(groups)s THEN pg_temp.row_id('group', %(o)s, i / 40 %% 31) END
FROM generate_series(0, %(events)s - 1) AS i,
  LATERAL (SELECT %(events)s / 10 AS live, 9 + pg_temp.draw(i, 1) %% (%(detection_runs)s - 9) AS week,
    0.02 + 0.5 * pg_temp.share(i, 2) AS base, 0.4 * pg_temp.share(i, 8) - 0.1 AS shift, 0.05 * pg_temp.share(i, 9) AS q,
    pg_temp.draw(i, 10) / 2 * 100 AS cents) AS drawn,
  LATERAL (SELECT date '2025-01-06' + 7 * week::int AS seen) AS sight"""

_AGENT = """
INSERT INTO agent (id, organization_id, created_at, kind, name, version)
SELECT pg_temp.row_id('agent', %(o)s, i), pg_temp.row_id('organization', 0, %(o)s), timestamptz '2025-01-01 00:00Z',
  (ARRAY['CODE_QUALITY', 'DB_PERFORMANCE', 'TEST_COVERAGE', 'MIGRATION_SAFETY', 'HIPAA_COMPLIANCE', 'EXTERNAL'])[1 + i],
  'agent-' || i, '1.' || i
FROM generate_series(0, %(agents)s - 1) AS i"""

_AGENT_RUN = """
INSERT INTO agent_run (id, organization_id, created_at, agent_id, trigger, status, conclusion, commit, branch, tools,
  critical_count, high_count, medium_count, low_count, info_count, started_at, heartbeat_at, finished_at, duration_ms,
  external_trace_url)
SELECT pg_temp.row_id('agent-run', %(o)s, i), pg_temp.row_id('organization', 0, %(o)s), at,
  pg_temp.row_id('agent', %(o)s, i %% %(agents)s),
  (ARRAY['MANUAL', 'PRE_COMMIT', 'CI', 'PRE_DEPLOY', 'SCHEDULED'])[1 + i %% 5],
  CASE WHEN i %% 17 = 0 THEN 'FAILED' ELSE 'SUCCEEDED' END,
  CASE WHEN i %% 17 = 0 THEN NULL WHEN i %% 4 = 0 THEN 'FAIL' ELSE 'PASS' END,
  md5('commit' || i) || '01234567', CASE WHEN i %% 3 = 0 THEN 'main' ELSE 'feature/' || i END,
  '[{"name": "linter", "version": "1.2.3", "exitCode": 0}]',
  pg_temp.draw(i, 1) %% 3, pg_temp.draw(i, 2) %% 5, pg_temp.draw(i, 3) %% 9, pg_temp.draw(i, 4) %% 9,
  pg_temp.draw(i, 5) %% 9, at, at + interval '30 seconds', at + took * interval '1 millisecond', took, ''
FROM generate_series(0, %(runs)s - 1) AS i,
  LATERAL (SELECT timestamptz '2025-01-01 00:00:00.654321Z' + i * interval '53 minutes' AS at,
    1000 + pg_temp.draw(i, 6) %% 90000 AS took) AS moment"""

# Ten per run on average; in the crowded organization a tenth of the runs, the newest, have all of them.
_FINDING = """
INSERT INTO finding (id, organization_id, created_at, run_id, fingerprint, rule, tool, severity, category, title,
  message, path, start_line, end_line, start_column, end_column, cwe, help_uri, suppressed)
SELECT pg_temp.row_id('finding', %(o)s, n), pg_temp.row_id('organization', 0, %(o)s), timestamptz '2026-01-01 00:00Z',
  pg_temp.row_id('agent-run', %(o)s, i), sha256(('fingerprint' || n)::bytea), 'R' || 100 + pg_temp.draw(n, 1) %% 400,
  'linter', pg_temp.draw(n, 2) %% 5, 'security', 'Unchecked input reaches statement ' || n,
  'The value of "input' || n || '" is used without a check; bind it as a parameter, or refuse it where it comes in.',
  'src/module' || pg_temp.draw(n, 3) %% 50 || '/file' || pg_temp.draw(n, 4) %% 90 || '.py',
  1 + pg_temp.draw(n, 5) %% 900,
  3 + pg_temp.draw(n, 5) %% 900, CASE WHEN n %% 7 <> 0 THEN 1 + n %% 60 END, NULL, ARRAY[89, 20],
  'https://example.org/rules/' || 100 + pg_temp.draw(n, 1) %% 400, n %% 50 = 0
FROM generate_series(0, %(runs)s - 1) AS i,
  LATERAL (SELECT (i * 7) %% 20 AS few) AS spread,
  LATERAL generate_series(1, CASE WHEN %(o)s <> %(crowded)s THEN few + (few >= 10)::int
    WHEN i >= %(runs)s - %(runs)s / 10 THEN %(findings_of_crowded_run)s ELSE 0 END) AS k,
  LATERAL (SELECT i * 1000 + k AS n) AS number"""

_STATEMENTS = {
    "organization": _ORGANIZATION,
    "payer": _PAYER,
    "procedure_group": _PROCEDURE_GROUP,
    "detection_run": _DETECTION_RUN,
    "drift_event": _DRIFT_EVENT,
    "agent": _AGENT,
    "agent_run": _AGENT_RUN,
    "finding": _FINDING,
}


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many rows one organization has."""

    events: int
    runs: int

    @property
    def crowded_runs(self) -> int:
        """How many runs of the crowded organization have findings."""
        return self.runs // 10

    @classmethod
    def of(cls, factor: float) -> "Sizes":
        """The sizes at a factor; 1 gives a million events and as many findings, over all organizations."""
        return cls(
            events=max(200, round(EVENTS * factor / ORGANIZATIONS)),
            runs=max(50, round(RUNS * factor / ORGANIZATIONS)),
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One statement of one organization."""

    table: str
    organization: int  # number, from 1
    text: str
    values: dict[str, int]


def steps(sizes: Sizes) -> Iterator[Step]:
    """The statements that fill an empty database, in order."""
    for number in range(1, ORGANIZATIONS + 1):
        values = {
            "o": number,
            "payers": PAYERS,
            "groups": GROUPS,
            "detection_runs": DETECTION_RUNS,
            "agents": AGENTS,
            "crowded": CROWDED,
            "findings_of_crowded_run": FINDINGS_OF_CROWDED_RUN,
            "events": sizes.events,
            "runs": sizes.runs,
        }
        for table in TABLES:
            yield Step(table, number, _STATEMENTS[table], values)
