"""Seals of the audit trail in tests: transactions of other tests' databases hold them up, as any of the cluster do."""

import time
from typing import Any

import psycopg

_OPEN = "SELECT count(*) FROM audit_entry WHERE xid >= pg_snapshot_xmin(pg_current_snapshot())"
_ATTEMPTS, _PAUSE = 1_200, 0.05


def wait_until_all_can_be_sealed(superuser: "psycopg.Connection[Any]") -> None:
    """Returns when every transaction that was open while the last entry was written has ended."""
    for _ in range(_ATTEMPTS):
        if superuser.execute(_OPEN).fetchone() == (0,):
            return
        time.sleep(_PAUSE)
    raise AssertionError("a transaction of the cluster stays open")
