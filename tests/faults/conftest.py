"""Servers that may be killed: none of them is the one that other tests use."""

from collections.abc import Iterator

import pytest

from benchmarks.faults.place import Place, Template, place, template


@pytest.fixture(scope="session")
def made() -> Iterator[Template]:
    """A migrated database to copy."""
    with template() as found:
        yield found


@pytest.fixture(scope="session")
def standard_place(made: Template) -> Iterator[Place]:
    """Where every fault happens that needs nothing special: it must be as good as new after each of them."""
    with place(made) as found:
        yield found
