"""Every read of the API comes here: snapshots of the primary, and of a replica where one may serve."""

import time
import uuid
from urllib.parse import quote, urlencode

from django.conf import settings

from backend.db.pools import ReadPool
from backend.db.premises import Premise
from backend.db.replicas import Replica
from backend.db.snapshots import Snapshot


def connection_url(alias: str = "default") -> str:
    """The address of one of Django's databases, for psycopg."""
    found = settings.DATABASES[alias]
    options = {**found.get("OPTIONS", {}), "host": found["HOST"]}
    if found["PORT"]:
        options["port"] = found["PORT"]
    who = quote(found["USER"], safe="") + (f":{quote(found['PASSWORD'], safe='')}" if found["PASSWORD"] else "")
    return f"postgresql://{who}@/{quote(found['NAME'], safe='')}?{urlencode(options)}"


class Reads:
    """What a process reads from. Open it in the event loop that serves, close it there."""

    def __init__(self, url: str, *, size: int, replica_url: str = "") -> None:
        self._primary = ReadPool(url, size=size, name="primary")
        self.replica = Replica(replica_url, self._primary, size=size) if replica_url else None

    async def open(self) -> None:
        """Makes the first connection.

        Raises:
            Unavailable: the primary does not answer.
        """
        await self._primary.open()
        if self.replica is not None:
            await self.replica.open()

    async def close(self) -> None:
        """Closes every connection."""
        if self.replica is not None:
            await self.replica.close()
        await self._primary.close()

    def statistics(self) -> dict[str, int]:
        """What psycopg counts of the primary's pool: `pool_size` connections, `pool_available` free ones, and more.

        `requests_waiting` are all that wait, also for their organization's turn.
        """
        found = self._primary.connections.get_stats()
        return {**found, "requests_waiting": found["requests_waiting"] + self._primary.shares.waiting}

    def snapshot(
        self, organization_id: uuid.UUID | None, *, seconds: float | None = None, premise: Premise | None = None
    ) -> Snapshot:
        """A snapshot for one `async with`, which ends it; without an organization it sees no tenant's rows."""
        limit = seconds if seconds is not None else settings.ENVIRONMENT.deadline_seconds
        return Snapshot(self._primary, organization_id, time.monotonic() + limit, premise)

    @property
    def fit_replica(self) -> Replica | None:
        """The replica where there is one and it is fit to be read."""
        return self.replica if self.replica is not None and self.replica.unfit is None else None


def process_reads() -> Reads:
    """What the settings of this process name, not yet open."""
    found = settings.ENVIRONMENT
    return Reads(connection_url(), size=found.read_pool_size, replica_url=found.read_database_url)
