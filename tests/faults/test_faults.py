"""Whatever happens to PostgreSQL: what was acknowledged is there, once, and clients know what to do."""

import pytest

from benchmarks.faults.causes import FAULTS, Fault
from benchmarks.faults.clock import NoClock
from benchmarks.faults.disks import NoDisk
from benchmarks.faults.place import Place, Template
from benchmarks.faults.trial import Outcome, place_for, tried


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.standard], ids=lambda fault: fault.name)
def test_a_fault_of_the_server(fault: Fault, standard_place: Place) -> None:
    _assert_harmless(fault, tried(fault, standard_place))


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if not fault.standard], ids=lambda fault: fault.name)
def test_a_fault_of_what_it_stands_on(fault: Fault, made: Template) -> None:
    try:
        with place_for(fault, made) as there:
            outcome = tried(fault, there)
    except (NoClock, NoDisk) as reason:
        pytest.skip(str(reason))

    _assert_harmless(fault, outcome)


def _assert_harmless(fault: Fault, outcome: Outcome) -> None:
    assert outcome.broken(fault) == []
    assert outcome.acknowledged > 0
