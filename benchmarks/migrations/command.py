"""`python -m benchmarks migrations`: the whole table, naive beside safe, as a rehearsal sees it. Exit 1 if it errs."""

import statistics
import sys
from typing import Any

import django

django.setup()

from rich.console import Console
from rich.table import Table

from backend.migration_safety.rehearsal.verdict import Report
from benchmarks.migrations.cases import NAIVE, SAFE
from benchmarks.migrations.shop import Case, rehearsed


def _row(case: Case, report: Report) -> tuple[list[Any], bool]:
    found = {finding.rule for finding in report.findings if not finding.reason}
    failing = sorted(
        finding.message.split(":")[0]
        for finding in report.findings
        if finding.rule in ("old-statement-fails", "least-insert-fails") and not finding.reason
    )
    right = found == case.broken and not report.notes
    verdict = ", ".join(sorted(found)) or "pass"
    cells = [verdict, f"{report.blocked_ms:.0f}", ", ".join(failing) or "-", f"{report.seconds:.2f}"]
    return [*cells, "" if right else "WRONG"], right


def main() -> int:
    """The number of cases that a rehearsal judges wrongly, at most 1."""
    table = Table("migration", "form", "rehearsal", "longest ms", "old statements that fail", "s", "", box=None)
    seconds, wrong = [], 0
    for naive, safe in zip(NAIVE, SAFE, strict=True):
        for form, case in (("naive", naive), ("safe", safe)):
            report = rehearsed(case)
            cells, right = _row(case, report)
            table.add_row(case.name if form == "naive" else "", form, *cells)
            seconds.append(report.seconds)
            wrong += not right
            if not right:
                print(case.name, form, report.as_json(), file=sys.stderr)
    Console(width=170).print(table)
    print(f"{len(seconds)} rehearsals, {wrong} judged wrongly, median {statistics.median(seconds):.2f} s")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
