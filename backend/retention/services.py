"""Removes what is past its time, in short transactions. Which rows that are is in periods.py."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from django.db import connection
from django.utils import timezone

from backend.accounts.models import Organization
from backend.audit.models import Outcome
from backend.audit.services import record
from backend.core.actor import Actor, Right
from backend.core.tenancy import acting_for, write
from backend.payers.services import organization_lock
from backend.retention.periods import EXPIRIES, Expiry, limits

Progress = Callable[[str, int], None]  # table, its rows removed so far
RETENTION = "retention.remove"
ROWS_AT_ONCE = 500
_FIRST_ID = uuid.UUID(int=0)
_OWN = "t.organization_id = %(organization)s"  # said as well as kept to by policies: what is removed is gone


def retention_due(*, actor: Actor) -> dict[str, int]:
    """How many rows of each table are past their time; nothing is changed.

    Raises: Forbidden: the actor does not own the organization.
    SQL: 1, and 1 per table.
    """
    actor.require(Right.ORGANIZATION)
    counts = {}
    with acting_for(actor.organization_id, actor), connection.cursor() as cursor:
        before = _limits(actor)
        for expiry in EXPIRIES:
            cursor.execute(f"SELECT count(*) FROM {expiry.table} t WHERE {_OWN} AND {expiry.due}", before)
            counts[expiry.table] = int(cursor.fetchone()[0])
    return counts


def retention_run(
    *, actor: Actor, progress: Progress = lambda _table, _done: None, rows_at_once: int = ROWS_AT_ONCE
) -> dict[str, int]:
    """How many rows of each table were past their time, and are removed; one audit entry says the same.

    Each batch is a transaction, so it may be interrupted anywhere, and the next run removes the rest. What a run
    removed before it failed is in its entry (ERROR); the change audit has an entry for each batch in any case.

    Raises: Forbidden: the actor does not own the organization.
    SQL: 2, 1 per table, and 2 or 3 per batch.
    """
    actor.require(Right.ORGANIZATION)
    counts = dict.fromkeys((expiry.table for expiry in EXPIRIES), 0)
    outcome = Outcome.ERROR
    try:
        with acting_for(actor.organization_id, actor):
            before = _limits(actor)
        for expiry in EXPIRIES:
            last: uuid.UUID | None = _FIRST_ID
            while last is not None:
                last, removed = _remove(actor, expiry, before, last, rows_at_once)
                counts[expiry.table] += removed
                progress(expiry.table, counts[expiry.table])
        outcome = Outcome.OK
    finally:
        with write(actor):
            record(
                actor=actor,
                action=RETENTION,
                object_type="organization",
                object_ids=[actor.organization_id],
                object_count=sum(counts.values()),
                fields=[f"{table}={number}" for table, number in counts.items()],
                outcome=outcome,
            )
    return counts


def _limits(actor: Actor) -> Mapping[str, Any]:
    return limits(Organization.objects.get(id=actor.organization_id), timezone.now())


def _remove(
    actor: Actor, expiry: Expiry, before: Mapping[str, Any], after: uuid.UUID, at_once: int
) -> tuple[uuid.UUID | None, int]:
    """The last id of the next rows, None where there were none, and how many rows were removed."""
    with write(actor), connection.cursor() as cursor:
        if expiry.locked:
            organization_lock(actor.organization_id)
        due = f"SELECT t.id FROM {expiry.table} t WHERE {_OWN} AND t.id > %(after)s AND {expiry.due}"
        cursor.execute(f"{due} ORDER BY t.id LIMIT %(at_once)s", {**before, "after": after, "at_once": at_once})
        ids = [key for (key,) in cursor.fetchall()]
        if not ids:
            return None, 0
        if expiry.first:
            cursor.execute(expiry.first, {"ids": ids})
        cursor.execute(expiry.delete or f"DELETE FROM {expiry.table} WHERE id = ANY(%(ids)s)", {"ids": ids})
        return ids[-1], cursor.rowcount
