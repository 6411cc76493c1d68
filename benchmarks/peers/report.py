"""Tables on the terminal, and the same figures as JSON."""

import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.peers.contest import QUERIES
from benchmarks.peers.ratios import Summary

RESULTS = Path(__file__).resolve().parents[1] / "results"

_COLUMNS = (
    ("requests/s", "requests_per_second", "{:,.1f}"),
    ("p50 ms", "p50_ms", "{:.2f}"),
    ("p99 ms", "p99_ms", "{:.2f}"),
    ("server CPU ms", "server_cpu_ms", "{:.3f}"),
    ("PostgreSQL CPU ms", "database_cpu_ms", "{:.3f}"),
    ("statements", "statements", "{:g}"),
    ("with settings", "statements_with_settings", "{:g}"),
    ("bytes", "bytes", "{:,}"),
)


def show_queries(figures: Mapping[str, Any], queries: Sequence[str], ours: str, console: Console) -> None:
    """One table per query, a row per server."""
    for query in queries:
        table = Table(title=f"{query.upper()}: {QUERIES[query]}", title_justify="left")
        table.add_column("server")
        for heading, _, _ in _COLUMNS:
            table.add_column(heading, justify="right")
        table.add_column(f"{ours} / server", justify="right")
        for server, by_query in figures.items():
            found = by_query[query]
            cells = [form.format(found[name]) for _, name, form in _COLUMNS]
            table.add_row(server, *cells, _factor(found.get("ours_over_this")))
        console.print(table)


def _factor(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def show_ratios(summaries: Mapping[str, Summary], queries: Sequence[str], title: str, console: Console) -> None:
    """Ratios by query, with their geometric mean and the worst."""
    table = Table(title=title, title_justify="left")
    table.add_column("against")
    for heading in (*(query.upper() for query in queries), "geometric mean", "worst"):
        table.add_column(heading, justify="right")
    for name, summary in summaries.items():
        cells = [_factor(summary.by_query.get(query)) for query in queries]
        table.add_row(name, *cells, _factor(summary.geometric_mean), _factor(summary.worst))
    console.print(table)


def show_curve(title: str, heading: str, rows: Mapping[str, Mapping[str, float]], form: str, console: Console) -> None:
    """Values of several servers (rows) at several points (columns)."""
    table = Table(title=title, title_justify="left")
    table.add_column(heading)
    points = list(dict.fromkeys(point for found in rows.values() for point in found))
    for point in points:
        table.add_column(point, justify="right")
    for server, found in rows.items():
        table.add_row(server, *(form.format(found[point]) if point in found else "" for point in points))
    console.print(table)


def write(name: str, content: Mapping[str, Any], console: Console) -> Path:
    """Writes benchmarks/results/NAME.json with what the figures belong to."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    whole = {"taken_at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(), **content}
    file.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    console.print(f"Written to {file}")
    return file


def machine() -> dict[str, Any]:
    """Processor, cores and kernel: figures of different machines are not to be compared."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")), ""
    )
    cores = sum(line.startswith("processor") for line in _lines(Path("/proc/cpuinfo")))
    return {"processor": model, "cores": cores, "kernel": platform.release(), "python": platform.python_version()}


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []


def commit(repository: Path) -> str:
    """The commit that was measured; empty outside of a clone."""
    outcome = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - the developer's own git
        cwd=repository,
        check=False,
        capture_output=True,
        text=True,
    )
    return outcome.stdout.strip()
