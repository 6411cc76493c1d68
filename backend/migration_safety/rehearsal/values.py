"""SQL expressions that may stand in a column of a synthetic row; `g` is the number of the row, from 1.

Per cent signs are doubled: the statements are always executed with parameters.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from psycopg import sql

NULL = "NULL"
OMITTED = ""  # the column is left to its default

# Most telling first: different in every row where the type allows, never NULL. Moments that vary are later than those
# that do not, so that a start and an end can be found for any order that a constraint wants.
_BY_TYPE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "smallint": ("g %% 30000", "1", "0"),
        "integer": ("g", "1", "0", "g %% 7"),
        "bigint": ("g", "1", "0", "g %% 7"),
        "numeric": ("(g %% 49 + 1) / 100.0", "1", "0"),
        "double precision": ("(g %% 49 + 1) / 100.0", "1", "0"),
        "real": ("(g %% 49 + 1) / 100.0", "1", "0"),
        "boolean": ("g %% 2 = 0", "false", "true"),
        "text": ("'x' || g", "'x'", "''"),
        "citext": ("'x' || g", "'x'", "''"),
        "bytea": ("sha256(g::text::bytea)", "decode(md5(g::text), 'hex')", r"'\x'"),
        "date": ("DATE '2022-01-01' + (g %% 1000)::int", "DATE '2020-01-01'", "DATE '2021-06-01'"),
        "timestamp with time zone": (
            "TIMESTAMPTZ '2022-01-01 00:00+00' + g * interval '1 minute'",
            "TIMESTAMPTZ '2020-01-01 00:00+00'",
            "TIMESTAMPTZ '2021-06-01 00:00+00'",
        ),
        "timestamp without time zone": ("TIMESTAMP '2022-01-01' + g * interval '1 minute'", "TIMESTAMP '2020-01-01'"),
        "time without time zone": ("TIME '12:00'",),
        "interval": ("g * interval '1 second'",),
        "uuid": ("lpad(to_hex(g), 32, '0')::uuid",),
        "json": ("'{}'::json", "'[]'::json"),
        "jsonb": ("'{}'::jsonb", "'[]'::jsonb", "jsonb_build_array(g)"),
        "inet": ("'10.0.0.0'::inet + g",),
        "xid8": ("g::text::xid8",),
    }
)
_LENGTH = re.compile(r"^(?:character varying|character|varchar)\((\d+)\)$")


def candidates(kind: str, choices: list[Any], *, nullable: bool, has_default: bool) -> list[str]:
    """Expressions for a column of type `kind` (as format_type writes it), the most telling first; may be empty."""
    if length := _LENGTH.match(kind):
        kind, of_type = "text", tuple(f"left({text}, {length[1]})" for text in _BY_TYPE["text"])
    elif kind.endswith("[]"):
        element = candidates(kind[:-2], choices, nullable=False, has_default=False)
        of_type = ("'{}'", *(f"ARRAY[{text}]::{kind}" for text in element[:1]))
        choices = []
    else:
        of_type = _BY_TYPE.get(re.sub(r"\(.*\)", "", kind).replace("character varying", "text"), ())
    found = [sql.Literal(choice).as_string() for choice in choices] or list(of_type)
    if has_default:
        found.append(OMITTED)
    if nullable:
        found.append(NULL)
    return found


def of_row(expression: str, number: str) -> str:
    """The expression for another row: `number` in place of g."""
    return re.sub(r"\bg\b", number, expression)
