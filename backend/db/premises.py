"""What an operation takes for granted while it reads, and what is done where that is no longer so."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from backend.core.errors import Unavailable

T = TypeVar("T")
_BEGINNINGS = 3  # of an operation whose answer is outdated before it is there


@dataclass(frozen=True, slots=True)
class Premise:
    """Something that was known before the operation and is looked at again in its first round trip.

    `text` is an SQL expression with %s for each parameter; its text form must be `expected`.
    """

    text: str
    parameters: tuple[str | bytes, ...]
    expected: str | None


class AnswerOutdated(Exception):
    """What the operation took for granted is no longer so: it must be begun anew (`begun_anew`).

    That is its `Premise`, or a prepared statement that gives other columns since a migration.
    """


async def begun_anew(operation: Callable[[], Awaitable[T]]) -> T:
    """What the operation gives; where its answer is outdated it is called again, with a snapshot of its own each time.

    Raises:
        Unavailable: that was so three times.
    """
    for _ in range(_BEGINNINGS):
        try:
            return await operation()
        except AnswerOutdated:
            continue
    raise Unavailable
