"""Verifies the audit trail against its seals, by hashes made here and not by the database. Changes nothing.

Needs no more than the right to read entries and seals: it sets one organization after the other.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from psycopg import Connection
from psycopg.pq import TransactionStatus

from backend.audit.certificates import Leaf, Removed, read_removed
from backend.audit.chain import CLOCK, ENTRY_TEXT, Root, Seal, read_seals
from backend.audit.places import Mark, Places

Progress = Callable[[int, int], None]  # entries done, entries in all
_EVERY = 5_000  # entries from one call of the progress to the next

# Ordered by the columns, not by their texts, which have the same names: by the text 1000 comes before 999.
_ENTRIES = f"""
SELECT epoch, xid::text, id::text, {ENTRY_TEXT}, (extract(epoch FROM at) * 1000000)::bigint
FROM audit_entry e WHERE organization_id = %s ORDER BY e.epoch, e.xid, e.id
"""
# In the order of the entries.
_ROOTS = """
SELECT epoch, xid_to::text, seq, (organization_roots -> %(key)s ->> 0)::bigint, organization_roots -> %(key)s ->> 1,
  (extract(epoch FROM sealed_at) * 1000000)::bigint
FROM audit_seal s WHERE jsonb_exists(organization_roots, %(key)s) ORDER BY s.epoch, s.xid_to, s.seq
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
    sealed: int = 0  # entries, as the seals say
    entries: int = 0  # sealed ones that are there
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

    SQL: 8, and 3 per organization. It keeps 40 bytes for each seal.
    """
    report = Report()
    begun = connection.info.transaction_status is not TransactionStatus.IDLE
    with connection.transaction():
        if not begun:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # Before the snapshot: it would miss a partition that goes after, and not have the certificate of it.
        connection.execute("LOCK TABLE audit_entry IN ACCESS SHARE MODE")
        places, kept = Places(), set(published)
        report.damages += _chain(read_seals(connection), kept, places, report)
        epoch = connection.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
        organizations = [row[0] for row in connection.execute(_ORGANIZATIONS).fetchall()]
        removed, disproved = read_removed(connection, places)
        report.removed = removed.entries
        report.damages += [Damage(*one) for one in disproved]
        trail = _Trail(places, removed, epoch[0] if epoch else 0, report, progress)
        for organization in organizations:
            trail.check(connection, organization)
    report.damages.sort()
    return report


def _chain(
    seals: Iterable[Seal], published: Collection[tuple[int, str]], places: Places, report: Report
) -> Iterator[Damage]:
    """What is wrong with the chain itself; puts down its places, and what the report says of it."""
    before: Seal | None = None
    ends: dict[int, int] = {}  # no transaction lies between two seals of a cluster
    stored: dict[int, str] = dict.fromkeys((seq for seq, _ in published), "")
    for seal in seals:
        expected = before.seq + 1 if before else 1
        if seal.seq != expected:
            yield Damage(expected, f"seal {expected} is missing")
        elif seal.prev_hash != (before.hash if before else b""):
            yield Damage(seal.seq, f"{seal.mark.place} does not follow from the seal before it")
        if seal.hash != seal.own_hash() or seal.root != seal.own_root():
            yield Damage(seal.seq, f"{seal.mark.place} was changed")
        elif seal.entries != sum(number for number, _ in seal.roots.values()) or (
            seal.seq == expected and seal.xid_from != ends.get(seal.epoch, 0)
        ):
            yield Damage(seal.seq, f"{seal.mark.place} leaves entries out")
        before, ends[seal.epoch] = seal, seal.xid_to
        if seal.seq in stored:
            stored[seal.seq] = seal.hash.hex()
        places.add(seal.mark, seal.epoch, seal.xid_from, seal.xid_to)
        report.seals, report.sealed = report.seals + 1, report.sealed + seal.entries
        report.latest = f"{seal.seq} {seal.hash.hex()}"
    for seq, digest in sorted(published):
        if not stored[seq]:
            yield Damage(seq, f"seal {seq}, which was published, is missing")
        elif stored[seq] != digest:
            yield Damage(seq, f"seal {seq} is not the one that was published")


class _Order(NamedTuple):
    """Where a seal stands among those of an organization's entries, which are read in this order."""

    epoch: int
    xid_to: int
    seq: int


