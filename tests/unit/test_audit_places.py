"""Places in the chain of seals: found by cluster and transaction, in memory for as many as years make."""

import tracemalloc

from backend.audit.places import Mark, Places

SEALS = 100_000


def _chain(*epochs: int) -> Places:
    """A seal for each, of ten transactions."""
    places, ends = Places(), dict.fromkeys(epochs, 0)
    for number, epoch in enumerate(epochs, start=1):
        places.add(Mark(number, number * 1_000_000), epoch, ends[epoch], ends[epoch] + 10)
        ends[epoch] += 10
    return places


def test_a_transaction_is_under_the_seal_of_its_cluster() -> None:
    places = _chain(1, 1, 2, 1)

    found = [
        places.of(epoch, xid) for epoch, xid in ((1, 0), (1, 9), (1, 10), (1, 25), (2, 9), (1, 30), (2, 10), (3, 0))
    ]

    assert [mark.seq if mark else None for mark in found] == [1, 1, 2, 4, 3, None, None, None]
    assert [places.is_beyond(1, xid) for xid in (29, 30)] == [False, True]
    assert places.is_beyond(3, 0)
    assert list(places.moments(2, 3)) == [2_000_000, 3_000_000]


def test_what_was_surely_there_before_a_transaction_leaves_out_what_may_have_come_at_the_same_time() -> None:
    places = _chain(1, 1, 1, 2, 3, 3, 3)

    def before(epoch: int, xid: int) -> int | None:
        found = places.surely_before(epoch, xid)
        return found.seq if found else None

    assert [before(1, xid) for xid in (0, 10, 20, 30)] == [None, None, 1, 2]
    # The last of 1 and that of 2 may be of what those clusters left, and made in the next.
    assert [before(2, 0), before(3, 0), before(3, 10), before(3, 20), before(3, 30)] == [2, 2, 2, 5, 6]
    assert before(4, 0) == 6


def test_a_seal_takes_little_memory() -> None:
    tracemalloc.start()
    places = _chain(*[7] * SEALS)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert places.last == Mark(SEALS, SEALS * 1_000_000)
    assert kept < 64 * SEALS
