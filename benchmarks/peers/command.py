"""`python -m benchmarks peers`: Driftgraph beside other servers over the same million rows, interleaved, by ratio."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from backend.core.errors import AppError
from benchmarks.peers import curves, memory
from benchmarks.peers.contest import QUERIES, AnswersDiffer, Entrant, entered, prepare, verify
from benchmarks.peers.database import REPOSITORY, BuildFailed, open_database
from benchmarks.peers.installation import Installation, NotInstalled, node_peer, python_peer
from benchmarks.peers.load import Load, LoadFailed, wrk
from benchmarks.peers.measuring import Measured, Plan, figures_of, rounds, statements
from benchmarks.peers.processes import pin
from benchmarks.peers.ratios import Summary, against
from benchmarks.peers.report import commit, show_queries, show_ratios, write
from benchmarks.peers.servers import OURS, PEERS, SERVERS, ServerFailed, Setup

_CONNECTIONS = 12
_SERVER_CORE, _DATABASE_CORE = 0, 1


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(prog="python -m benchmarks peers", description=__doc__)
    found.add_argument("--rows", type=float, default=1.0, help="factor on the number of rows; 0.01 for a trial")
    found.add_argument("--rounds", type=int, default=5, help="rounds; a ratio is the median of the rounds' ratios")
    found.add_argument("--seconds", type=int, default=2, help="seconds per server and query in a round, at least")
    found.add_argument("--warm-up", type=int, default=2, help="seconds per server and query before the first round")
    found.add_argument("--connections", type=int, default=_CONNECTIONS, help="keep-alive connections")
    found.add_argument("--workers", type=_numbers, default=[1], help="worker processes; 1,2 compares both")
    found.add_argument("--http", choices=("granian", "uvicorn"), default="granian", help="under the ASGI servers")
    found.add_argument("--pool", type=int, default=8, help="database connections per worker")
    found.add_argument("--servers", type=_names(SERVERS), default=[*OURS, *PEERS], help="which, comma separated")
    found.add_argument("--queries", type=_names(QUERIES), default=[*QUERIES], help="which, comma separated")
    found.add_argument("--pin", action="store_true", help="servers on the first core, PostgreSQL on the second")
    found.add_argument("--depth", action="store_true", help="instead: the rate of pages further and further down")
    found.add_argument("--width", action="store_true", help="instead: the rate of wider and wider pages")
    found.add_argument("--memory", action="store_true", help="instead: memory and start of our own servers")
    return found


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _names(known: Any) -> Any:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"not known: {', '.join(unknown)}; known: {', '.join(known)}")
        return names

    return parse


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when everything was measured, 1 with the reason on the terminal."""
    options = parser().parse_args(arguments)
    console = Console()
    if not Path("/proc/self/stat").exists():
        console.print("CPU and memory are read from /proc: this benchmark needs Linux.")
        return 1
    try:
        _measure(options, console)
    except (AppError, BuildFailed, NotInstalled, ServerFailed, AnswersDiffer, LoadFailed) as error:
        console.print(f"[red]{type(error).__name__}[/red]", end=": ")
        console.print(str(error), markup=False, highlight=False)
        return 1
    return 0


def _measure(options: argparse.Namespace, console: Console) -> None:
    wrk()
    names = [name for name in options.servers if name in OURS] if options.memory else options.servers
    installations = _installed(names, console)
    cores = frozenset({_SERVER_CORE}) if options.pin else None
    setup = Setup(
        database=open_database(options.rows, console),
        installations=installations,
        http=options.http,
        pool=options.pool,
        max_page=curves.WIDEST if options.width else 100,
        cores=cores,
    )
    if options.pin:
        pin(setup.database.postmaster, {_DATABASE_CORE})
    if options.memory:
        content = {name: memory.measure(name, setup, console) for name in names}
        write("memory", {"settings": _settings(options), **content}, console)
        return
    plan = Plan(Load(options.connections, options.seconds), options.rounds, options.warm_up)
    with entered([SERVERS[name] for name in names], setup, options.workers, console) as entrants:
        if options.depth:
            content = curves.depth(entrants, setup, plan, console)
            write("depth", {"settings": _settings(options), **content}, console)
        elif options.width:
            content = curves.width(entrants, setup, plan, console)
            write("width", {"settings": _settings(options), **content}, console)
        else:
            _contest(entrants, setup, plan, options, console)


def _installed(names: Sequence[str], console: Console) -> dict[str, Installation]:
    found = {
        name: python_peer(name, console) for name in names if name in ("stock_strawberry_django", "graphene_django")
    }
    if "postgraphile" in names:
        found["postgraphile"] = node_peer("postgraphile", console)
    return found


def _contest(entrants: list[Entrant], setup: Setup, plan: Plan, options: argparse.Namespace, console: Console) -> None:
    queries = options.queries
    for entrant in entrants:
        prepare(entrant, setup, queries, console)
    hashes = verify(entrants, queries)
    console.print(f"The answers of {len(entrants)} servers to {len(queries)} queries are equal.")
    measured = rounds(entrants, queries, plan, setup.database, console)
    counted = statements(entrants, queries, setup.database)
    figures = figures_of(entrants, queries, measured, counted)
    names = [entrant.name for entrant in entrants]
    summaries = _against_peers(measured, names)
    first = names[0]
    for name in names[1:]:
        for query, value in against(measured.rates, first, name).by_query.items():
            figures[name][query]["ours_over_this"] = value
    show_queries(figures, queries, first, console)
    for ours, by_peer in summaries.items():
        show_ratios(by_peer, queries, f"{ours} over each peer, requests per second", console)
    _show_workers(measured, names, queries, console)
    content = {
        "settings": _settings(options),
        "answers": hashes,
        # Ours is the way that chooses by itself; the other ways stand under ways.
        "ratios": {peer: summary.as_json() for peer, summary in summaries.get("ours_auto", {}).items()},
        "ways": {ours: {peer: found.as_json() for peer, found in by.items()} for ours, by in summaries.items()},
        "servers": figures,
    }
    write("latest" if _is_standard(options) else "trial", content, console)


def _against_peers(measured: Measured, names: Sequence[str]) -> dict[str, dict[str, Summary]]:
    """Each of our ways against each peer that ran with as many workers."""
    found: dict[str, dict[str, Summary]] = {}
    for ours in names:
        way, _, workers = ours.partition(" x")
        for theirs in names if way in OURS else ():
            peer, _, their_workers = theirs.partition(" x")
            if peer in PEERS and workers == their_workers:
                found.setdefault(ours, {})[theirs] = against(measured.rates, ours, theirs)
    return found


def _show_workers(measured: Measured, names: Sequence[str], queries: Sequence[str], console: Console) -> None:
    """Several workers against one of the same server, where both ran."""
    found = {}
    for name in names:
        single, _, workers = name.partition(" x")
        if workers and single in names:
            found[name] = against(measured.rates, name, single)
    if found:
        show_ratios(found, queries, "Several workers over one of the same server", console)


def _is_standard(options: argparse.Namespace) -> bool:
    """Whether the run is the one that others are compared with."""
    compared = ("rows", "connections", "workers", "http", "pool", "queries", "pin")
    defaults = parser().parse_args([])
    same = all(getattr(options, name) == getattr(defaults, name) for name in compared)
    return same and {"ours_auto", *PEERS} <= set(options.servers)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {**vars(options), "commit": commit(REPOSITORY), "load_average": os.getloadavg()[0]}


if __name__ == "__main__":
    sys.exit(main())