class _Trail:
    """Compares the entries of one organization after the other with the seals."""

    def __init__(self, places: Places, removed: Removed, epoch: int, report: Report, progress: Progress) -> None:
        self._places, self._removed, self._report, self._progress = places, removed, report, progress
        self._current, self._next = epoch, places.last.seq + 1 if places.last else 1
        self._total = report.sealed - removed.entries

    def check(self, connection: "Connection[Any]", organization: str) -> None:
        """Adds what is found to the report."""
        connection.execute("SELECT set_config('app.organization_id', %s, true)", [organization])
        with connection.cursor(name="roots") as roots, connection.cursor(name="entries") as entries:
            roots.itersize = _EVERY
            roots.execute(_ROOTS, {"key": organization})
            entries.itersize = _EVERY
            entries.execute(_ENTRIES, [organization])
            self._merge(organization, self._branches(organization, entries), roots)
        self._progress(self._report.entries, self._total)

    def _merge(self, organization: str, branches: "Iterable[_Branch]", roots: Iterable[tuple[Any, ...]]) -> None:
        """Compares what is there with what was sealed; of either there may be more than of the other."""
        sealed = ((_Order(row[0], int(row[1]), row[2]), row) for row in roots)
        waiting = next(sealed, None)
        for branch in branches:
            while waiting is not None and waiting[0] < branch.order:
                self._missing(organization, waiting[1])
                waiting = next(sealed, None)
            if waiting is not None and waiting[0] == branch.order:
                self._compare(organization, branch, waiting[1][3:5])
                waiting = next(sealed, None)
            else:
                self._compare(organization, branch, (0, ""))
        while waiting is not None:
            self._missing(organization, waiting[1])
            waiting = next(sealed, None)

    def _missing(self, organization: str, row: tuple[Any, ...]) -> None:
        mark = Mark(row[2], row[5])
        branch = _Branch(mark, _Order(row[0], int(row[1]), row[2]), self._removed.leaves(mark.seq, organization))
        self._compare(organization, branch, row[3:5])

    def _branches(self, organization: str, entries: Iterable[tuple[Any, ...]]) -> "Iterator[_Branch]":
        """The entries of each seal; what belongs to none is told at once."""
        branch: _Branch | None = None
        for epoch, xid, key, text, at in entries:
            name = f"entry {key} of organization {organization}"
            mark = self._sealed_by(epoch, int(xid), name)
            self._date(epoch, int(xid), at, mark.seq if mark else self._next, name)
            if mark is None:
                continue
            if branch is None or branch.mark != mark:
                if branch is not None:
                    yield branch
                order = _Order(epoch, self._places.end_of(epoch, int(xid)), mark.seq)
                branch = _Branch(mark, order, self._removed.leaves(mark.seq, organization))
            branch.add(int(xid), key, hashlib.sha256(text.encode()).digest())
            self._report.entries += 1
            if self._report.entries % _EVERY == 0:
                self._progress(self._report.entries, self._total)
        if branch is not None:
            yield branch

    def _sealed_by(self, epoch: int, xid: int, name: str) -> Mark | None:
        """The seal that an entry belongs to; None where its seal is to come, or it belongs nowhere."""
        if (seal := self._places.of(epoch, xid)) is not None:
            return seal
        last = self._places.last
        is_new = last is None or epoch in (self._current, self._places.last_epoch)
        if is_new and self._places.is_beyond(epoch, xid):
            self._report.unsealed += 1
        else:
            self._report.damages.append(Damage(last.seq if last else 0, f"{name} is of a time that no seal covers"))
        return None

    def _date(self, epoch: int, xid: int, at: int, seq: int, name: str) -> None:
        """Notes an entry that says it is older than a seal that was there before it."""
        before = self._places.surely_before(epoch, xid)
        if before is not None and at < before.moment - CLOCK:
            self._report.damages.append(Damage(seq, f"{name}, written after {before.place}, is dated before it"))

    def _compare(self, organization: str, branch: "_Branch", root: Root) -> None:
        seq, where = branch.mark.seq, f"{branch.mark.place}, organization {organization}"
        if self._removed.holds(seq):
            if branch.number:
                self._report.damages.append(Damage(seq, f"{where}: {branch.number} entries where all were removed"))
            return
        sealed, digest = root
        count = branch.number + len(branch.removed)
        if (count, branch.root()) == (sealed, digest):
            return
        if count != sealed:
            what = f"{where}: {count} entries where {sealed} were sealed"
        elif branch.number == 1:
            what = f"{where}: entry {branch.first} was changed"
        else:
            between = f", {branch.first} to {branch.last}," if branch.number else ""
            what = f"{where}: of {sealed} entries{between} at least one was changed"
        self._report.damages.append(Damage(seq, what))


class _Branch:
    """An organization under one seal: the entries that are there, and the hashes of those that were removed."""

    def __init__(self, mark: Mark, order: _Order, removed: Sequence[Leaf]) -> None:
        self.mark, self.order, self.removed = mark, order, removed
        self.number, self.first, self.last = 0, "", ""
        self._leaves: list[Leaf] = [*removed]
        self._digest = hashlib.sha256()

    def add(self, xid: int, key: str, digest: bytes) -> None:
        """One that is there, after all before it."""
        self.number, self.first, self.last = self.number + 1, self.first or key, key
        if self.removed:
            self._leaves.append((xid, key, digest))
        else:
            self._digest.update(digest)

    def root(self) -> str:
        """The hash of all of them, in hexadecimal digits; empty where there are none."""
        if self.removed:
            return hashlib.sha256(b"".join(digest for _, _, digest in sorted(self._leaves))).hexdigest()
        return self._digest.hexdigest() if self.number else ""
