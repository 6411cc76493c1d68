"""Collects the issues of one import: exact counts per rule, and as many rows per rule as the setting keeps."""

import uuid
from collections import Counter
from collections.abc import Iterable, Sequence

from django.db import connection

from backend.core.ids import uuid7
from backend.ingestion.records import Issue, Severity
from backend.ingestion.rules import RULES, Rule

LOAD_RULES = {
    rule.code: rule
    for rule in (
        Rule("W201", Severity.WARNING, "A version as new as this row, or newer, is known; the row was not loaded."),
        Rule("W202", Severity.WARNING, "The file holds too many versions of one claim line; the row was not loaded."),
        Rule("E201", Severity.ERROR, "The decision is dated before the known submitted date; the row was not loaded."),
    )
}
"""Rules that only the stored claims can decide."""

_INSERT = """
INSERT INTO import_issue (id, organization_id, batch_id, row_no, rule_code, "column", severity, message)
SELECT n.id, %s, %s, n.row_no, n.rule_code, n.col, n.severity, n.message
FROM unnest(%s::uuid[], %s::int[], %s::text[], %s::text[], %s::text[], %s::text[])
  AS n(id, row_no, rule_code, col, severity, message)
"""


class IssueLog:
    """The issues of one import, in memory bounded by the number of rules, and one bit per row."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._kept: dict[str, list[Issue]] = {}
        self._errors = 0
        self._warned = 0
        self._doubts = bytearray()
        self.counts: Counter[str] = Counter()

    @property
    def rows_with_errors(self) -> int:
        """Rows that were refused."""
        return self._errors

    @property
    def rows_warned(self) -> int:
        """Rows with a warning and no error."""
        return self._warned

    @property
    def doubts(self) -> bytes:
        """One bit per row number, set for the staged rows with a warning; numbers as get_bit() of the database counts.

        A row that staging took may still be left out at loading: only then is it known what became of its warning.
        """
        return bytes(self._doubts)

    def add_row(self, issues: Iterable[Issue], *, staged_as: int | None = None) -> None:
        """Takes the issues of one row, with its number if it went on to staging."""
        worst = {issue.severity for issue in issues}
        if Severity.ERROR in worst:
            self._errors += 1
        elif Severity.WARNING in worst:
            self._warned += 1
            if staged_as is not None:
                self._doubt(staged_as)
        for issue in issues:
            self.counts[issue.rule_code] += 1
            self._append(issue)

    def note(self, issue: Issue) -> None:
        """Takes an issue about a name, at the first row that uses it; the row itself is not at fault."""
        self.counts[issue.rule_code] += 1
        self._append(issue)

    def add_rows(self, code: str, row_numbers: Sequence[int], *, total: int, doubted: int, column: str = "") -> None:
        """Takes the first rows that broke a rule, the number of all of them, and of those with a warning already."""
        if not total:
            return
        rule = (LOAD_RULES | RULES)[code]
        self.counts[code] += total
        if rule.severity is Severity.ERROR:
            self._errors += total
            self._warned -= doubted
        elif rule.severity is Severity.WARNING:
            self._warned += total - doubted
        for row_no in row_numbers:
            self._append(Issue(row_no, code, column or None, rule.severity, rule.message))

    def save(self, organization_id: uuid.UUID, batch_id: uuid.UUID) -> None:
        """Writes the kept issues in row order.

        SQL: 1; none without issues.
        """
        rows = sorted((issue for kept in self._kept.values() for issue in kept), key=lambda issue: issue.row_no)
        if not rows:
            return
        columns: list[list[object]] = [
            [uuid7() for _ in rows],
            [row.row_no for row in rows],
            [row.rule_code for row in rows],
            [row.column or "" for row in rows],
            [row.severity.value for row in rows],
            [row.message for row in rows],
        ]
        with connection.cursor() as cursor:
            cursor.execute(_INSERT, [organization_id, batch_id, *columns])

    def _doubt(self, row_no: int) -> None:
        byte, bit = divmod(row_no, 8)
        if byte >= len(self._doubts):
            self._doubts.extend(bytes(byte + 1 - len(self._doubts)))
        self._doubts[byte] |= 1 << bit

    def _append(self, issue: Issue) -> None:
        kept = self._kept.setdefault(issue.rule_code, [])
        if len(kept) < self._keep:
            kept.append(issue)
