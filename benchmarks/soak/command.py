"""`python -m benchmarks soak`: mixed load while workers and PostgreSQL die, every answer checked."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table

from backend.core.errors import AppError
from benchmarks.peers import progress
from benchmarks.peers.contest import probe
from benchmarks.peers.database import REPOSITORY, WRITTEN, AlreadyRunning, BuildFailed, Database, alone, open_database
from benchmarks.peers.report import commit, write
from benchmarks.peers.servers import OURS, SERVERS, Running, ServerFailed, Setup, Variant, running
from benchmarks.soak.asking import Crowd, Writes
from benchmarks.soak.faults import Faults
from benchmarks.soak.judging import Tally, Verdict
from benchmarks.soak.leaks import Connections, connections
from benchmarks.soak.questions import Asked, asked

_SAYS_EVERY = 15  # seconds
_PASSED, _FAILED, _NOT_RUN = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen."""

    tally: Tally
    faults: list[str]
    connections: Connections
    lost_writes: int  # that the server had said were done
    double_writes: int  # that were sent again because no answer came, and done twice

    @property
    def passed(self) -> bool:
        """Whether nothing happened that must not."""
        wrong = self.tally.verdicts[Verdict.WRONG] + self.tally.verdicts[Verdict.FOREIGN]
        lasting = self.connections.leaked + self.connections.refused + self.lost_writes + self.double_writes
        return wrong + lasting + self.tally.unexcused == 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(prog="python -m benchmarks soak", description=__doc__)
    found.add_argument("--minutes", type=float, default=10.0)
    found.add_argument("--connections", type=int, default=32, help="clients, each with a connection of its own")
    found.add_argument("--most", type=int, default=5_000_000, help="requests, after which it ends before its time")
    found.add_argument("--workers", type=int, default=2, help="worker processes of the server")
    found.add_argument("--rows", type=float, default=0.05, help="factor on the number of rows; it is written to")
    found.add_argument("--server", choices=OURS, default=OURS[0], help="by which way of execution")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when all was well, 1 when something was wrong, 2 when it could not be run."""
    options, console = parser().parse_args(arguments), progress.console()
    try:
        with alone():
            outcome = _soak(options, console)
    except (AppError, AlreadyRunning, BuildFailed, ServerFailed) as error:
        console.print(f"{type(error).__name__}: {error}", markup=False, highlight=False)
        return _NOT_RUN
    _show(outcome, console)
    content = {
        "settings": {**vars(options), "commit": commit(REPOSITORY)},
        "passed": outcome.passed,
        "requests": dict(outcome.tally.verdicts),
        "errors": dict(outcome.tally.errors),
        "examples": outcome.tally.examples,
        "faults": outcome.faults,
        "connections": {**asdict(outcome.connections), "leaked": outcome.connections.leaked},
        "writes": {"lost": outcome.lost_writes, "double": outcome.double_writes},
    }
    write("soak", content, console)
    return _PASSED if outcome.passed else _FAILED


def _soak(options: argparse.Namespace, console: Console) -> Outcome:
    setup = Setup(database=open_database(options.rows, console), installations={})
    server, floor = SERVERS[options.server], SERVERS["floor"]
    variant = Variant(workers=options.workers, respawn=True)
    with running(server, setup, variant=variant, probe=probe(server, setup)) as ours:
        with running(floor, setup, probe=probe(floor, setup)) as theirs:
            questions = asked(theirs, ours, server, setup)
        console.print(
            f"{len(questions.questions)} questions; {options.minutes:g} minutes, {options.connections} clients"
        )
        return asyncio.run(_ask(questions, ours, setup.database, options, console))


async def _ask(
    questions: Asked, ours: Running, database: Database, options: argparse.Namespace, console: Console
) -> Outcome:
    seconds = options.minutes * 60
    faults, tally = Faults(ours, database, console), Tally()
    writes = Writes(database.tenants[WRITTEN].token)
    crowd = Crowd(ours.url, questions.questions, questions.judge, faults, writes, tally, options.most)
    saying = asyncio.create_task(_say(tally, console))
    try:
        await asyncio.gather(crowd.ask(options.connections, seconds), faults.run(seconds))
    finally:
        saying.cancel()
    heaviest = next(
        request for (_, question), request in questions.questions.items() if question == "runs with findings"
    )
    held = await connections(ours.url, heaviest, database)
    lost, double = _written(database, writes)
    return Outcome(tally, faults.done, held, lost, double)


async def _say(tally: Tally, console: Console) -> None:
    while True:
        await asyncio.sleep(_SAYS_EVERY)
        said = ", ".join(f"{name} {count:,}" for name, count in sorted(tally.verdicts.items()))
        console.print(said, highlight=False)


def _written(database: Database, writes: Writes) -> tuple[int, int]:
    """How many acknowledged writes are missing, and how many were done more than once."""
    with psycopg.connect(database.server.url("postgres", database.name)) as connection:
        found: dict[str, int] = dict(
            connection.execute(
                "SELECT commit, count(*) FROM agent_run WHERE branch = %s GROUP BY commit", (writes.branch,)
            ).fetchall()
        )
    return len(writes.acknowledged - found.keys()), sum(count > 1 for count in found.values())


def _show(outcome: Outcome, console: Console) -> None:
    table = Table(title="Requests", title_justify="left")
    table.add_column("what")
    table.add_column("number", justify="right")
    rows: list[tuple[str, Any]] = [(verdict.value, outcome.tally.verdicts[verdict]) for verdict in Verdict]
    rows += [(f"  error {kind}", count) for kind, count in sorted(outcome.tally.errors.items())]
    rows += [
        ("connections to PostgreSQL at the end", outcome.connections.open),
        ("of them leaked", outcome.connections.leaked),
        ("requests refused at the end", outcome.connections.refused),
        ("writes lost", outcome.lost_writes),
        ("writes done twice", outcome.double_writes),
    ]
    for name, count in rows:
        table.add_row(name, f"{count:,}")
    console.print(table)
    for kind, example in outcome.tally.examples.items() if not outcome.passed else ():
        console.print(f"{kind}: {example}", markup=False, highlight=False)
    for said in outcome.connections.suspicious:
        console.print(f"held: {said}", markup=False, highlight=False)
    console.print("All was well." if outcome.passed else "Something was wrong.")


if __name__ == "__main__":
    sys.exit(main())
