"""Recall and false positives of the scanner on a labelled corpus; no database is needed.

A line of the corpus is `kind|text`. An identifier stands as {KIND:text} in it; kinds are note, finding, file, payer and
clean, of which the last two hold none. The scanner was fitted to `tuning.txt` alone; `held_out.txt` is to stay unused.
"""

import argparse
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from backend.phi.scanner import Hit, scan

HERE = Path(__file__).parent
HALVES = ("tuning", "held_out")
MIN_RECALL, MAX_FALSE_ON_PAYERS = 0.95, 0.02
_LABEL = re.compile(r"\{([A-Z ]+):([^{}]+)\}")


class Line(NamedTuple):
    """A text and where its identifiers are."""

    kind: str
    text: str
    labels: tuple[Hit, ...]


@dataclass(slots=True)
class Figures:
    """What the scanner made of some lines."""

    lines: int = 0
    labelled: Counter[str] = field(default_factory=Counter)  # identifiers by their kind
    found: Counter[str] = field(default_factory=Counter)
    clean: Counter[str] = field(default_factory=Counter)  # lines without an identifier by the kind of line
    false: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)  # the lines with a miss or a false hit

    @property
    def recall(self) -> float:
        """The share of identifiers of which no letter and no digit is left."""
        return self.found.total() / self.labelled.total()

    @property
    def false_on_payers(self) -> float:
        """The share of payers' names in which something was found."""
        return self.false["payer"] / self.clean["payer"]

    @property
    def false_on_clean(self) -> float:
        """The share of all lines without an identifier in which something was found."""
        return self.false.total() / self.clean.total()

    @property
    def passes(self) -> bool:
        """Whether the scanner is as good as it must be."""
        return self.recall >= MIN_RECALL and self.false_on_payers <= MAX_FALSE_ON_PAYERS


def read(half: str) -> list[Line]:
    """The lines of one half of the corpus."""
    lines = []
    for row in (HERE / f"{half}.txt").read_text(encoding="utf-8").splitlines():
        kind, _, marked = row.partition("|")
        text, labels, done = "", [], 0
        for label in _LABEL.finditer(marked):
            text += marked[done : label.start()]
            labels.append(Hit(label[1], len(text), len(text) + len(label[2])))  # type: ignore[arg-type]  # by its text
            text, done = text + label[2], label.end()
        lines.append(Line(kind, text + marked[done:], tuple(labels)))
    return lines


def measure(lines: Iterable[Line]) -> Figures:
    """The figures of the scanner on these lines."""
    figures = Figures()
    for line in lines:
        figures.lines += 1
        hits = scan(line.text)
        covered = {place for hit in hits for place in range(hit.start, hit.end)}
        missed = 0
        for label in line.labels:
            whole = all(place in covered for place in range(label.start, label.end) if line.text[place].isalnum())
            figures.labelled[label.kind] += 1
            figures.found[label.kind] += whole
            missed += not whole
        if not line.labels:
            figures.clean[line.kind] += 1
            figures.false[line.kind] += bool(hits)
        if missed or (hits and not line.labels):
            figures.wrong.append(line.text)
    return figures


def _row(name: str, figures: Figures) -> tuple[str, ...]:
    return (
        name,
        str(figures.lines),
        f"{figures.found.total()} of {figures.labelled.total()}",
        f"{figures.recall:.3f}",
        f"{figures.false['payer']} of {figures.clean['payer']}",
        f"{figures.false_on_payers:.3f}",
        f"{figures.false.total()} of {figures.clean.total()}",
        f"{figures.false_on_clean:.3f}",
    )


def main() -> int:
    """Prints the figures; the exit code is 1 where the scanner is not good enough."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks phi", description=__doc__)
    parser.add_argument("--wrong", action="store_true", help="show the lines of the corpus that are told wrongly")
    options = parser.parse_args()
    halves = {half: read(half) for half in HALVES}
    measured = {half: measure(lines) for half, lines in halves.items()}
    measured["all"] = measure([line for lines in halves.values() for line in lines])
    table = Table("half", "lines", "found", "recall", "payers hit", "share", "clean lines hit", "share")
    for half, figures in measured.items():
        table.add_row(*_row(half, figures))
    console = Console()
    console.print(table)
    kinds = Table("identifier", "found", "in the corpus")
    for kind, number in sorted(measured["all"].labelled.items()):
        kinds.add_row(kind, str(measured["all"].found[kind]), str(number))
    console.print(kinds)
    if options.wrong:
        for text in measured["all"].wrong:
            console.print(text, markup=False, highlight=False)
    return 0 if all(figures.passes for figures in measured.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
