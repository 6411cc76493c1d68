"""The account of an operation: an entry for each protected type that it shows, one for what it was refused."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson

from backend.audit.models import Outcome
from backend.audit.services import MAX_OBJECT_IDS, digest_of
from backend.core.actor import Actor
from backend.core.errors import Forbidden, ReadOnly
from backend.core.ids import uuid7
from backend.db.pipeline import TextQuery

READ = "read"
REFUSE = "refuse"

# A missing purpose is found here, where the organization's row is at hand: asking first would be a round trip more.
_INSERT = b"""
INSERT INTO audit_entry (id, organization_id, actor_id, token_id, actor_role, action, object_type, object_ids,
  object_count, objects_digest, fields, operation_name, document_hash, fields_phi, outcome, purpose, request_id)
SELECT e.id, o.id, e.actor_id, e.token_id, e.actor_role, e.action, e.object_type, e.object_ids, e.object_count,
  e.objects_digest, e.fields, e.operation_name, e.document_hash, e.fields_phi,
  CASE WHEN o.purpose_required AND e.fields_phi AND e.purpose = '' THEN 'DENIED' ELSE e.outcome END,
  e.purpose, e.request_id
FROM jsonb_to_recordset($1::jsonb) AS e(id uuid, organization_id uuid, actor_id uuid, token_id uuid, actor_role text,
  action text, object_type text, object_ids uuid[], object_count int, objects_digest bytea, fields text[],
  operation_name text, document_hash bytea, fields_phi boolean, outcome text, purpose text, request_id text)
JOIN organization o ON o.id = e.organization_id
RETURNING fields_phi AND purpose = '' AND (SELECT purpose_required FROM organization o WHERE o.id = organization_id)
"""


class PurposeMissing(Forbidden):
    """Your organization shows claim lines only to requests that say what for: send the header Driftgraph-Purpose."""


class AccountNotWritten(ReadOnly):
    """The read could not be recorded in the audit trail, so nothing that needs a record is shown. Try again later."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What an operation showed of one protected type."""

    table: str
    keys: frozenset[uuid.UUID]
    fields: tuple[str, ...]  # labelled ones, as Type.field, sorted
    claim_level: bool
    outcome: Outcome = Outcome.OK
    action: str = READ


def refused(fields: Iterable[str]) -> Shown:
    """What an operation was refused for want of a right: fields and mutations, as Type.field."""
    return Shown("", frozenset(), tuple(sorted(set(fields))), claim_level=False, outcome=Outcome.DENIED, action=REFUSE)


def account(actor: Actor, shown: Sequence[Shown], document_hash: bytes) -> TextQuery:
    """The statement that writes the entries; says of each whether it lacks a purpose that the organization demands."""
    entries = [
        {
            "id": uuid7(),
            "organization_id": actor.organization_id,
            "actor_id": actor.user_id,
            "token_id": actor.token_id,
            "actor_role": actor.role.value,
            "action": one.action,
            "object_type": one.table,
            "object_ids": sorted(one.keys) if len(one.keys) <= MAX_OBJECT_IDS else [],
            "object_count": len(one.keys),
            "objects_digest": f"\\x{digest_of(one.keys).hex()}" if len(one.keys) > MAX_OBJECT_IDS else None,
            "fields": one.fields,
            "operation_name": actor.operation_name,
            "document_hash": f"\\x{document_hash.hex()}",
            "fields_phi": one.claim_level,
            "outcome": one.outcome.value,
            "purpose": actor.purpose or "",
            "request_id": actor.request_id,
        }
        for one in shown
    ]
    return TextQuery(_INSERT, [orjson.dumps(entries).decode()])
