"""Parameters of a statement: numbered placeholders, and values as the text that PostgreSQL reads."""

import datetime
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from backend.db.sql import Slot, Statement


@dataclass(frozen=True, slots=True)
class Parameter:
    """A constant, or the slot of one of the bounds of a root field."""

    slot: str
    bound: int
    constant: str | None = None


@dataclass(frozen=True, slots=True)
class NumberedText:
    """SQL with $1, $2, ... for Django's %s."""

    text: str
    parameters: tuple[Parameter, ...]

    @classmethod
    def of(cls, statement: Statement, before: int, bound: int) -> "NumberedText":
        """The text of a statement behind `before` other parameters."""
        pieces = statement.text.split("%s")
        numbered = [pieces[0]]
        for number, piece in enumerate(pieces[1:], start=before + 1):
            numbered.append(f"${number}{piece}")
        parameters = tuple(
            Parameter(item.name, bound) if isinstance(item, Slot) else Parameter("", bound, parameter_text(item))
            for item in statement.parameters
        )
        if len(parameters) != len(pieces) - 1:
            raise TypeError("the statement has a %s that is no placeholder")
        return cls("".join(numbered).replace("%%", "%"), parameters)


def parameter_text(value: Any) -> str | None:
    """A value as PostgreSQL's input functions read it; its type follows from where it stands in the statement."""
    if value is None:
        return None
    for kind, text in _TEXTS:
        if isinstance(value, kind):
            return text(value)
    raise TypeError(type(value).__name__)


def _array(items: Sequence[Any]) -> str:
    texts = [parameter_text(item) for item in items]
    quoted = [
        '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' if text is not None else "NULL" for text in texts
    ]
    return "{" + ",".join(quoted) + "}"


_TEXTS: tuple[tuple[type | tuple[type, ...], Callable[[Any], str]], ...] = (
    (str, str),
    (bool, lambda value: "t" if value else "f"),  # before int, of which it is one
    ((int, Decimal, uuid.UUID), str),
    (float, repr),
    (datetime.date, lambda value: value.isoformat()),  # a datetime is one too
    ((bytes, memoryview), lambda value: f"\\x{bytes(value).hex()}"),
    ((list, tuple), _array),
)
