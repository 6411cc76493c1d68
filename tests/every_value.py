"""Rows of every table with every kind of value that its columns allow; the same ones in each run, with the same ids."""

import datetime
import hashlib
import itertools
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models

from backend.accounts.models import Organization
from backend.agents.models import Agent, AgentMetric, AgentRun, Finding, FindingState
from backend.alerts.models import Alert, AlertRule
from backend.claims.models import Claim, ImportBatch, ImportIssue, QualityReport
from backend.core.tenancy import acting_for
from backend.drift.models import DetectionRun, DriftEvent, DriftObservation, DriftTest
from backend.payers.models import Payer, ProcedureCode, ProcedureGroup

TEXTS = (
    "plain",
    "",
    'says "no"',
    "back\\slash \\n \\u0041 \\",
    "\x01\x02\x1f\x7f \t\n\r\b\f",
    "naïve ≠ \u2028\u2029 \x85\xa0 \ufeff",
    "😀 \U0001d4b3 \U0010ffff",
    "it's; -- %s %% $1 {0} {}",
    "https://example.org/?q='\"\\",
    "http://example.org",
    "javascript:alert(1)",
    "0.csv.gz",
    '{"a": [1, null]}',
    "NULL",
)
DATES = tuple(
    datetime.date.fromisoformat(text) for text in ("2026-03-01", "0001-01-01", "9999-12-31", "2000-02-29", "1969-12-31")
)
MOMENTS = tuple(
    datetime.datetime.fromisoformat(f"{text}+00:00")
    for text in (
        "2026-03-01T12:00:00",
        "2026-03-01T12:00:00.500000",
        "2026-03-01T12:00:00.120450",
        "2026-03-01T12:00:00.000001",
        "0001-01-01T00:00:00",
        "9999-12-31T23:59:59.999999",
        "1969-12-31T23:59:59",
    )
)
FLOATS = (0.1, 0.0, -0.0, 1.0, -12.5, 5e-324, 1.7976931348623157e308, 1e15, 999999999999999.0, 1e-5, 2 / 3, 1e22)
SHARES = (0.05, 0.0, 1.0, 1e-300, 0.30000000000000004)
AMOUNTS = (0, 1, 99, 12_345_678, 2**63 - 1)
COUNTS = (0, 1, 2**31 - 1, 2_500)
_INTEGERS: dict[str, tuple[int, ...]] = {
    "SmallIntegerField": (0, 1, -(2**15), 2**15 - 1),
    "IntegerField": (0, 1, -(2**31), 2**31 - 1),
    "BigIntegerField": (0, 1, -(2**63), 2**63 - 1, 2**53 + 1, -1),
}
_DAY = datetime.timedelta(days=1)


def key(model: type[models.Model], number: int) -> uuid.UUID:
    """The id of a row; numbers that no row has give ids that nobody finds."""
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{model._meta.db_table} {number}")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _plain_values(field: Any) -> Sequence[Any]:
    """What a column without further rules can hold, NULL left out."""
    kind = field.get_internal_type()
    if field.choices:
        return [value for value, _ in field.choices]
    if isinstance(field, ArrayField):
        items = list(_plain_values(field.base_field))
        return [[], items[:1], items]
    if kind in _INTEGERS:
        return _INTEGERS[kind]
    found: dict[str, Sequence[Any]] = {
        "TextField": TEXTS,
        "CharField": [text[: field.max_length] for text in TEXTS],
        "FloatField": FLOATS,
        "BooleanField": (True, False),
        "DateField": DATES,
        "DateTimeField": MOMENTS,
        "BinaryField": (b"", b"\x00\xff\x01", _digest("any")),
        "UUIDField": (uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)),
    }
    return found[kind]


Value = Callable[[int], Any]


def _of(values: Sequence[Any], shift: int = 0) -> Value:
    return lambda number: values[(number + shift) % len(values)]


def _link(model: type[models.Model], numbers: Sequence[int]) -> Value:
    return lambda number: key(model, numbers[number % len(numbers)])


def _none_or(every: int, value: Value) -> Value:
    return lambda number: None if number % every == every - 1 else value(number)


# The one row of a table with a value that its GraphQL type does not know.
BROKEN_METRIC, BROKEN_TEST, BROKEN_EVENT, BROKEN_FINDING, INFINITE_METRIC, UNKNOWN_REASON = 17, 33, 27, 37, 11, 31


def _except(number: int, odd: Any, otherwise: Value) -> Value:
    return lambda one: odd if one == number else otherwise(one)


def _windows(number: int) -> tuple[datetime.date, ...]:
    if number % 5 == 1:
        return DATES[1], DATES[1], DATES[2], DATES[2]
    start = DATES[0] + number * _DAY
    return start, start + 27 * _DAY, start + 28 * _DAY, start + 55 * _DAY


