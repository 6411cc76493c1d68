"""JSON text as SQL: literal pieces and cells, joined by concat(). What a cell holds is decided elsewhere."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

MISFIT = "E'\\x01'"
"""SQL of a byte that JSON text never holds: the answer has a GraphQL error here, which the executor has to make."""
MISFIT_BYTE = b"\x01"

_ARGUMENTS = 90  # of concat(); PostgreSQL takes at most 100 in a call


@dataclass(frozen=True, slots=True)
class Cell:
    """An SQL expression whose text form is JSON; never NULL."""

    sql: str


Parts = list[str | Cell]


def literal(text: str) -> str:
    """A text as an SQL literal."""
    quoted = text.replace("'", "''")
    return f"E'{quoted.replace(chr(92), chr(92) * 2)}'" if "\\" in text else f"'{quoted}'"


def json_text(value: str | int) -> str:
    """A value as JSON text."""
    return json.dumps(value, ensure_ascii=False)


def merged(parts: Iterable[str | Cell]) -> Parts:
    """The same with neighbouring literals joined."""
    found: Parts = []
    for part in parts:
        if isinstance(part, str) and found and isinstance(found[-1], str):
            found[-1] += part
        elif part != "":
            found.append(part)
    return found


def concat(parts: Iterable[str | Cell]) -> str:
    """One SQL expression of type text."""
    arguments = [literal(part) if isinstance(part, str) else part.sql for part in merged(parts)]
    while len(arguments) > _ARGUMENTS:
        chunks = [arguments[start : start + _ARGUMENTS] for start in range(0, len(arguments), _ARGUMENTS)]
        arguments = [f"concat({', '.join(chunk)})" for chunk in chunks]
    return f"concat({', '.join(arguments)})" if arguments else "''"


def object_of(fields: Iterable[tuple[str, Parts]]) -> Parts:
    """A JSON object with the keys in the order given."""
    parts: Parts = ["{"]
    for number, (key, value) in enumerate(fields):
        parts.append(("," if number else "") + json_text(key) + ":")
        parts.extend(value)
    parts.append("}")
    return merged(parts)
