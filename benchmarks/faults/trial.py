"""One fault under traffic, and what came of it."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.faults.causes import Fault
from benchmarks.faults.place import Place, Template, place
from benchmarks.traffic import Target, Traffic

_WRITERS, _READERS = 3, 1
_ANSWERS = 3  # that each client hears before and afterwards


@dataclass(frozen=True, slots=True)
class Outcome:
    """What clients saw, and what is there afterwards."""

    fault: str
    failures: Counter[str]  # requests by kind and error
    acknowledged: int  # writes
    lost: int  # of them
    twice: int  # writes that were sent again and done again
    recovered: float  # seconds from the end of the cause until every client had written again

    def broken(self, fault: Fault) -> list[str]:
        """What must not have happened; nothing."""
        wrong = [f"{self.lost} acknowledged writes are lost"] if self.lost else []
        wrong += [f"{self.twice} writes were done twice"] if self.twice else []
        for kind, number in sorted(self.failures.items()):
            request, _, error = kind.partition(": ")
            if request in fault.unseen or not _says_what_to_do(error):
                wrong.append(f"{number} x {kind}")
        return wrong


def _says_what_to_do(error: str) -> bool:
    """Whether a client is told that it may try again; our server is up all the time."""
    return error.endswith("try again")


@contextmanager
def place_for(fault: Fault, made: Template) -> Iterator[Place]:
    """A place where the fault can happen.

    Raises:
        NoDisk, NoClock: not on this machine.
    """
    with place(made, proxied=fault.proxied, full=fault.full, clocked=fault.clocked) as found:
        yield found


def tried(fault: Fault, there: Place, *, answers: int = _ANSWERS) -> Outcome:
    """What the fault did to clients.

    Raises:
        NothingHeard: clients did not recover.
    """
    target = Target(there.served.url)
    with Traffic([target], there.token, clients=_WRITERS, readers=_READERS) as traffic:
        traffic.each_hears(answers)
        since = fault.cause(there, traffic)
        traffic.each_writes(1)
        recovered = time.monotonic() - since
        traffic.each_hears(answers)
    lost, twice = traffic.kept(there.url("postgres"))
    heard = traffic.heard
    return Outcome(fault.name, heard.failures, len(heard.acknowledged), lost, twice, recovered)
