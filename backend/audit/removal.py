"""Removes audit entries that are past their time: whole partitions, as the owner of the database, with a certificate.

What is removed is verified first: entries that are not as they were sealed stay, for a removal would hide the damage.
"""

import hashlib
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import Connection, sql

from backend.audit.certificates import (
    LEAST_YEARS,
    NOBODY,
    REMOVAL,
    Certificate,
    Leaf,
    read_certificates,
    read_removed,
    years_before,
)
from backend.audit.chain import ENTRY_TEXT, Seal, read_seals
from backend.audit.models import AuditEntry, AuditRemoval
from backend.audit.places import Mark, Places
from backend.core.errors import BadUserInput, Conflict, Unavailable
from backend.migration_safety.locking import LOCK_TIMEOUT_MS, with_retries

Progress = Callable[[int], None]  # entries verified so far
_ONE_AT_A_TIME = 7234301962  # the lock of audit_months_make() too
_AT_ONCE = 5_000
_PARTITIONS = "SELECT part, id_to::text FROM audit_partitions() WHERE id_to IS NOT NULL ORDER BY id_to"
_OF_PART = f"SELECT epoch, xid::text, organization_id::text, id::text, {ENTRY_TEXT} FROM {{}}"
_ORDER = " ORDER BY epoch, {}.xid, {}.id"
_OF_SEAL = (
    f"SELECT epoch, xid::text, organization_id::text, id::text, {ENTRY_TEXT} FROM audit_entry"
    " WHERE epoch = %s AND xid >= %s::text::xid8 AND xid < %s::text::xid8 AND tableoid <> %s::regclass"
)


class TooFewYears(BadUserInput):
    """Audit entries are kept for at least {least} years."""


class AlreadyRemoved(Conflict):
    """{part} was removed by another run."""


class NotAsSealed(Unavailable):
    """{part} stays: {reason}. Run `verify_audit`."""


@dataclass(frozen=True, slots=True)
class Due:
    """A partition all of whose ids are of before the time."""

    part: str
    id_to: str
    before: datetime  # what was sealed since stays


@dataclass(slots=True)
class _Account:
    """What a certificate says of the entries of a partition."""

    entries: int = 0
    seals: list[list[int]] = field(default_factory=list)
    leaves: dict[str, list[list[str]]] = field(default_factory=dict)

    def whole(self, seq: int) -> None:
        """A seal that has no entry left."""
        if self.seals and self.seals[-1][1] == seq - 1:
            self.seals[-1][1] = seq
        else:
            self.seals.append([seq, seq])


def removal_due(connection: "Connection[Any]", *, years: int, now: datetime) -> list[Due]:
    """The partitions that are past their time, oldest first; nothing is changed.

    Raises: TooFewYears.
    SQL: 1.
    """
    if years < LEAST_YEARS:
        raise TooFewYears(least=LEAST_YEARS)
    before = years_before(now, years)
    limit = f"{int(before.timestamp() * 1000):012x}"
    found = connection.execute(_PARTITIONS).fetchall()
    return [Due(part, id_to, before) for part, id_to in found if id_to.replace("-", "")[:12] <= limit]


def removal_check(connection: "Connection[Any]", due: Due, progress: Progress = lambda _done: None) -> int:
    """How many entries a partition has, all of which are as they were sealed.

    Raises: NotAsSealed.
    SQL: 6, 1 per 5,000 seals, and 1 for each seal that holds other entries too.
    """
    with connection.transaction():
        return _account(connection, due, progress).entries


def removal_run(
    owner: BaseDatabaseWrapper, due: Due, *, operator: str, progress: Progress = lambda _done: None
) -> Certificate:
    """The certificate of a partition that is gone, which an entry of the trail confirms.

    Readers and writers wait for the lock of the moment in which it goes, which in turn waits 100 ms at most and is
    tried again.

    Raises:
        AlreadyRemoved: it is gone since it was found to be due.
        NotAsSealed: it stays.
        LocksNotToBeHad: other transactions held the locks at every attempt; it stays.
    SQL: About 15, 1 per 5,000 seals, and 1 for each seal that holds other entries too.
    """
    owner.ensure_connection()
    with transaction.atomic(using=owner.alias):
        connection = owner.connection
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_ONE_AT_A_TIME])
        if all(part != due.part for part, _ in connection.execute(_PARTITIONS).fetchall()):
            raise AlreadyRemoved(part=due.part)
        # From here on nothing is added; whoever reads goes on.
        connection.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(sql.Identifier(due.part)))
        account = _account(connection, due, progress)
        certificate = _certificate(connection, due, account, operator)
        with_retries(lambda: _drop(owner, due.part))
        _confirm(owner, certificate)
    return certificate


