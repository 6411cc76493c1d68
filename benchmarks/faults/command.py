"""`python -m benchmarks faults`: each fault under traffic: what clients saw, what was lost, and for how long."""

import argparse
import logging
import sys
from collections.abc import Sequence
from contextlib import ExitStack

import django

django.setup()

from rich.console import Console
from rich.table import Table

from benchmarks.faults.causes import FAULTS, Fault
from benchmarks.faults.clock import NoClock
from benchmarks.faults.disks import NoDisk
from benchmarks.faults.place import Place, Template, template
from benchmarks.faults.trial import Outcome, place_for, tried

_ANSWERS = 40  # that each client hears before a fault and after it


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when nothing is lost and clients saw nothing that they must not, else 1."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks faults", description=__doc__)
    parser.add_argument("--only", default="", help="faults whose name has this text")
    options = parser.parse_args(arguments)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    console, wrong = Console(width=170), 0
    table = Table("fault", "what clients saw", "acknowledged", "lost", "twice", "s to recover", "", box=None)
    with ExitStack() as stack:
        made, standard = stack.enter_context(template()), None
        for fault in FAULTS:
            if options.only not in fault.name:
                continue
            if fault.standard and standard is None:
                standard = stack.enter_context(place_for(fault, made))
            try:
                outcome = _outcome(fault, made, standard)
            except (NoClock, NoDisk) as error:
                table.add_row(fault.name, f"not looked at: {error}")
                continue
            broken = outcome.broken(fault)
            wrong += bool(broken)
            table.add_row(*_cells(outcome), "; ".join(broken))
    console.print(table)
    return int(wrong > 0)


def _outcome(fault: Fault, made: Template, standard: Place | None) -> Outcome:
    if fault.standard and standard is not None:
        return tried(fault, standard, answers=_ANSWERS)
    with place_for(fault, made) as there:
        return tried(fault, there, answers=_ANSWERS)


def _cells(outcome: Outcome) -> list[str]:
    saw = ", ".join(f"{number} x {kind}" for kind, number in sorted(outcome.failures.items())) or "nothing"
    figures = (outcome.acknowledged, outcome.lost, outcome.twice)
    return [outcome.fault, saw, *map(str, figures), f"{outcome.recovered:.2f}"]


if __name__ == "__main__":
    sys.exit(main())
