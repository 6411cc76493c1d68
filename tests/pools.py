"""Whether a pool has all of its connections."""

import asyncio

from backend.db.reads import Reads


async def all_come_back(reads: Reads) -> bool:
    """Whether no connection is lent, once the pool has replaced those that were given up."""
    for _ in range(600):
        found = reads.statistics()
        if found["pool_size"] == found["pool_available"]:
            return True
        await asyncio.sleep(0.1)
    return False
