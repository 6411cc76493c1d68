"""Verifies the audit trail against its seals, by hashes made here and not by the database. Changes nothing.

Needs no more than the right to read entries and seals: it sets one organization after the other.
"""

import hashlib
import json
import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection
from psycopg.pq import TransactionStatus

Progress = Callable[[int, int], None]  # entries done, entries in all
Root = tuple[int, str]  # entries, hash in hexadecimal digits
_EVERY = 5_000  # entries from one call of the progress to the next

_SEALS = """
SELECT seq, epoch, xid_from::text, xid_to::text, entries, organization_roots, root, prev_hash, hash,
  (extract(epoch FROM sealed_at) * 1000000)::bigint, sealed_at::text
FROM audit_seal ORDER BY seq
"""
# What of an entry is sealed; audit_entry_text() in the database says the same. Ordered by the columns, not by their
# texts, which have the same names: by the text 1000 comes before 999.
_ENTRIES = """
SELECT epoch, xid::text, id::text, jsonb_strip_nulls(jsonb_build_object('id', id, 'organization_id', organization_id,
  'created_at', (extract(epoch FROM created_at) * 1000000)::bigint, 'at', (extract(epoch FROM at) * 1000000)::bigint,
  'actor_id', actor_id, 'token_id', token_id, 'actor_role', actor_role, 'action', action, 'object_type', object_type,
  'object_ids', object_ids, 'object_count', object_count, 'objects_digest', encode(objects_digest, 'hex'),
  'fields', fields, 'operation_name', operation_name, 'document_hash', encode(document_hash, 'hex'),
  'fields_phi', fields_phi, 'outcome', outcome, 'purpose', purpose, 'request_id', request_id,
  'ip_hash', encode(ip_hash, 'hex'), 'xid', xid::text, 'epoch', epoch))::text
FROM audit_entry e WHERE organization_id = %s ORDER BY e.epoch, e.xid, e.id
"""
_ORGANIZATIONS = """
SELECT id::text FROM organization UNION SELECT jsonb_object_keys(organization_roots) FROM audit_seal ORDER BY 1
"""


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


@dataclass(frozen=True, slots=True, order=True)
class Damage:
    """A place at which the trail is not what was sealed; `seq` is the seal's."""

    seq: int
    what: str


@dataclass(slots=True)
class Report:
    """What was verified, and what is damaged, in the order of the chain."""

    seals: int = 0
    entries: int = 0  # sealed ones
    unsealed: int = 0  # the newest, whose seal is to come
    latest: str = ""  # the last seal as it is published
    damages: list[Damage] = field(default_factory=list)


def verify(
    connection: "Connection[Any]", published: Mapping[int, str], progress: Progress = lambda _done, _total: None
) -> Report:
    """What the trail is worth, read from one snapshot; `published` are hashes by number that were kept elsewhere.

    In a transaction of the caller it is read as that sees it.

    SQL: 4, and 2 per organization.
    """
    report = Report()
    begun = connection.info.transaction_status is not TransactionStatus.IDLE
    with connection.transaction():
        if not begun:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        seals = [_seal(row) for row in connection.execute(_SEALS).fetchall()]
        epoch = connection.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
        organizations = [row[0] for row in connection.execute(_ORGANIZATIONS).fetchall()]
        report.seals = len(seals)
        if seals:
            report.latest = f"{seals[-1].seq} {seals[-1].hash.hex()}"
        report.damages += [*_chain(seals), *_published(seals, published)]
        trail = _Trail(seals, epoch[0] if epoch else 0, report, progress)
        for organization in organizations:
            trail.check(connection, organization)
    report.damages.sort()
    return report


def _seal(row: Sequence[Any]) -> Seal:
    seq, epoch, xid_from, xid_to, entries, stored, *hashes, moment, sealed_at = row
    found = json.loads(stored) if isinstance(stored, str) else stored
    roots = {key: (int(number), str(digest)) for key, (number, digest) in found.items()}
    root, prev_hash, own = map(bytes, hashes)
    return Seal(seq, epoch, int(xid_from), int(xid_to), entries, roots, root, prev_hash, own, moment, sealed_at)


