"""Small cells: counts of a few claims, which could be about a known person, are not shown to viewers.

What a row says of its cells is declared once; every way of execution asks here.
"""

from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from backend.core.actor import Actor, Role

HIDDEN_BELOW: ContextVar[int] = ContextVar("HIDDEN_BELOW", default=0)
"""Smaller counts, zero aside, are hidden from whom the operation is for; 0: none is."""


def hidden_below(actor: Actor | None) -> int:
    """The count from which on somebody sees cells."""
    return settings.ENVIRONMENT.small_cell_minimum if actor is not None and actor.role is Role.VIEWER else 0


@dataclass(frozen=True, slots=True)
class Cells:
    """The counts of a row by column, and which of them are parts of which: the rest of the whole is a count too."""

    counts: tuple[str, ...]
    parts: tuple[tuple[str, str], ...] = ()  # part and whole

    def are_hidden(self, row: Any) -> bool:
        """Whether a count is too small to be shown, and so none of what follows from the counts is."""
        return any(0 < count < HIDDEN_BELOW.get() for count in self._of(row))

    def _of(self, row: Any) -> Iterator[int]:
        yield from (getattr(row, name) for name in self.counts)
        yield from (getattr(row, whole) - getattr(row, part) for part, whole in self.parts)

    def sql(self) -> str:
        """The same as SQL, with `{row}` for the row's alias."""
        largest = HIDDEN_BELOW.get() - 1
        if largest < 1:
            return "false"
        counts = [f"{{row}}.{name}" for name in self.counts]
        counts += [f"{{row}}.{whole} - {{row}}.{part}" for part, whole in self.parts]
        return "(" + " OR ".join(f"{count} BETWEEN 1 AND {largest}" for count in counts) + ")"
