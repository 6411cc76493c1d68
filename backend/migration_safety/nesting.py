"""Operations that hold others."""

from collections.abc import Iterable, Iterator
from typing import Any


def in_the_database(operations: Iterable[Any]) -> Iterator[Any]:
    """The operations that do something to the database, with those inside of SeparateDatabaseAndState in its place."""
    for operation in operations:
        inner = getattr(operation, "database_operations", None)
        if inner is None:
            yield operation
        else:
            yield from in_the_database(inner)


def in_the_state(operations: Iterable[Any]) -> Iterator[Any]:
    """The operations that the models learn of, with those inside of SeparateDatabaseAndState in its place."""
    for operation in operations:
        inner = getattr(operation, "state_operations", None)
        if inner is None:
            yield operation
        else:
            yield from in_the_state(inner)
