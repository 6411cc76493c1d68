"""The reports of a rehearsal as a table for people, and as findings with a place for SARIF."""

import io
from collections.abc import Sequence

from django.db.migrations.loader import MigrationLoader
from rich.console import Console
from rich.table import Table
from rich.text import Text

from backend.migration_safety.rehearsal.verdict import Report
from backend.migration_safety.sarif import Finding
from backend.migration_safety.selection import path_of

_WIDTH = 140
_SHORT = {
    "ShareLock": "SHARE",
    "ShareRowExclusiveLock": "SHARE ROW EXCLUSIVE",
    "ExclusiveLock": "EXCLUSIVE",
    "AccessExclusiveLock": "ACCESS EXCLUSIVE",
}


def table(reports: Sequence[Report], *, colour: bool = False) -> str:
    """A line for each migration, and below them what is wrong and what was not looked at."""
    shown = Table(box=None, pad_edge=False)
    for heading in ("migration", "verdict", "strong locks", "rewrite", "rows under lock", "longest statement", "time"):
        shown.add_column(
            heading, justify="right" if heading in ("rows under lock", "longest statement", "time") else "left"
        )
    for report in reports:
        shown.add_row(
            report.migration,
            Text("pass", "green") if report.passed else Text("FAIL", "bold red"),
            ", ".join(f"{_SHORT[mode]} {name}" for name, mode in sorted(report.locks.items())) or "-",
            ", ".join(report.rewritten) or "-",
            str(report.scanned),
            f"{report.blocked_ms:.0f} ms",
            f"{report.seconds:.1f} s",
        )
    text = io.StringIO()
    console = Console(file=text, width=_WIDTH, force_terminal=colour, no_color=not colour, highlight=False)
    console.print(shown)
    for report in reports:
        for finding in report.findings:
            excused = f" (accepted: {finding.reason})" if finding.reason else ""
            console.print(Text(f"{report.migration}: {finding.rule}: {finding.message}{excused}"), soft_wrap=True)
        for note in report.notes:
            console.print(Text(f"{report.migration}: not looked at: {note}"), soft_wrap=True)
    return text.getvalue()


def located(reports: Sequence[Report]) -> list[Finding]:
    """What is wrong, at the file of the migration."""
    graph = MigrationLoader(None).graph
    paths = {f"{app}.{name}": path_of(migration) for (app, name), migration in graph.nodes.items()}
    return [
        Finding(report.migration, found.rule, found.message, paths[report.migration], 1, found.reason)
        for report in reports
        for found in report.findings
    ]


def metrics(reports: Sequence[Report]) -> dict[str, tuple[float, str]]:
    """Number of migrations, and the longest time that a statement and a rehearsal took."""
    return {
        "migrations": (len(reports), ""),
        "longest_statement": (round(max((report.blocked_ms for report in reports), default=0), 1), "ms"),
        "longest_rehearsal": (round(max((report.seconds for report in reports), default=0), 1), "s"),
    }
