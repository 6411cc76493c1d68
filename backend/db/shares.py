"""Permits for the connections of a pool: no party has more than its share of them, and those that wait have turns."""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable


class Shares:
    """So many permits, of which one party has a share at most; for one event loop.

    Whoever waits either finds none left or has a party that has its share, so that who comes later overtakes nobody
    that could go on.
    """

    def __init__(self, size: int, *, share: int) -> None:
        self.share = share
        self._free = size
        self._held: dict[Hashable, int] = {}
        """Of each party that has any."""
        self._places: OrderedDict[Hashable, OrderedDict[asyncio.Future[None], None]] = OrderedDict()
        """Of each party that waits, in the order of the parties' turns; those of one party in that of their coming."""

    @property
    def waiting(self) -> int:
        """How many wait for a permit."""
        return sum(map(len, self._places.values()))

    @property
    def held(self) -> int:
        """How many permits are out."""
        return sum(self._held.values())

    def has_all(self, party: Hashable) -> bool:
        """Whether the party has its share."""
        return self._held.get(party, 0) >= self.share

    def take_at_once(self, party: Hashable) -> bool:
        """Whether there was a permit, which is the party's now and to be given back."""
        held = self._held.get(party, 0)
        if not self._free or held >= self.share:
            return False
        self._free -= 1
        self._held[party] = held + 1
        return True

    async def take_in_turn(self, party: Hashable, seconds: float) -> bool:
        """Whether a permit, to be given back, was to be had in so many seconds; who is cancelled has none."""
        place = asyncio.get_running_loop().create_future()
        self._places.setdefault(party, OrderedDict())[place] = None
        has_permit = False
        try:
            await asyncio.wait([place], timeout=seconds)
            has_permit = place.done()
        finally:
            if not place.done():
                self._leave(party, place)
            elif not has_permit:  # cancelled after the turn had come
                self.give_back(party)
        return has_permit

    def give_back(self, party: Hashable) -> None:
        """Nothing; a permit of the party is the next one's."""
        held = self._held[party] - 1
        if held:
            self._held[party] = held
        else:
            del self._held[party]
        self._free += 1
        if self._places:
            self._call_next()

    def _call_next(self) -> None:
        """Gives the permit that has come back to the first of the party whose turn it is, of those that may have it."""
        for party, places in self._places.items():
            if self.take_at_once(party):
                place, _ = places.popitem(last=False)
                place.set_result(None)
                self._places.move_to_end(party)
                if not places:
                    del self._places[party]
                return

    def _leave(self, party: Hashable, place: "asyncio.Future[None]") -> None:
        places = self._places[party]
        del places[place]
        if not places:
            del self._places[party]
