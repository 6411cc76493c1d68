"""Verifies the audit trail against its seals, by hashes made here and not by the database. Changes nothing.

Needs no more than the right to read entries and seals: it sets one organization after the other.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection
from psycopg.pq import TransactionStatus

from backend.audit.certificates import Leaf, Removed, read_removed
from backend.audit.chain import CLOCK, ENTRY_TEXT, Places, Seal, read_seals

Progress = Callable[[int, int], None]  # entries done, entries in all
_EVERY = 5_000  # entries from one call of the progress to the next

# Ordered by the columns, not by their texts, which have the same names: by the text 1000 comes before 999.
_ENTRIES = f"""
SELECT epoch, xid::text, id::text, {ENTRY_TEXT}, (extract(epoch FROM at) * 1000000)::bigint
FROM audit_entry e WHERE organization_id = %s ORDER BY e.epoch, e.xid, e.id
"""
_ORGANIZATIONS = """
SELECT id::text FROM organization UNION SELECT jsonb_object_keys(organization_roots) FROM audit_seal ORDER BY 1
"""


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
    removed: int = 0  # sealed ones that are past their time, as certificates prove
    unsealed: int = 0  # the newest, whose seal is to come
    latest: str = ""  # the last seal as it is published
    damages: list[Damage] = field(default_factory=list)


def verify(
    connection: "Connection[Any]",
    published: Iterable[tuple[int, str]],
    progress: Progress = lambda _done, _total: None,
) -> Report:
    """What the trail is worth, read from one snapshot; `published` are numbers and hashes that were kept elsewhere.

    Two hashes of one number are damage: one of them is of a seal that was taken away. In a transaction of the caller it
    is read as that sees it.

    SQL: 8, and 2 per organization.
    """
    report = Report()
    begun = connection.info.transaction_status is not TransactionStatus.IDLE
    with connection.transaction():
        if not begun:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # Before the snapshot: it would miss a partition that goes after, and not have the certificate of it.
        connection.execute("LOCK TABLE audit_entry IN ACCESS SHARE MODE")
        seals = read_seals(connection)
        epoch = connection.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
        organizations = [row[0] for row in connection.execute(_ORGANIZATIONS).fetchall()]
        report.seals = len(seals)
        if seals:
            report.latest = f"{seals[-1].seq} {seals[-1].hash.hex()}"
        report.damages += [*_chain(seals), *_published(seals, published)]
        removed, disproved = read_removed(connection, seals)
        report.removed = removed.entries
        report.damages += [Damage(*one) for one in disproved]
        trail = _Trail(seals, removed, epoch[0] if epoch else 0, report, progress)
        for organization in organizations:
            trail.check(connection, organization)
    report.damages.sort()
    return report


def _chain(seals: Sequence[Seal]) -> Iterator[Damage]:
    before: Seal | None = None
    ends: dict[int, int] = {}  # no transaction lies between two seals of a cluster
    for seal in seals:
        expected = before.seq + 1 if before else 1
        if seal.seq != expected:
            yield Damage(expected, f"seal {expected} is missing")
        elif seal.prev_hash != (before.hash if before else b""):
            yield Damage(seal.seq, f"{seal.place} does not follow from the seal before it")
        if seal.hash != seal.own_hash() or seal.root != seal.own_root():
            yield Damage(seal.seq, f"{seal.place} was changed")
        elif seal.entries != sum(number for number, _ in seal.roots.values()) or (
            seal.seq == expected and seal.xid_from != ends.get(seal.epoch, 0)
        ):
            yield Damage(seal.seq, f"{seal.place} leaves entries out")
        before, ends[seal.epoch] = seal, seal.xid_to


def _published(seals: Sequence[Seal], published: Iterable[tuple[int, str]]) -> Iterator[Damage]:
    stored = {seal.seq: seal.hash.hex() for seal in seals}
    for seq, digest in sorted(set(published)):
        if seq not in stored:
            yield Damage(seq, f"seal {seq}, which was published, is missing")
        elif stored[seq] != digest:
            yield Damage(seq, f"seal {seq} is not the one that was published")


class _Trail:
    """Compares the entries of one organization after the other with the seals."""

    def __init__(self, seals: Sequence[Seal], removed: Removed, epoch: int, report: Report, progress: Progress) -> None:
        self._seals, self._removed, self._report, self._progress = seals, removed, report, progress
        self._current = epoch
        self._places, self._next = Places(seals), seals[-1].seq + 1 if seals else 1
        self._total = sum(seal.entries for seal in seals) - removed.entries

    def check(self, connection: "Connection[Any]", organization: str) -> None:
        """Adds what is found to the report."""
        connection.execute("SELECT set_config('app.organization_id', %s, true)", [organization])
        found: dict[int, _Branch] = {}
        with connection.cursor(name="entries") as cursor:
            cursor.itersize = _EVERY
            cursor.execute(_ENTRIES, [organization])
            for epoch, xid, key, text, at in cursor:
                name = f"entry {key} of organization {organization}"
                seal = self._sealed_by(epoch, int(xid), name)
                self._date(epoch, int(xid), at, seal.seq if seal else self._next, name)
                if seal is not None:
                    branch = found.get(seal.seq)
                    if branch is None:
                        branch = found[seal.seq] = _Branch(self._removed.leaves(seal.seq, organization))
                    branch.add(int(xid), key, hashlib.sha256(text.encode()).digest())
                    self._report.entries += 1
                    if self._report.entries % _EVERY == 0:
                        self._progress(self._report.entries, self._total)
        for seal in self._seals:
            if seal.seq in found or organization in seal.roots:
                branch = found.get(seal.seq) or _Branch(self._removed.leaves(seal.seq, organization))
                self._compare(seal, organization, branch)
        self._progress(self._report.entries, self._total)

    def _sealed_by(self, epoch: int, xid: int, name: str) -> Seal | None:
        """The seal that an entry belongs to; None where its seal is to come, or it belongs nowhere."""
        if (seal := self._places.of(epoch, xid)) is not None:
            return seal
        last = self._seals[-1] if self._seals else None
        if self._places.is_beyond(epoch, xid) and (epoch == self._current or last is None or epoch == last.epoch):
            self._report.unsealed += 1
        else:
            self._report.damages.append(Damage(last.seq if last else 0, f"{name} is of a time that no seal covers"))
        return None

    def _date(self, epoch: int, xid: int, at: int, seq: int, name: str) -> None:
        """Notes an entry that says it is older than a seal that was there before it."""
        before = self._places.surely_before(epoch, xid)
        if before is not None and at < before.moment - CLOCK:
            self._report.damages.append(Damage(seq, f"{name}, written after {before.place}, is dated before it"))

    def _compare(self, seal: Seal, organization: str, branch: "_Branch") -> None:
        where = f"{seal.place}, organization {organization}"
        if self._removed.holds(seal.seq):
            if branch.keys:
                what = f"{where}: {len(branch.keys)} entries where all were removed"
                self._report.damages.append(Damage(seal.seq, what))
            return
        sealed, root = seal.roots.get(organization, (0, ""))
        count = len(branch.keys) + len(branch.removed)
        if (count, branch.root()) == (sealed, root):
            return
        if count != sealed:
            what = f"{where}: {count} entries where {sealed} were sealed"
        elif len(branch.keys) == 1:
            what = f"{where}: entry {branch.keys[0]} was changed"
        else:
            between = f", {branch.keys[0]} to {branch.keys[-1]}," if branch.keys else ""
            what = f"{where}: of {sealed} entries{between} at least one was changed"
        self._report.damages.append(Damage(seal.seq, what))


class _Branch:
    """An organization under one seal: the entries that are there, and the hashes of those that were removed."""

    def __init__(self, removed: Sequence[Leaf]) -> None:
        self.removed = removed
        self.keys: list[str] = []
        self._leaves: list[Leaf] = [*removed]
        self._digest = hashlib.sha256()

    def add(self, xid: int, key: str, digest: bytes) -> None:
        """One that is there, after all before it."""
        self.keys.append(key)
        if self.removed:
            self._leaves.append((xid, key, digest))
        else:
            self._digest.update(digest)

    def root(self) -> str:
        """The hash of all of them, in hexadecimal digits; empty where there are none."""
        if self.removed:
            return hashlib.sha256(b"".join(digest for _, _, digest in sorted(self._leaves))).hexdigest()
        return self._digest.hexdigest() if self.keys else ""
