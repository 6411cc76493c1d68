"""The seals as they are stored, and what of an entry they are about."""

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from backend.audit.places import Mark

CLOCK = 600_000_000  # microseconds by which clocks of one cluster's servers may differ, or be set back
Root = tuple[int, str]  # entries, hash in hexadecimal digits

_SEALS = """
SELECT seq, epoch, xid_from::text, xid_to::text, entries, organization_roots, root, prev_hash, hash,
  (extract(epoch FROM sealed_at) * 1000000)::bigint
FROM audit_seal WHERE seq BETWEEN %s AND %s ORDER BY seq
"""
_AT_ONCE = 1_000
_LEAST, _LARGEST = -(2**63), 2**63 - 1
# What of an entry is sealed; audit_entry_text() in the database says the same.
ENTRY_TEXT = """jsonb_strip_nulls(jsonb_build_object('id', id, 'organization_id', organization_id,
  'created_at', (extract(epoch FROM created_at) * 1000000)::bigint, 'at', (extract(epoch FROM at) * 1000000)::bigint,
  'actor_id', actor_id, 'token_id', token_id, 'actor_role', actor_role, 'action', action, 'object_type', object_type,
  'object_ids', object_ids, 'object_count', object_count, 'objects_digest', encode(objects_digest, 'hex'),
  'fields', fields, 'operation_name', operation_name, 'document_hash', encode(document_hash, 'hex'),
  'fields_phi', fields_phi, 'outcome', outcome, 'purpose', purpose, 'request_id', request_id,
  'ip_hash', encode(ip_hash, 'hex'), 'xid', xid::text, 'epoch', epoch))::text"""


@dataclass(frozen=True, slots=True)
class Seal:
    """A stored seal."""

    seq: int
    epoch: int
    xid_from: int
    xid_to: int
    entries: int
    roots: Mapping[str, Root]  # by organization
    root: bytes
    prev_hash: bytes
    hash: bytes
    moment: int  # microseconds since 1970

    @property
    def mark(self) -> Mark:
        """Its place in the chain."""
        return Mark(self.seq, self.moment)

    def own_hash(self) -> bytes:
        """What its hash must be, by what it says of itself."""
        numbers = (self.seq, self.epoch, self.xid_from, self.xid_to, self.entries, self.moment)
        return hashlib.sha256(self.prev_hash + self.root + " ".join(map(str, numbers)).encode()).digest()

    def own_root(self) -> bytes:
        """What its root must be, by the roots of the organizations."""
        branches = sorted(uuid.UUID(key).bytes + bytes.fromhex(root) for key, (_, root) in self.roots.items())
        return hashlib.sha256(b"".join(branches)).digest()


def read_seals(connection: "Connection[Any]", first: int = _LEAST, last: int = _LARGEST) -> Iterator[Seal]:
    """The stored seals of these numbers, in the order of the chain; one after the other, for there are many.

    SQL: 1, in the transaction of the caller.
    """
    with connection.cursor(name="seals") as cursor:
        cursor.itersize = _AT_ONCE
        cursor.execute(_SEALS, [first, last])
        yield from map(_seal, cursor)


def _seal(row: Sequence[Any]) -> Seal:
    seq, epoch, xid_from, xid_to, entries, stored, *hashes, moment = row
    found = json.loads(stored) if isinstance(stored, str) else stored
    roots = {key: (int(number), str(digest)) for key, (number, digest) in found.items()}
    root, prev_hash, own = map(bytes, hashes)
    return Seal(seq, epoch, int(xid_from), int(xid_to), entries, roots, root, prev_hash, own, moment)
