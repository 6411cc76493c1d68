"""What is wrong with a migration, by rule, and the marks with which a migration answers for it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.migrations import Migration

from backend.migration_safety.exceptions import reasons
from backend.migration_safety.locking import LOCK_TIMEOUT_LIMIT_MS
from backend.migration_safety.rehearsal.observation import Observed

RULES: Mapping[str, str] = {
    "failed": "the migration raises an error",
    "rewrite": "a table is rewritten: nobody reads or writes it meanwhile",
    "scan-under-lock": "a lock that live statements wait for is held while many rows are gone through",
    "no-lock-timeout": "a lock that live statements queue behind is waited for without a limit",
    "many-rows-at-once": "one transaction changes most rows of a table: their writers wait for its end",
    "old-statement-fails": "a statement of the deployed code fails, or does less than before",
    "least-insert-fails": "an INSERT fails that leaves out, or gives NULL for, what the models before allow it to",
    "not-looked-at": "what happens to a table cannot be told: it has no rows, or no statement on it works before",
    "invalid-index": "an index is left INVALID",
    "irreversible": "the migration cannot be taken back",
    "catalog-differs": "backward and forward again do not lead to the same catalog",
    "rows-differ": "rows are not what they were after forward and backward",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that was broken, where, and the reason given for that if there is one."""

    rule: str
    message: str
    reason: str = ""


@dataclass(slots=True)
class Report:
    """What a rehearsal saw of one migration."""

    migration: str
    statements: list[Observed] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what could not be looked at
    blocked_ms: float = 0.0  # longest statement of the deployed code
    load: int = 0  # statements of the deployed code while the migration ran
    attempts: int = 1  # how often the migration had to be tried for its locks
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every finding has a reason."""
        return all(finding.reason for finding in self.findings)

    @property
    def locks(self) -> dict[str, str]:
        """The strongest lock on each table."""
        found: dict[str, str] = {}
        for statement in self.statements:
            for table, mode in statement.locks.items():
                found[table] = max(found.get(table, ""), mode, key=_rank)
        return found

    @property
    def rewritten(self) -> list[str]:
        """The tables that got new files."""
        return sorted({table for statement in self.statements for table in statement.rewritten})

    @property
    def scanned(self) -> int:
        """Rows that were gone through under a strong lock."""
        return sum(statement.work for statement in self.statements if statement.locks)

    def add(self, rule: str, message: str) -> None:
        """Adds a finding."""
        self.findings.append(Finding(rule, message))

    def as_json(self) -> dict[str, Any]:
        """The report for machines."""
        return {
            "migration": self.migration,
            "passed": self.passed,
            "findings": [
                {"rule": item.rule, "message": item.message, "reason": item.reason or None} for item in self.findings
            ],
            "locks": self.locks,
            "rewritten": self.rewritten,
            "rows_under_lock": self.scanned,
            "longest_statement_ms": round(self.blocked_ms, 1),
            "attempts": self.attempts,
            "load": self.load,
            "seconds": round(self.seconds, 3),
            "notes": self.notes,
        }


def _rank(mode: str) -> int:
    order = ("", "ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
    return order.index(mode)


def judge_statements(statements: Sequence[Observed], rows: int) -> Iterable[Finding]:
    """What the locks, scans and rewrites of a migration amount to where tables have `rows` rows.

    Half of them is "many": a validation reads all, a batch of a backfill a fraction.
    """
    many = rows // 2
    for statement in statements:
        for table in statement.rewritten:
            yield Finding("rewrite", f"{table}: {statement.sql}")
        if statement.locks and statement.work >= many and not statement.rewritten:
            held = ", ".join(f"{mode} on {table}" for table, mode in statement.locks.items())
            yield Finding("scan-under-lock", f"{statement.work} rows with {held}: {statement.sql}")
        if statement.acquired and not 0 < statement.lock_timeout <= LOCK_TIMEOUT_LIMIT_MS:
            limit = f"{statement.lock_timeout} ms" if statement.lock_timeout else "none"
            yield Finding("no-lock-timeout", f"{', '.join(statement.acquired)}, limit {limit}: {statement.sql}")
    yield from _judge_changes(statements, many)


def _judge_changes(statements: Sequence[Observed], many: int) -> Iterable[Finding]:
    """What one statement changes, or all those of a transaction: their writers wait for its end."""
    together: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for number, statement in enumerate(statements):
        for table, changed in statement.changed.items():
            which = statement.transaction or f"statement {number}"
            together.setdefault((which, table), []).append((changed, statement.sql))
    for (_which, table), changes in together.items():
        total, (largest, text) = sum(changed for changed, _text in changes), max(changes)
        if largest >= many:
            yield Finding("many-rows-at-once", f"{largest} rows of {table}: {text}")
        elif total >= many:
            yield Finding(
                "many-rows-at-once",
                f"{total} rows of {table} in one transaction, by {len(changes)} statements such as {text}",
            )


def excuse(findings: Iterable[Finding], migration: Migration) -> list[Finding]:
    """The findings, each once, with the reasons that the migration gives."""
    given = reasons(migration)
    return [Finding(item.rule, item.message, given.get(item.rule, "")) for item in dict.fromkeys(findings)]
