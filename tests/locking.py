"""Whether others have come to a lock that the test holds; then they are all at the same point."""

import asyncio
from typing import Any

import psycopg
import pytest

Holder = psycopg.Connection[tuple[Any, ...]]
# Tables have the same numbers in every clone of a database.
_HERE = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"


async def until_waited_for(holder: Holder, *, key: int = 0, table: str = "", by: int = 1) -> None:
    """Returns when so many wait for the holder's advisory lock, or for its lock on the table."""
    what, value = ("relation = %s::regclass", table) if table else ("locktype = 'advisory' AND objid = %s", key)
    text = f"SELECT count(*) FROM pg_locks WHERE NOT granted AND {_HERE} AND {what}"
    for _ in range(6_000):
        if holder.execute(text, [value]).fetchone() == (by,):  # type: ignore[call-overload]  # one of two texts
            return
        await asyncio.sleep(0.01)
    pytest.fail("nobody waits")
