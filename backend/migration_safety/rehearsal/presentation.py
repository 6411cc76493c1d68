"""The reports of a rehearsal as a table for people."""

import io
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from backend.migration_safety.rehearsal.verdict import Report

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
