"""Certificates of entries that were removed because they were past their time, and when they are to be believed.

A certificate says which seals have no entry left, and holds the hashes of the entries that went where others of their
seal stay: with them the seal is verified as before. It goes on from the certificate before it, and an entry of the
trail holds its hash, so its time is that of a seal; where that entry is past its time too, the time of the one that
follows bounds its own. It excuses no entry that was sealed less than six years before.
"""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from psycopg import Connection

from backend.audit.chain import CLOCK
from backend.audit.places import Places

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


def read_removed(connection: "Connection[Any]", places: Places) -> tuple[Removed, list[tuple[int, str]]]:
    """What the certificates that are to be believed excuse; the others, each with the first seal that it is about.

    SQL: 3.
    """
    removed, disproved = Removed(), list[tuple[int, str]]()
    certificates = read_certificates(connection)
    connection.execute("SELECT set_config('app.organization_id', %s, true)", [NOBODY])
    told = {bytes(digest): (epoch, int(xid)) for digest, epoch, xid in connection.execute(_ENTRIES, [NOBODY, REMOVAL])}
    judge, hashes = _Judge(places, told), [b"", *(own for _, own in certificates)]
    # From the last one on: what an earlier one says can rest on those that follow it.
    for number in range(len(certificates), 0, -1):
        certificate, own = certificates[number - 1]
        is_next = certificate.seq == number and certificate.prev_hash == hashes[number - 1]
        is_whole = is_next and own == certificate.own_hash()
        reason = judge.against(certificate, own) if is_whole else "was changed, or one before it was"
        if reason:
            disproved.insert(0, (_first(certificate), f"certificate {certificate.seq} of {certificate.part} {reason}"))
        else:
            removed.add(certificate)
    return removed, disproved


def _first(certificate: Certificate) -> int:
    return min([*(first for first, _ in certificate.seals), *map(int, certificate.leaves)], default=0)


class _Judge:
    """Holds certificates against the trail and the seals, the last one first."""

    def __init__(self, places: Places, told: Mapping[bytes, tuple[int, int]]) -> None:
        self._places, self._told = places, told
        self._next: datetime | None = None  # when the one that follows was made
        self._gone_before = 0  # by those that follow: entries of earlier months have gone

    def against(self, certificate: Certificate, own: bytes) -> str:
        """Why it is not to be believed; empty if it is."""
        at = _microseconds(certificate.removed_at)
        if self._next is not None and certificate.removed_at > self._next:
            return "is of a time after the one that follows it"
        if own in self._told:
            seal = self._places.of(*self._told[own])
            limit = seal.moment if seal else _microseconds(datetime.now(UTC))
            if at > limit + CLOCK:
                return "is of a time after the seal of its entry"
        elif at >= self._gone_before:
            return "has no entry in the trail"
        youngest, ends = _microseconds(years_before(certificate.removed_at, LEAST_YEARS)), _time(certificate.id_to)
        if ends > youngest or any(moment > youngest for moment in self._about(certificate)):
            return f"is about entries that were sealed less than {LEAST_YEARS} years before it"
        self._next, self._gone_before = certificate.removed_at, max(self._gone_before, ends)
        return ""

    def _about(self, certificate: Certificate) -> Iterator[int]:
        """When the seals were made that it excuses something of.

        Each has one certificate, but for those at the turn of a month.
        """
        parts = [(int(seq), int(seq)) for seq in certificate.leaves]
        for first, last in (*certificate.seals, *parts):
            yield from self._places.moments(first, last)


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def _time(key: str) -> int:
    """The moment that an id begins with, in microseconds since 1970."""
    return int(key.replace("-", "")[:12], 16) * 1_000