def _chain(seals: Sequence[Seal]) -> Iterator[Damage]:
    before: Seal | None = None
    for seal in seals:
        expected = before.seq + 1 if before else 1
        if seal.seq != expected:
            yield Damage(expected, f"seal {expected} is missing")
        elif seal.prev_hash != (before.hash if before else b""):
            yield Damage(seal.seq, f"{seal.place} does not follow from the seal before it")
        if seal.hash != seal.own_hash() or seal.root != seal.own_root():
            yield Damage(seal.seq, f"{seal.place} was changed")
        elif seal.entries != sum(number for number, _ in seal.roots.values()) or not _follows(seal, before):
            yield Damage(seal.seq, f"{seal.place} leaves entries out")
        before = seal


def _follows(seal: Seal, before: Seal | None) -> bool:
    """Whether no transaction lies between two seals; in another cluster they are counted anew."""
    if before is None or before.epoch != seal.epoch:
        return seal.xid_from == 0
    return seal.xid_from == before.xid_to or before.seq + 1 != seal.seq  # a missing one is told already


def _published(seals: Sequence[Seal], published: Mapping[int, str]) -> Iterator[Damage]:
    stored = {seal.seq: seal.hash.hex() for seal in seals}
    for seq, digest in sorted(published.items()):
        if seq not in stored:
            yield Damage(seq, f"seal {seq}, which was published, is missing")
        elif stored[seq] != digest:
            yield Damage(seq, f"seal {seq} is not the one that was published")


class _Trail:
    """Compares the entries of one organization after the other with the seals."""

    def __init__(self, seals: Sequence[Seal], epoch: int, report: Report, progress: Progress) -> None:
        self._seals, self._report, self._progress = seals, report, progress
        self._current = epoch
        self._by_epoch: dict[int, list[Seal]] = {}
        for seal in seals:
            self._by_epoch.setdefault(seal.epoch, []).append(seal)
        self._ends = {epoch: [seal.xid_to for seal in found] for epoch, found in self._by_epoch.items()}
        self._total = sum(seal.entries for seal in seals)

    def check(self, connection: "Connection[Any]", organization: str) -> None:
        """Adds what is found to the report."""
        connection.execute("SELECT set_config('app.organization_id', %s, true)", [organization])
        found: dict[int, tuple[list[str], Any]] = {}
        with connection.cursor(name="entries") as cursor:
            cursor.itersize = _EVERY
            cursor.execute(_ENTRIES, [organization])
            for epoch, xid, key, text in cursor:
                seal = self._sealed_by(epoch, int(xid), f"entry {key} of organization {organization}")
                if seal is not None:
                    keys, digest = found.setdefault(seal.seq, ([], hashlib.sha256()))
                    keys.append(key)
                    digest.update(hashlib.sha256(text.encode()).digest())
                    self._report.entries += 1
                    if self._report.entries % _EVERY == 0:
                        self._progress(self._report.entries, self._total)
        for seal in self._seals:
            keys, digest = found.get(seal.seq, ([], None))
            self._compare(seal, organization, keys, digest.hexdigest() if digest else "")
        self._progress(self._report.entries, self._total)

    def _sealed_by(self, epoch: int, xid: int, name: str) -> Seal | None:
        """The seal that an entry belongs to; None where its seal is to come, or it belongs nowhere."""
        seals = self._by_epoch.get(epoch, [])
        place = bisect_right(self._ends.get(epoch, []), xid)
        if place < len(seals) and xid >= seals[place].xid_from:
            return seals[place]
        last = self._seals[-1] if self._seals else None
        if place == len(seals) and (epoch == self._current or last is None or epoch == last.epoch):
            self._report.unsealed += 1
        else:
            self._report.damages.append(Damage(last.seq if last else 0, f"{name} is of a time that no seal covers"))
        return None

    def _compare(self, seal: Seal, organization: str, keys: Sequence[str], digest: str) -> None:
        sealed, root = seal.roots.get(organization, (0, ""))
        if (len(keys), digest) == (sealed, root):
            return
        where = f"{seal.place}, organization {organization}"
        if len(keys) != sealed:
            what = f"{where}: {len(keys)} entries where {sealed} were sealed"
        elif len(keys) == 1:
            what = f"{where}: entry {keys[0]} was changed"
        else:
            what = f"{where}: of {sealed} entries, {keys[0]} to {keys[-1]}, at least one was changed"
        self._report.damages.append(Damage(seal.seq, what))
