"""The one place that opens a write transaction and sets its organization and actor. Reads: backend.db.reads."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.db import connection, transaction

from backend.core.actor import Actor

SET_ORGANIZATION = "SELECT set_config('app.organization_id', %s, true)"
SET_ACTOR = ", set_config('app.actor', %s, true)"
SET_PATIENCE = ", set_config('lock_timeout', %s, true)"
PATIENCE: ContextVar[float | None] = ContextVar("PATIENCE", default=None)
"""Seconds that a transaction waits for a lock; None: as PostgreSQL is set. Of a session, poolers would lose it."""
_Settings = tuple[str, str]  # organization and actor, as PostgreSQL has them


def set_organization(organization_id: uuid.UUID, actor: Actor | None = None) -> None:
    """Sets the organization of the open transaction, and of that alone; and who acts, for the entries of triggers.

    A setting of the session would leak to the next user of a pooled connection.

    SQL: 1.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("the organization is set inside a transaction")
    text, values, patience = SET_ORGANIZATION, [str(organization_id)], PATIENCE.get()
    if actor is not None:
        text, values = text + SET_ACTOR, [*values, actor_text(actor)]
    if patience is not None:
        text, values = text + SET_PATIENCE, [*values, str(max(1, int(patience * 1000)))]
    with connection.cursor() as cursor:
        cursor.execute(text, values)


def actor_text(actor: Actor) -> str:
    """What the triggers of the change audit read in the setting `app.actor`."""
    found = {
        "user": actor.user_id and str(actor.user_id),
        "token": actor.token_id and str(actor.token_id),
        "role": actor.role.value,
        "purpose": actor.purpose,
        "request": actor.request_id,
        "operation": actor.operation_name,
    }
    return json.dumps({name: value for name, value in found.items() if value})


@contextmanager
def acting_for(organization_id: uuid.UUID, actor: Actor | None = None) -> Iterator[None]:
    """A transaction in which the rows of this organization, and no others, exist.

    SQL: BEGIN, 1, COMMIT; a savepoint when nested (the settings outside are set again at its end).
    """
    with transaction.atomic():
        outer = _current()
        set_organization(organization_id, actor)
        try:
            yield
        finally:
            # set_config(..., true) lasts until the transaction ends, also past the end of a savepoint.
            if outer is not None and not connection.needs_rollback:
                _restore(outer, (str(organization_id), outer[1] if actor is None else actor_text(actor)))


def _current() -> _Settings | None:
    if not connection.savepoint_ids:
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nullif(current_setting('app.organization_id', true), ''), current_setting('app.actor', true)"
        )
        organization, actor = cursor.fetchone()
    return (organization, actor or "") if organization else None


def _restore(outer: _Settings, inner: _Settings) -> None:
    if outer != inner:
        with connection.cursor() as cursor:
            cursor.execute(SET_ORGANIZATION + SET_ACTOR, outer)


@contextmanager
def write(actor: Actor) -> Iterator[None]:
    """The transaction of one service call."""
    with acting_for(actor.organization_id, actor):
        yield
