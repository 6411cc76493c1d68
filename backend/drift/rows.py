"""Many rows in one statement: JSON in, a sorted INSERT out. The stores decide which rows and what a conflict means."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection


def insert_sorted(table: str, columns: Mapping[str, str], order: str) -> str:
    """An INSERT of the rows of the parameter `rows`, in the order of a key, so that concurrent ones cannot deadlock.

    `columns` are names and PostgreSQL types of our own; a column that a row leaves out becomes NULL.
    """
    names = ", ".join(columns)
    types = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    return (
        f"INSERT INTO {table} ({names}) SELECT {names} FROM jsonb_to_recordset(%(rows)s::jsonb) AS r({types})"
        f" ORDER BY {order}"
    )


def execute_rows(statement: str, rows: Sequence[Mapping[str, Any]], **values: Any) -> list[tuple[Any, ...]]:
    """What a statement over `rows` returns; nothing without rows.

    Raises:
        ValueError: a value is NaN or infinite.

    SQL: 1, none without rows.
    """
    if not rows:
        return []
    with connection.cursor() as cursor:
        cursor.execute(statement, {"rows": json.dumps(rows, cls=DjangoJSONEncoder, allow_nan=False), **values})
        return cursor.fetchall() if cursor.description else []