def _account(connection: "Connection[Any]", due: Due, progress: Progress) -> _Account:
    places = Places.read(connection)
    removed, disproved = read_removed(connection, places)
    if disproved:
        raise NotAsSealed(part=due.part, reason=disproved[0][1])
    seals, account = _Seals(connection), _Account()
    limit = int(due.before.timestamp() * 1_000_000)

    def sealed_by(row: tuple[Any, ...]) -> Mark:
        seal = places.of(row[0], int(row[1]))
        if seal is None or seal.moment > limit:
            reason = f"entry {row[3]} is not sealed, or was sealed since {due.before.date()}"
            raise NotAsSealed(part=due.part, reason=reason)
        return seal

    for mark, rows in groupby(_rows(connection, due.part), sealed_by):
        seal = seals.get(mark.seq)
        own = [(row[2], _leaf(row)) for row in rows]
        account.entries += len(own)
        kept = [(key, leaf) for key, leaves in removed.organizations(seal.seq).items() for leaf in leaves]
        others: list[tuple[str, Leaf]] = []
        if len(own) + len(kept) < seal.entries:
            values = [seal.epoch, str(seal.xid_from), str(seal.xid_to), due.part]
            others = [(row[2], _leaf(row)) for row in connection.execute(_OF_SEAL, values).fetchall()]
        if _roots([*own, *kept, *others]) != dict(seal.roots):
            raise NotAsSealed(part=due.part, reason=f"entries are not as {mark.place} has them")
        if others:
            account.leaves[str(seal.seq)] = [[key, str(xid), i, digest.hex()] for key, (xid, i, digest) in own]
        else:
            account.whole(seal.seq)
        progress(account.entries)
    return account


class _Seals:
    """Seals by their numbers, of which some are read at once: they are asked for in the order of the chain."""

    def __init__(self, connection: "Connection[Any]") -> None:
        self._connection = connection
        self._read: dict[int, Seal] = {}

    def get(self, seq: int) -> Seal:
        """One that there is."""
        if seq not in self._read:
            self._read = {seal.seq: seal for seal in read_seals(self._connection, seq, seq + _AT_ONCE)}
        return self._read[seq]


def _rows(connection: "Connection[Any]", part: str) -> Iterator[tuple[Any, ...]]:
    name = sql.Identifier(part)
    statement = sql.SQL(_OF_PART + _ORDER).format(name, name, name)
    with connection.cursor(name="removal") as cursor:
        cursor.itersize = _AT_ONCE
        cursor.execute(statement)
        yield from cursor


def _leaf(row: tuple[Any, ...]) -> Leaf:
    return int(row[1]), row[3], hashlib.sha256(row[4].encode()).digest()


def _roots(leaves: list[tuple[str, Leaf]]) -> dict[str, tuple[int, str]]:
    """What a seal over these entries says of each organization."""
    by_organization: dict[str, list[Leaf]] = defaultdict(list)
    for organization, leaf in leaves:
        by_organization[organization].append(leaf)
    return {
        organization: (len(own), hashlib.sha256(b"".join(digest for _, _, digest in sorted(own))).hexdigest())
        for organization, own in by_organization.items()
    }


def _certificate(connection: "Connection[Any]", due: Due, account: _Account, operator: str) -> Certificate:
    before = read_certificates(connection)
    # Not before the one that it goes on from, whatever was done to the clock.
    last = before[-1][0].removed_at if before else None
    moment = connection.execute("SELECT greatest(clock_timestamp(), %s)", [last]).fetchone()
    return Certificate(
        seq=len(before) + 1,
        part=due.part,
        id_to=due.id_to,
        entries=account.entries,
        seals=account.seals,
        leaves=account.leaves,
        prev_hash=before[-1][1] if before else b"",
        removed_at=moment[0] if moment else datetime.now(UTC),
        operator=operator,
    )


def _drop(owner: BaseDatabaseWrapper, part: str) -> None:
    """By a savepoint, so that what was verified before need not be verified anew."""
    with transaction.atomic(using=owner.alias), owner.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
        name = owner.ops.quote_name(part)
        # CONCURRENTLY is not to be had: PostgreSQL refuses it where there is a default partition.
        cursor.execute(f"ALTER TABLE audit_entry DETACH PARTITION {name}")
        cursor.execute(f"DROP TABLE {name}")


def _confirm(owner: BaseDatabaseWrapper, certificate: Certificate) -> None:
    digest = certificate.own_hash()
    AuditRemoval.objects.using(owner.alias).create(
        seq=certificate.seq,
        part=certificate.part,
        id_to=certificate.id_to,
        entries=certificate.entries,
        seals=certificate.seals,
        leaves=certificate.leaves,
        prev_hash=certificate.prev_hash,
        hash=digest,
        removed_at=certificate.removed_at,
        operator=certificate.operator,
    )
    AuditEntry.objects.using(owner.alias).create(
        organization_id=uuid.UUID(NOBODY),
        action=REMOVAL,
        object_type=AuditRemoval._meta.db_table,
        object_count=certificate.entries,
        objects_digest=digest,
        fields=[certificate.part],
    )
