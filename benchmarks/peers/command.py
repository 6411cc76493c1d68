"""`python -m benchmarks peers`: Driftgraph beside other servers over the same million rows, interleaved, by ratio."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from backend.core.errors import AppError
from benchmarks.peers import curves, memory, progress
from benchmarks.peers.contest import QUERIES, AnswersDiffer, Entrant, entered, prepare, verify
from benchmarks.peers.database import REPOSITORY, AlreadyRunning, BuildFailed, alone, open_database
from benchmarks.peers.installation import Installation, NotInstalled, node_peer, python_peer
from benchmarks.peers.load import Load, LoadFailed, wrk
from benchmarks.peers.measuring import Measured, Plan, figures_of, rounds, statements
from benchmarks.peers.processes import pin
from benchmarks.peers.ratios import Summary, against
from benchmarks.peers.report import commit, show_queries, show_ratios, write
from benchmarks.peers.servers import OURS, PEERS, PYTHON_PEERS, SERVERS, ServerFailed, Setup, Variant

HTTP = ["granian", "uvicorn"]
_SERVER_CORE, _DATABASE_CORE = 0, 1


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(prog="python -m benchmarks peers", description=__doc__)
    found.add_argument("--quick", action="store_true", help="a small database and short rounds: does everything run?")
    found.add_argument("--rows", type=float, default=1.0, help="factor on the number of rows; 0.01 for a trial")
    found.add_argument("--rounds", type=int, default=5, help="rounds; a ratio is the median of the rounds' ratios")
    found.add_argument("--seconds", type=int, default=2, help="seconds per server and query in a round, at least")
    found.add_argument("--warm-up", type=int, default=2, help="seconds per server and query before the first round")
    found.add_argument("--connections", type=_numbers, default=[12], help="keep-alive connections; 1,12 measures both")
    found.add_argument("--workers", type=_numbers, default=[1], help="worker processes; 1,2 compares both")
    found.add_argument(
        "--http", type=_names(HTTP), default=HTTP[:1], help="under the ASGI servers; granian,uvicorn compares both"
    )
    found.add_argument("--pool", type=int, default=8, help="database connections per worker")
    found.add_argument("--servers", type=_names(SERVERS), default=[*OURS, *PEERS], help="which, comma separated")
    found.add_argument("--queries", type=_names(QUERIES), default=[*QUERIES], help="which, comma separated")
    found.add_argument("--pin", action="store_true", help="servers on the first core, PostgreSQL on the second")
    what = found.add_mutually_exclusive_group()
    what.add_argument("--depth", action="store_true", help="instead: the rate of pages further and further down")
    what.add_argument("--width", action="store_true", help="instead: the rate of more and more nodes in an answer")
    what.add_argument("--memory", action="store_true", help="instead: memory and start of our own servers")
    return found


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options, with what --quick stands for where nothing else is said."""
    found, wanted = parser(), parser().parse_args(arguments)
    if wanted.quick:
        enough = 0.2 if wanted.width or wanted.memory else 0.01  # for pages of 100 x 100
        found.set_defaults(rows=enough, rounds=1, seconds=1, warm_up=1, connections=[4])
    return found.parse_args(arguments)


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
    options, console = options_of(arguments), progress.console()
    if not Path("/proc/self/stat").exists():
        console.print("CPU and memory are read from /proc: this benchmark needs Linux.")
        return 1
    try:
        with alone():
            _measure(options, console)
    except (AppError, AlreadyRunning, BuildFailed, NotInstalled, ServerFailed, AnswersDiffer, LoadFailed) as error:
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
        pool=options.pool,
        cores=cores,
    )
    if options.pin:
        pin(setup.database.postmaster, {_DATABASE_CORE})
    if options.memory:
        content = {name: memory.measure(name, setup, console) for name in names}
        write("memory", {"settings": _settings(options), **content}, console)
        return
    variants = [Variant(workers, http) for workers in options.workers for http in options.http]
    with entered([SERVERS[name] for name in names], setup, variants, console) as entrants:
        for connections in options.connections:
            longest = 2 if options.quick else 5
            plan = Plan(Load(connections, options.seconds), options.rounds, options.warm_up, longest)
            if options.depth:
                content = curves.depth(entrants, setup, plan, console)
                write("depth", {"settings": _settings(options), **content}, console)
            elif options.width:
                content = curves.width(entrants, setup, plan, console)
                write("width", {"settings": _settings(options), **content}, console)
            else:
                _contest(entrants, setup, plan, options, console)


def _installed(names: Sequence[str], console: Console) -> dict[str, Installation]:
    found = {name: python_peer(PYTHON_PEERS[name], console) for name in names if name in PYTHON_PEERS}
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
    first = entrants[0].name
    for entrant in entrants[1:]:
        for query, value in against(measured.rates, first, entrant.name).by_query.items():
            figures[entrant.name][query]["ours_over_this"] = value
    console.print(f"\n{plan.load.connections} connections, {plan.rounds} rounds, medians")
    show_queries(figures, queries, first, console)
    summaries = _against_peers(measured, entrants)
    for ours, by_peer in summaries.items():
        show_ratios(by_peer, queries, f"{ours} over each peer, requests per second", console)
    itself = _against_standard(measured, entrants)
    if itself:
        show_ratios(itself, queries, "Variants over the first one of the same server, requests per second", console)
    content = {
        "settings": {**_settings(options), "connections": plan.load.connections},
        "answers": hashes,
        # Ours is the way that chooses by itself; the other ways stand under ways.
        "ratios": _as_json(summaries.get("ours_auto", {})),
        "ways": {ours: _as_json(by_peer) for ours, by_peer in summaries.items()},
        "variants": _as_json(itself),
        "servers": figures,
    }
    write(result_name(options, plan), content, console)


def _against_peers(measured: Measured, entrants: Sequence[Entrant]) -> dict[str, dict[str, Summary]]:
    """Each of our ways against each peer that ran in the same variant."""
    found: dict[str, dict[str, Summary]] = {}
    for ours in entrants:
        for theirs in entrants if ours.server.name in OURS else ():
            if theirs.server.name in PEERS and ours.variant == theirs.variant:
                found.setdefault(ours.name, {})[theirs.name] = against(measured.rates, ours.name, theirs.name)
    return found


def _against_standard(measured: Measured, entrants: Sequence[Entrant]) -> dict[str, Summary]:
    """Each variant of a server against the first one, where there are several."""
    firsts: dict[str, Entrant] = {}
    found = {}
    for entrant in entrants:
        first = firsts.setdefault(entrant.server.name, entrant)
        if first is not entrant:
            found[entrant.name] = against(measured.rates, entrant.name, first.name)
    return found


def _as_json(summaries: Mapping[str, Summary]) -> dict[str, dict[str, float]]:
    return {name: summary.as_json() for name, summary in summaries.items()}


def result_name(options: argparse.Namespace, plan: Plan) -> str:
    """The name of the results: `latest` for the run that others are compared with, else what is special about it."""
    if options.quick:
        return "trial"
    defaults = parser().parse_args([])
    others = ("rows", "pool", "queries")
    if not {"ours_auto", *PEERS} <= set(options.servers) or any(
        getattr(options, name) != getattr(defaults, name) for name in others
    ):
        return "trial"
    special = [name for name in ("workers", "http", "pin") if getattr(options, name) != getattr(defaults, name)]
    if [plan.load.connections] != defaults.connections:
        special.append(f"connections-{plan.load.connections}")
    return "-".join(special) or "latest"


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {**vars(options), "commit": commit(REPOSITORY), "load_average": os.getloadavg()[0]}


if __name__ == "__main__":
    sys.exit(main())
