"""The seals as they are stored, and what of an entry they are about."""

import hashlib
import json
import uuid
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

CLOCK = 600_000_000  # microseconds by which clocks of one cluster's servers may differ, or be set back
Root = tuple[int, str]  # entries, hash in hexadecimal digits

_SEALS = """
SELECT seq, epoch, xid_from::text, xid_to::text, entries, organization_roots, root, prev_hash, hash,
  (extract(epoch FROM sealed_at) * 1000000)::bigint, sealed_at::text
FROM audit_seal ORDER BY seq
"""
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
    sealed_at: str

    @property
    def place(self) -> str:
        """How people are told of it."""
        return f"seal {self.seq} of {self.sealed_at}"

    def own_hash(self) -> bytes:
        """What its hash must be, by what it says of itself."""
        numbers = (self.seq, self.epoch, self.xid_from, self.xid_to, self.entries, self.moment)
        return hashlib.sha256(self.prev_hash + self.root + " ".join(map(str, numbers)).encode()).digest()

    def own_root(self) -> bytes:
        """What its root must be, by the roots of the organizations."""
        branches = sorted(uuid.UUID(key).bytes + bytes.fromhex(root) for key, (_, root) in self.roots.items())
        return hashlib.sha256(b"".join(branches)).digest()


def read_seals(connection: "Connection[Any]") -> list[Seal]:
    """The stored seals, in the order of the chain.

    SQL: 1.
    """
    return [_seal(row) for row in connection.execute(_SEALS).fetchall()]


def _seal(row: Sequence[Any]) -> Seal:
    seq, epoch, xid_from, xid_to, entries, stored, *hashes, moment, sealed_at = row
    found = json.loads(stored) if isinstance(stored, str) else stored
    roots = {key: (int(number), str(digest)) for key, (number, digest) in found.items()}
    root, prev_hash, own = map(bytes, hashes)
    return Seal(seq, epoch, int(xid_from), int(xid_to), entries, roots, root, prev_hash, own, moment, sealed_at)


class Places:
    """Which seal holds the entries of a transaction."""

    def __init__(self, seals: Sequence[Seal]) -> None:
        self._by_epoch: dict[int, list[Seal]] = {}
        self._before: dict[int, Seal | None] = {}
        for number, seal in enumerate(seals):
            if seal.epoch not in self._by_epoch:
                self._before[seal.epoch] = _before_cluster(seals[:number])
            self._by_epoch.setdefault(seal.epoch, []).append(seal)
        self._before_others = _before_cluster(seals)
        self._ends = {epoch: [seal.xid_to for seal in found] for epoch, found in self._by_epoch.items()}

    def of(self, epoch: int, xid: int) -> Seal | None:
        """The seal; None where there is none, or none yet."""
        place = bisect_right(self._ends.get(epoch, []), xid)
        seals = self._by_epoch.get(epoch, [])
        return seals[place] if place < len(seals) and xid >= seals[place].xid_from else None

    def is_beyond(self, epoch: int, xid: int) -> bool:
        """Whether the transaction is later than every seal of its cluster."""
        return bisect_right(self._ends.get(epoch, []), xid) == len(self._ends.get(epoch, []))

    def surely_before(self, epoch: int, xid: int) -> Seal | None:
        """The latest seal that was there before a transaction got its number, as far as the chain tells.

        The number came after the last seal before its own looked for what could be sealed; that was after the one
        before that. In another cluster the database began with the seals of the one before.
        """
        place = bisect_right(self._ends.get(epoch, []), xid)
        return self._by_epoch[epoch][place - 2] if place > 1 else self._before.get(epoch, self._before_others)


def _before_cluster(seals: Sequence[Seal]) -> Seal | None:
    """The last seal that was surely there when a cluster began, of those before its first.

    The last of each of the clusters before may have been made in it, of what they left.
    """
    place = len(seals) - 1
    while place > 0 and seals[place - 1].epoch != seals[place].epoch:
        place -= 1
    return seals[place - 1] if place > 0 else None
