"""Writes audit entries. What is worth an entry is decided by the services that act."""

import uuid
from collections.abc import Sequence

from backend.audit.models import AuditEntry, Outcome
from backend.core.actor import Actor

MAX_OBJECT_IDS = 100


def record(
    *,
    actor: Actor,
    action: str,
    object_type: str,
    object_ids: Sequence[uuid.UUID] = (),
    object_count: int | None = None,
    operation_name: str = "",
    fields_phi: bool = False,
    outcome: Outcome = Outcome.OK,
) -> AuditEntry:
    """The entry, written in the caller's transaction: an act and its entry stand or fall together.

    Keeps the first 100 ids; `object_count` is the number of all objects and defaults to the number of ids.

    SQL: 1.
    """
    entry = AuditEntry(
        organization_id=actor.organization_id,
        actor_id=actor.user_id,
        token_id=actor.token_id,
        actor_role=actor.role.value,
        action=action,
        object_type=object_type,
        object_ids=list(object_ids[:MAX_OBJECT_IDS]),
        object_count=len(object_ids) if object_count is None else object_count,
        operation_name=operation_name,
        fields_phi=fields_phi,
        outcome=outcome,
        purpose=actor.purpose or "",
        request_id=actor.request_id,
    )
    entry.save(force_insert=True)
    return entry
