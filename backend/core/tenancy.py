"""The one place that opens a write transaction and sets its organization. Reads do the same in backend.db.reads."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.db import connection, transaction

from backend.core.actor import Actor

SET_ORGANIZATION = "SELECT set_config('app.organization_id', %s, true)"
SET_PATIENCE = ", set_config('lock_timeout', %s, true)"
PATIENCE: ContextVar[float | None] = ContextVar("PATIENCE", default=None)
"""Seconds that a transaction waits for a lock; None: as PostgreSQL is set. Of a session, poolers would lose it."""


def set_organization(organization_id: uuid.UUID) -> None:
    """Sets the organization of the open transaction, and of that alone.

    A setting of the session would leak to the next user of a pooled connection.

    SQL: 1.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("the organization is set inside a transaction")
    text, values, patience = SET_ORGANIZATION, [str(organization_id)], PATIENCE.get()
    if patience is not None:
        text, values = text + SET_PATIENCE, [*values, str(max(1, int(patience * 1000)))]
    with connection.cursor() as cursor:
        cursor.execute(text, values)


@contextmanager
def acting_for(organization_id: uuid.UUID) -> Iterator[None]:
    """A transaction in which the rows of this organization, and no others, exist.

    SQL: BEGIN, 1, COMMIT; a savepoint when nested (the organization outside is set again at its end).
    """
    with transaction.atomic():
        outer = _current()
        set_organization(organization_id)
        try:
            yield
        finally:
            # set_config(..., true) lasts until the transaction ends, also past the end of a savepoint.
            if outer is not None and outer != organization_id and not connection.needs_rollback:
                set_organization(outer)


def _current() -> uuid.UUID | None:
    if not connection.savepoint_ids:
        return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT nullif(current_setting('app.organization_id', true), '')")
        row = cursor.fetchone()
    return uuid.UUID(row[0]) if row and row[0] else None


@contextmanager
def write(actor: Actor) -> Iterator[None]:
    """The transaction of one service call."""
    with acting_for(actor.organization_id):
        yield
