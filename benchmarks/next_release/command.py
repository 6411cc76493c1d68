"""`python -m benchmarks live-migrations`: changes of a large table under traffic: who waited how long, who failed."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

import django

django.setup()

from rich.console import Console
from rich.table import Table

from benchmarks.faults.place import place, template
from benchmarks.next_release.live import Live, Phase, fill, log_waits, long_reader
from benchmarks.next_release.release import migrator, next_release

_POOLS = {"DRIFTGRAPH_READ_POOL_SIZE": "4", "DRIFTGRAPH_WRITE_THREADS": "4"}


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(prog="python -m benchmarks live-migrations", description=__doc__)
    found.add_argument("--rows", type=int, default=1_000_000, help="agent runs that are there before")
    found.add_argument("--connections", type=int, default=8, help="of clients that read and write all the time")
    found.add_argument("--pause", type=float, default=0.03, help="seconds before each request of a connection")
    found.add_argument("--reader", type=float, default=3.0, help="seconds of the transactions of a reader")
    found.add_argument("--quiet", type=float, default=20.0, help="seconds that are measured without a migration")
    found.add_argument("--limit", type=float, default=250.0, help="milliseconds that a request may take at most")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when no request failed and none took longer than the limit, else 1."""
    options, console, phases = parser().parse_args(arguments), Console(width=120), list[Phase]()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with template() as made, place(made, settings=_POOLS) as there, next_release() as release:
        console.print(f"Filling {options.rows:,} rows")
        fill(there, made.organization, options.rows)
        log_waits(there)
        with migrator(release, there) as migrations, long_reader(there, options.reader):
            live = Live(there, release, migrations, options.connections, options.pause)
            for phase in live.phases(options.quiet):
                phases.append(phase)
                console.print(f"{phase.name}: {phase.seconds:.1f} s, longest {phase.longest_ms:.0f} ms")
    console.print(_table(phases))
    longest = max(phase.longest_ms for phase in phases[1:])
    waited = max(phase.waited_ms for phase in phases[1:])
    failed = sum(phase.failures for phase in phases)
    answers = sum(phase.answers for phase in phases)
    console.print(f"{answers:,} answers, {failed} failed; load of the machine {os.getloadavg()[0]:.1f}")
    console.print(f"Longest request {longest:.0f} ms, longest wait for a lock {waited:.0f} ms")
    return int(failed > 0 or longest > options.limit)


def _table(phases: Sequence[Phase]) -> Table:
    table = Table("while", "s", "answers", "longest ms", "for a lock", "failed", box=None)
    for phase in phases:
        figures = (f"{phase.seconds:.1f}", f"{phase.answers:,}", f"{phase.longest_ms:.0f}", f"{phase.waited_ms:.0f}")
        table.add_row(phase.name, *figures, str(phase.failures))
    return table


if __name__ == "__main__":
    sys.exit(main())
