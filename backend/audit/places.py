"""Where transactions lie in the chain of seals, in little memory: there is a seal every ten seconds, for years."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from psycopg import Connection

_AT_ONCE = 5_000
_SEALS = """
SELECT seq, epoch, xid_from::text, xid_to::text, (extract(epoch FROM sealed_at) * 1000000)::bigint
FROM audit_seal ORDER BY seq
"""
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class Mark(NamedTuple):
    """A seal, as far as its place in the chain is concerned."""

    seq: int
    moment: int  # microseconds since 1970

    @property
    def place(self) -> str:
        """How people are told of it."""
        return f"seal {self.seq} of {_BEGINNING + timedelta(microseconds=self.moment)}"


@dataclass(slots=True)
class _Cluster:
    """The seals of one cluster's transactions, in the order of the chain."""

    before: int | None  # the seal, by its number in the chain, that was surely there when the cluster began
    starts: "array[int]" = field(default_factory=lambda: array("Q"))
    ends: "array[int]" = field(default_factory=lambda: array("Q"))
    numbers: "array[int]" = field(default_factory=lambda: array("Q"))


class Places:
    """Which seal holds the entries of a transaction; about 40 bytes for each seal."""

    def __init__(self) -> None:
        self._seqs, self._moments = array("q"), array("q")
        self._clusters: dict[int, _Cluster] = {}
        self._runs = array("Q")  # where another cluster's seals begin
        self.last_epoch: int | None = None

    @classmethod
    def read(cls, connection: "Connection[Any]") -> "Places":
        """Those of all stored seals.

        SQL: 1, in the transaction of the caller.
        """
        found = cls()
        with connection.cursor(name="places") as cursor:
            cursor.itersize = _AT_ONCE
            cursor.execute(_SEALS)
            for seq, epoch, xid_from, xid_to, moment in cursor:
                found.add(Mark(seq, moment), epoch, int(xid_from), int(xid_to))
        return found

    def add(self, mark: Mark, epoch: int, xid_from: int, xid_to: int) -> None:
        """One more seal, after all before it."""
        number = len(self._seqs)
        if epoch not in self._clusters:
            self._clusters[epoch] = _Cluster(self._before_next())
        if epoch != self.last_epoch:
            self._runs.append(number)
        self._seqs.append(mark.seq)
        self._moments.append(mark.moment)
        cluster, self.last_epoch = self._clusters[epoch], epoch
        cluster.starts.append(xid_from)
        cluster.ends.append(xid_to)
        cluster.numbers.append(number)

    @property
    def last(self) -> Mark | None:
        """The latest seal."""
        return self._mark(len(self._seqs) - 1) if self._seqs else None

    def of(self, epoch: int, xid: int) -> Mark | None:
        """The seal; None where there is none, or none yet."""
        cluster = self._clusters.get(epoch)
        if cluster is None:
            return None
        place = bisect_right(cluster.ends, xid)
        is_within = place < len(cluster.ends) and xid >= cluster.starts[place]
        return self._mark(cluster.numbers[place]) if is_within else None

    def end_of(self, epoch: int, xid: int) -> int:
        """Before which transaction the seal ends that holds this one."""
        ends = self._clusters[epoch].ends
        return ends[bisect_right(ends, xid)]

    def is_beyond(self, epoch: int, xid: int) -> bool:
        """Whether the transaction is later than every seal of its cluster."""
        cluster = self._clusters.get(epoch)
        return cluster is None or bisect_right(cluster.ends, xid) == len(cluster.ends)

    def surely_before(self, epoch: int, xid: int) -> Mark | None:
        """The latest seal that was there before a transaction got its number, as far as the chain tells.

        The number came after the last seal before its own looked for what could be sealed; that was after the one
        before that. In another cluster the database began with the seals of the one before.
        """
        cluster = self._clusters.get(epoch)
        place = bisect_right(cluster.ends, xid) if cluster is not None else 0
        if cluster is not None and place > 1:
            return self._mark(cluster.numbers[place - 2])
        number = cluster.before if cluster is not None else self._before_next()
        return None if number is None else self._mark(number)

    def moments(self, first: int, last: int) -> Iterable[int]:
        """When the seals of these numbers were made."""
        return self._moments[bisect_left(self._seqs, first) : bisect_right(self._seqs, last)]

    def _mark(self, number: int) -> Mark:
        return Mark(self._seqs[number], self._moments[number])

    def _before_next(self) -> int | None:
        """The last seal that was surely there when a cluster began whose first is the next.

        The last of each of the clusters before may have been made in it, of what they left.
        """
        number, run = len(self._seqs) - 1, len(self._runs) - 1
        while number > 0 and self._runs[run] == number:
            number, run = number - 1, run - 1
        return number - 1 if number > 0 else None
