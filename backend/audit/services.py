"""Writes audit entries. What is worth an entry is decided by the services that act."""

import hashlib
import uuid
from collections.abc import Iterable, Sequence

from backend.audit.models import AuditEntry, Outcome
from backend.core.actor import Actor

MAX_OBJECT_IDS = 100


def digest_of(keys: Iterable[uuid.UUID]) -> bytes:
    """SHA-256 of the sorted ids, 16 bytes each; the triggers of the change audit make the same."""
    return hashlib.sha256(b"".join(sorted(key.bytes for key in keys))).digest()


def record(
    *,
    actor: Actor,
    action: str,
    object_type: str,
    object_ids: Sequence[uuid.UUID] = (),
    object_count: int | None = None,
    fields: Sequence[str] = (),
    outcome: Outcome = Outcome.OK,
    claim_level: bool = False,
) -> AuditEntry:
    """The entry, written in the caller's transaction: an act and its entry stand or fall together.

    Of more than 100 ids it keeps a digest; `object_count` is the number of all objects, if not that of the ids.
    `fields` are names of what of them the act was about, never values; `claim_level`: it told of claim lines.

    SQL: 1.
    """
    many = len(object_ids) > MAX_OBJECT_IDS
    entry = AuditEntry(
        organization_id=actor.organization_id,
        actor_id=actor.user_id,
        token_id=actor.token_id,
        actor_role=actor.role.value,
        action=action,
        object_type=object_type,
        object_ids=[] if many else sorted(object_ids),
        objects_digest=digest_of(object_ids) if many else None,
        object_count=len(object_ids) if object_count is None else object_count,
        fields=list(fields),
        operation_name=actor.operation_name,
        fields_phi=claim_level,
        outcome=outcome,
        purpose=actor.purpose or "",
        request_id=actor.request_id,
    )
    entry.save(force_insert=True)
    return entry
