"""Certificates of entries that were removed because they were past their time, and when they are to be believed.

A certificate says which seals have no entry left, and holds the hashes of the entries that went where others of their
seal stay: with them the seal is verified as before. It goes on from the certificate before it, and an entry of the
trail holds its hash, so its time is that of a seal. It excuses no entry that was sealed less than six years before.
"""

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from psycopg import Connection

from backend.audit.chain import Places, Seal

LEAST_YEARS = 6  # 45 CFR 164.316(b)(2)(i)
REMOVAL = "audit.remove"
NOBODY = "00000000-0000-0000-0000-000000000000"  # whose trail tells of what concerns every organization
Leaf = tuple[int, str, bytes]  # transaction, id, hash of an entry

_CERTIFICATES = """
SELECT seq, part, id_to::text, entries, seals, leaves, prev_hash, hash, removed_at, operator
FROM audit_removal ORDER BY seq
"""
_ENTRIES = """
SELECT objects_digest, epoch, xid::text FROM audit_entry
WHERE organization_id = %s AND action = %s AND objects_digest IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was removed: the entries of one partition."""

    seq: int
    part: str
    id_to: str  # the ids of all were less
    entries: int
    seals: Sequence[Sequence[int]]  # first and last of seals that have no entry left
    leaves: Mapping[str, Sequence[Sequence[str]]]  # seal -> [organization, transaction, id, hash] of what it lost
    prev_hash: bytes
    removed_at: datetime
    operator: str

    def own_hash(self) -> bytes:
        """What its hash must be, by what it says of itself."""
        said = [self.seq, self.part, self.id_to, self.entries, self.seals, self.leaves]
        moment = self.removed_at.astimezone(UTC).isoformat()
        text = json.dumps([*said, moment, self.operator], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(self.prev_hash + text.encode()).digest()


@dataclass(slots=True)
class Removed:
    """What certificates excuse."""

    entries: int = 0
    _ranges: list[tuple[int, int]] = field(default_factory=list)
    _leaves: dict[int, dict[str, list[Leaf]]] = field(default_factory=dict)

    def add(self, certificate: Certificate) -> None:
        """What one more excuses."""
        self.entries += certificate.entries
        self._ranges = sorted([*self._ranges, *((first, last) for first, last in certificate.seals)])
        for seq, leaves in certificate.leaves.items():
            kept = self._leaves.setdefault(int(seq), {})
            for organization, xid, key, digest in leaves:
                kept.setdefault(organization, []).append((int(xid), key, bytes.fromhex(digest)))

    def holds(self, seq: int) -> bool:
        """Whether nothing is left of what the seal holds."""
        place = bisect_right(self._ranges, (seq, 1 << 63)) - 1
        return place >= 0 and self._ranges[place][1] >= seq

    def leaves(self, seq: int, organization: str) -> Sequence[Leaf]:
        """What is left of the removed entries of an organization under a seal that holds others too."""
        return self._leaves.get(seq, {}).get(organization, ())

    def organizations(self, seq: int) -> Mapping[str, Sequence[Leaf]]:
        """The same of all organizations."""
        return self._leaves.get(seq, {})


def years_before(moment: datetime, years: int) -> datetime:
    """The same day and time so many years earlier; 29 February is 28 February where there is none."""
    try:
        return moment.replace(year=moment.year - years)
    except ValueError:
        return moment.replace(year=moment.year - years, day=28)


def read_certificates(connection: "Connection[Any]") -> list[tuple[Certificate, bytes]]:
    """The stored certificates with their hashes, in the order of their chain.

    SQL: 1.
    """
    found = []
    for *said, prev_hash, own, removed_at, operator in connection.execute(_CERTIFICATES).fetchall():
        seq, part, id_to, entries, seals, leaves = said
        certificate = Certificate(
            seq, part, id_to, entries, _json(seals), _json(leaves), bytes(prev_hash), removed_at, operator
        )
        found.append((certificate, bytes(own)))
    return found


def _json(stored: Any) -> Any:
    return json.loads(stored) if isinstance(stored, str) else stored


def read_removed(connection: "Connection[Any]", seals: Sequence[Seal]) -> tuple[Removed, list[tuple[int, str]]]:
    """What the certificates that are to be believed excuse; the others, each with the first seal that it is about.

    SQL: 3.
    """
    removed, disproved = Removed(), list[tuple[int, str]]()
    certificates = read_certificates(connection)
    connection.execute("SELECT set_config('app.organization_id', %s, true)", [NOBODY])
    told = {bytes(digest): (epoch, int(xid)) for digest, epoch, xid in connection.execute(_ENTRIES, [NOBODY, REMOVAL])}
    judge = _Judge(seals, told, [certificate for certificate, _ in certificates])
    before = b""
    for number, (certificate, own) in enumerate(certificates, start=1):
        is_next = certificate.seq == number and certificate.prev_hash == before and own == certificate.own_hash()
        reason = judge.against(certificate, own) if is_next else "was changed, or one before it was"
        if reason:
            disproved.append((_first(certificate), f"certificate {certificate.seq} of {certificate.part} {reason}"))
        else:
            removed.add(certificate)
        before = own
    return removed, disproved


def _first(certificate: Certificate) -> int:
    return min([*(first for first, _ in certificate.seals), *map(int, certificate.leaves)], default=0)


class _Judge:
    """Holds a certificate against the trail and the seals."""

    def __init__(
        self, seals: Sequence[Seal], told: Mapping[bytes, tuple[int, int]], certificates: Sequence[Certificate]
    ) -> None:
        self._seals, self._told, self._places = seals, told, Places(seals)
        self._numbers = [seal.seq for seal in seals]
        self._last = certificates[-1].seq if certificates else 0
        self._gone_before = max((_time(one.id_to) for one in certificates), default=0)

    def against(self, certificate: Certificate, own: bytes) -> str:
        """Why it is not to be believed; empty if it is."""
        at = int(certificate.removed_at.timestamp() * 1_000_000)
        if own in self._told:
            seal = self._places.of(*self._told[own])
            limit = seal.moment if seal else int(datetime.now(UTC).timestamp() * 1_000_000)
            if at > limit:
                return "is of a time after the seal of its entry"
        elif certificate.seq == self._last or at >= self._gone_before:
            return "has no entry in the trail"
        youngest = years_before(certificate.removed_at, LEAST_YEARS).timestamp() * 1_000_000
        if any(seal.moment > youngest for seal in self._about(certificate)):
            return f"is about entries that were sealed less than {LEAST_YEARS} years before it"
        return ""

    def _about(self, certificate: Certificate) -> Iterator[Seal]:
        """The seals that it excuses something of: each has one certificate, but for those at the turn of a month."""
        parts = [(int(seq), int(seq)) for seq in certificate.leaves]
        for first, last in (*certificate.seals, *parts):
            yield from self._seals[bisect_left(self._numbers, first) : bisect_right(self._numbers, last)]


def _time(key: str) -> int:
    """The moment that an id begins with, in microseconds since 1970."""
    return int(key.replace("-", "")[:12], 16) * 1_000
