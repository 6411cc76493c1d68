"""Whether a pool has all of its connections."""

import asyncio

from backend.db.reads import Reads
from backend.db.shares import Shares


async def all_come_back(reads: Reads) -> bool:
    """Whether no connection is lent, once the pool has replaced those that were given up."""
    for _ in range(600):
        found = reads.statistics()
        if found["pool_size"] == found["pool_available"]:
            return True
        await asyncio.sleep(0.1)
    return False


async def held_at_last(shares: Shares, held: int) -> int:
    """How many permits are out, once it is so many: a connection is given back a moment after it was used."""
    for _ in range(600):
        if shares.held == held:
            break
        await asyncio.sleep(0.01)
    return shares.held
