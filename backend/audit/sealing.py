"""Makes the seals that let a change of the audit trail show. How they are verified is in verification.py."""

import logging
from dataclasses import dataclass

from django.db import connection

log = logging.getLogger("driftgraph.audit")


@dataclass(frozen=True, slots=True)
class Seal:
    """A seal as it is published: whoever has kept it notices when the trail no longer reaches as far."""

    seq: int
    hash: str  # 64 hexadecimal digits
    entries: int

    def __str__(self) -> str:
        return f"audit seal {self.seq} {self.hash}"


def seal_make() -> Seal | None:
    """The new seal of all entries whose transactions have ended, told to the log; None where there is none.

    There is none where nothing new was written, another process is sealing, or a transaction that is older than every
    new entry still runs.

    SQL: 1.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT seq, encode(hash, 'hex'), entries FROM audit_seal_make()")
        row = cursor.fetchone()
    if row is None:
        return None
    seal = Seal(*row)
    log.info("%s (%s entries)", seal, seal.entries)
    return seal