_NAMES = ("baseline_start", "baseline_end", "current_start", "current_end")
_MEASURED: dict[str, Value] = {
    **{name: (lambda number, place=place: _windows(number)[place]) for place, name in enumerate(_NAMES)},
    "q_value": _of(SHARES),
    "confidence": _of(SHARES, 1),
    "severity_score": _of(SHARES, 2),
}
_DENIED = ("DENIED", "PAID", "PENDING", "PARTIAL", "DENIED", "REVERSED", "OTHER")
_LIVE = ("OPEN", "RESOLVED", "CONFIRMED", "DISMISSED", "ACKNOWLEDGED", "EXPIRED", "DISMISSED")
_REASONS = ("MIN_SAMPLE", None, "INFORMATION", "FDR", "DISPERSION", "EFFECT_FLOOR")
_RUNS = ("SUCCEEDED", "QUEUED", "FAILED", "RUNNING", "CANCELLED", "TIMED_OUT")
_TOOLS = ([], [{"name": 'a "b"', "version": None}], [{"name": "c", "version": "1\\2", "exitCode": -1, "skipped": True}])
_EVIDENCE = (
    {},
    {"reasons": [{"code": "CO-\n16", "count": 12}, {"code": "", "count": 0, "baseline_count": 3}]},
    {"procedures": [{"code": "99213", "count": 11, "rate": 1 / 3}], "reasons": []},
)


def _decided(number: int) -> datetime.date | None:
    return None if _of(_DENIED)(number) == "PENDING" else DATES[0] + number * _DAY


