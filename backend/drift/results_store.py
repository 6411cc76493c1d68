"""The tests of a run in the database, significant or not: the answer to "why was this not flagged"."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from backend.core.ids import uuid7
from backend.detection.types import TestResult
from backend.drift.models import DetectionRun
from backend.drift.rows import execute_rows, insert_sorted

_TESTS_PER_STATEMENT = 2_000
_TYPES = {
    **dict.fromkeys(("id", "organization_id", "run_id", "payer_id", "group_id"), "uuid"),
    **dict.fromkeys(("drift_type", "level", "reason_not_flagged"), "text"),
    "window_days": "smallint",
    **dict.fromkeys(("n0", "n1", "x0", "x1"), "integer"),
    **dict.fromkeys(("baseline_value", "current_value", "effect", "ci_low", "ci_high"), "double precision"),
    **dict.fromkeys(("statistic", "information", "p_raw", "p_adjusted", "q_value"), "double precision"),
    "significant": "boolean",
}
_INSERT = insert_sorted("drift_test", _TYPES, "drift_type, payer_id, group_id, window_days")
_COPIED = {field.name for field in fields(TestResult)} & set(_TYPES)


def store_tests(run: DetectionRun, results: Iterable[TestResult]) -> None:
    """Writes all tests of a run.

    SQL: 1 per 2,000 tests.
    """
    rows = [_row(run, test) for test in sorted(results, key=_order)]
    for start in range(0, len(rows), _TESTS_PER_STATEMENT):
        execute_rows(_INSERT, rows[start : start + _TESTS_PER_STATEMENT])


def _order(test: TestResult) -> tuple[str, str, str, int]:
    return test.drift_type, str(test.payer), str(test.group or ""), test.window_days


def _row(run: DetectionRun, test: TestResult) -> dict[str, Any]:
    return {
        "id": uuid7(),
        "organization_id": run.organization_id,
        "run_id": run.id,
        "payer_id": test.payer,
        "group_id": test.group,
        **{name: getattr(test, name) for name in _COPIED},
    }
