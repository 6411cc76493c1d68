"""What an answer should have been, and what it was instead."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from benchmarks.peers.normalising import Refused, canonical, row_key

_ID = re.compile(rb'"id": ?"([^"]+)"')


class Verdict(StrEnum):
    """What became of one request."""

    RIGHT = "right"
    WRONG = "wrong"
    FOREIGN = "of another organization"
    ERROR = "error"
    LEFT = "left by the client"


def identifiers(body: bytes) -> frozenset[str]:
    """The row keys in an answer, whatever its form; text that is no global id is passed over."""
    found = set()
    for text in _ID.findall(body):
        try:
            found.add(row_key(text.decode()))
        except (Refused, UnicodeDecodeError):
            continue
    return frozenset(found)


@dataclass(slots=True)
class Judge:
    """Knows the right answer to each question of each tenant, by what another server said before."""

    expected: Mapping[tuple[int, str], Any]  # tenant, question: the answer in the one form
    rows: Mapping[int, frozenset[str]]  # tenant: every row key in its right answers
    _seen: dict[tuple[int, str], bytes] = field(default_factory=dict)

    def verdict(self, tenant: int, question: str, body: bytes) -> Verdict:
        """What an answer with data is."""
        key = (tenant, question)
        if self._seen.get(key) == body:
            return Verdict.RIGHT
        foreign = frozenset().union(*(rows for other, rows in self.rows.items() if other != tenant))
        if identifiers(body) & (foreign - self.rows[tenant]):
            return Verdict.FOREIGN
        try:
            found = canonical(body)
        except Refused:
            return Verdict.WRONG
        if found != self.expected[key]:
            return Verdict.WRONG
        self._seen[key] = body
        return Verdict.RIGHT


@dataclass(slots=True)
class Tally:
    """How many of what, with the first example of each that is not right."""

    verdicts: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)  # by what was away at the time, and kind
    examples: dict[str, str] = field(default_factory=dict)

    def note(self, verdict: Verdict, *, error: str = "", example: str = "") -> None:
        """Counts one request."""
        self.verdicts[verdict] += 1
        if error:
            self.errors[error] += 1
        if verdict in (Verdict.WRONG, Verdict.FOREIGN, Verdict.ERROR):
            self.examples.setdefault(error or verdict, example)

    @property
    def unexcused(self) -> int:
        """Errors at a time when nothing had been killed."""
        return sum(count for kind, count in self.errors.items() if kind.startswith(QUIET))


QUIET = "with everything up"