_ROWS: dict[type[models.Model], tuple[int, dict[str, Value]]] = {
    Payer: (14, {"code": lambda number: f"p{number:02d}{TEXTS[number]}"}),
    ProcedureGroup: (6, {"code": lambda number: f"{TEXTS[number]}{number}"}),
    ProcedureCode: (12, {"code": lambda number: f"{number:05d}"[:7], "group_id": _link(ProcedureGroup, (0, 1, 0, 2))}),
    ImportBatch: (
        16,
        {
            "file_sha256": lambda number: _digest(f"file {number}"),
            "options": _of(({},)),
            **{f"rows_{name}": _of(COUNTS, shift) for shift, name in enumerate(("total", "accepted", "duplicate"))},
            **{f"rows_{name}": _of(COUNTS, shift) for shift, name in enumerate(("updated", "rejected", "warned"))},
        },
    ),
    ImportIssue: (32, {"batch_id": _link(ImportBatch, (0, 0, 0, 3, 5)), "row_no": lambda number: number // 3}),
    QualityReport: (
        14,
        {
            "batch_id": _link(ImportBatch, range(14)),
            "score": _of(SHARES),
            "duplicate_rate": _of(SHARES, 1),
            "completeness": _of(({}, {"claim_id": 1.0, 'a "b"': 0.25})),
            "rule_counts": _of(({"E010": 2, "E001": 2**31 - 1}, {})),
            "lag_stats": _of(({},)),
            "volume_changes": _of(([],)),
        },
    ),
    Claim: (
        60,
        {
            "claim_key": lambda number: _digest(f"claim {number}")[:16],
            "line_no": _of((1, 999)),
            "payer_id": _link(Payer, (0, 1, 0, 2)),
            "procedure_code_id": _link(ProcedureCode, range(10)),
            "group_id": _link(ProcedureGroup, (0, 1, 2)),
            "batch_id": _link(ImportBatch, (0, 1, 4)),
            "outcome": _of(_DENIED),
            "submitted_on": _none_or(4, _of((DATES[0], DATES[1]))),
            "decided_on": _decided,
            "paid_on": _none_or(3, lambda number: (_decided(number) or DATES[0]) + 30 * _DAY),
            **{f"{name}_cents": _none_or(7, _of(AMOUNTS, at)) for at, name in enumerate(("billed", "allowed", "paid"))},
            "auth_denial": lambda number: number % 7 == 0,
            "version": _of((1, 2**31 - 1)),
            "superseded_at": lambda number: MOMENTS[0] if number % 6 == 5 else None,
        },
    ),
    DetectionRun: (
        12,
        {
            "config": _of(({},)),
            "config_hash": lambda number: _digest(f"config {number}"),
            "q": _of((0.05, 1e-12, 0.9999999999999999)),
            "dispersion": _of(({},)),
            "error_code": _of(("", "TIMEOUT", "BAD_USER_INPUT", "INTERNAL", "ABANDONED", "OF_A_LATER_VERSION")),
        },
    ),
    DriftTest: (
        40,
        {
            "run_id": _link(DetectionRun, (0, 0, 1, 0, 4)),
            "payer_id": _link(Payer, range(7)),
            "level": _of(("PAYER", "PAYER_GROUP")),
            "group_id": lambda number: key(ProcedureGroup, number % 3) if number % 2 else None,
            "window_days": lambda number: number - 2,
            **{name: _of(COUNTS, place) for place, name in enumerate(("n0", "n1", "x0", "x1"))},
            "effect": _except(BROKEN_TEST, float("nan"), _none_or(5, _of(FLOATS))),
            "q_value": _of(SHARES),
            "significant": lambda number: number != UNKNOWN_REASON and _of(_REASONS)(number) is None,
            "reason_not_flagged": _except(UNKNOWN_REASON, 'A "LATER" ONE', _of(_REASONS)),
        },
    ),
    DriftEvent: (
        42,
        {
            **_MEASURED,
            "payer_id": _link(Payer, range(7)),
            "group_id": _none_or(3, _link(ProcedureGroup, range(4))),
            "delta": _except(BROKEN_EVENT, float("-inf"), _of(FLOATS)),
            "first_run_id": _link(DetectionRun, (0, 1, 2)),
            "last_run_id": _link(DetectionRun, (3, 4)),
            "status": _of(_LIVE),
            "ended_on": lambda number: DATES[number % 5] if number % 7 in (1, 5, 6) else None,
            "first_seen_on": _of((DATES[0], DATES[1])),
            "last_seen_on": _of((DATES[0], DATES[2])),
            "consecutive_runs": _of(COUNTS),
            "misses": _of((0, 1)),
            "parent_id": lambda number: key(DriftEvent, number % 2) if number > 9 and number % 3 else None,
            "evidence": _of(_EVIDENCE),
        },
    ),
    DriftObservation: (
        30,
        {
            **_MEASURED,
            "event_id": _link(DriftEvent, (0, 1, 2)),
            "run_id": lambda number: key(DetectionRun, number // 3),
        },
    ),
    AlertRule: (
        7,
        {
            "name": lambda number: f"{TEXTS[number + 1]}{number}",
            "min_confidence": _of(SHARES),
            "payer_ids": _of(([],)),
            "group_ids": _of(([],)),
        },
    ),
    Alert: (24, {"event_id": _link(DriftEvent, range(12)), "rule_id": lambda number: key(AlertRule, number // 12)}),
    Agent: (14, {"name": lambda number: f"{TEXTS[number]}{number % 2}"}),
    AgentRun: (
        40,
        {
            "agent_id": _link(Agent, (0, 1, 0, 2, 0)),
            "status": _of(_RUNS),
            "conclusion": lambda number: ("PASS", "FAIL", "INCONCLUSIVE")[number // 6 % 3] if number % 6 == 0 else None,
            "finished_at": lambda number: None if _of(_RUNS)(number) in ("QUEUED", "RUNNING") else MOMENTS[number % 7],
            "tools": _of(_TOOLS),
            "baseline_run_id": _none_or(2, _link(AgentRun, (0, 1, 2))),
            "sarif_sha256": _none_or(2, lambda number: _digest(f"sarif {number}")),
            "idempotency_key": _none_or(2, lambda number: f"key {number}"),
        },
    ),
    Finding: (
        60,
        {
            "run_id": _link(AgentRun, (0, 0, 1, 5)),
            "fingerprint": lambda number: _digest(f"finding {number}"),
            "cwe": _except(BROKEN_FINDING, [79, None], _of(([], [79], [-(2**31), 0, 2**31 - 1]))),
        },
    ),
    FindingState: (
        40,
        {
            "agent_id": _link(Agent, (0, 0, 1)),
            "fingerprint": lambda number: _digest(f"finding {number}"),
            "first_seen_run_id": _link(AgentRun, (0, 1)),
            "last_seen_run_id": _link(AgentRun, (2, 3)),
            "latest_finding_id": _link(Finding, range(40)),
            "justification": lambda number: TEXTS[number % 14] or "given",
        },
    ),
    AgentMetric: (
        30,
        {
            "run_id": _link(AgentRun, (0, 0, 1)),
            "name": lambda number: f"{TEXTS[number % 14]}.{number}",
            "value": _except(BROKEN_METRIC, float("nan"), _except(INFINITE_METRIC, float("inf"), _of(FLOATS))),
        },
    ),
}
COUNT = {model: count for model, (count, _) in _ROWS.items()}


def _row(model: type[models.Model], organization: Organization, number: int, given: dict[str, Value]) -> models.Model:
    values: dict[str, Any] = {"id": key(model, number), "organization_id": organization.id}
    for place, field in enumerate(model._meta.concrete_fields):
        name = field.attname
        if name in values or isinstance(field, models.GeneratedField):
            continue
        if name in given:
            values[name] = given[name](number)
            continue
        # Each column at its own pace, so that the values of two columns meet in every combination in time.
        known = [*_plain_values(field), None] if field.null else _plain_values(field)
        values[name] = known[(number + place) % len(known)]
    return model(**values)


def fill(organization: Organization) -> None:
    """Makes all rows."""
    with acting_for(organization.id):
        for model, (count, given) in _ROWS.items():
            model._default_manager.bulk_create(_row(model, organization, number, given) for number in range(count))


def empty(organization: Organization) -> None:
    """Takes them all away again: commands that go through all organizations are not to meet them."""
    with acting_for(organization.id):
        for model in reversed(_ROWS):
            models.QuerySet(model)._raw_delete("default")
    organization.delete()


def held(organization: Organization) -> dict[type[models.Model], list[models.Model]]:
    """The rows as the database keeps them."""
    with acting_for(organization.id):
        return {model: list(itertools.chain(model._default_manager.all())) for model in _ROWS}
