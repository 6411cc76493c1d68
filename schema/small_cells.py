"""Small cells: counts of a few claims, which could be about a known person, are not shown to viewers.

An organization can keep them from everyone, and have a larger smallest count of its own; its actors carry that.

What a row says of its cells is declared once; every way of execution asks here.
"""

from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import chain
from typing import Any

from django.conf import settings

from backend.core.actor import Actor, Role, SmallCells

HIDDEN_BELOW: ContextVar[int] = ContextVar("HIDDEN_BELOW", default=0)
"""Smaller counts, zero aside, are hidden from whom the operation is for; 0: none is."""


def hidden_below(actor: Actor | None) -> int:
    """The count from which on somebody sees cells: of the server, or a larger one of the organization."""
    if actor is None or (actor.role is not Role.VIEWER and actor.small_cells is not SmallCells.EVERYONE):
        return 0
    return max(settings.ENVIRONMENT.small_cell_minimum, actor.small_cell_minimum)


def is_small(count: int) -> bool:
    """Whether a count is hidden from whom the operation is for."""
    return 0 < count < HIDDEN_BELOW.get()


@dataclass(frozen=True, slots=True)
class Cells:
    """The counts of a row by column, and which of them are parts of which: the rest of the whole is a count too."""

    counts: tuple[str, ...]
    parts: tuple[tuple[str, str], ...] = ()  # part and whole

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return (*self.counts, *chain.from_iterable(self.parts))

    def are_hidden(self, row: Any) -> bool:
        """Whether a count is too small to be shown, and so none of what follows from the counts is."""
        return any(map(is_small, self._of(row)))

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
