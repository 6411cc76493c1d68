"""Operations that hold others."""

from collections.abc import Iterable, Iterator
from typing import Any


def in_the_database(operations: Iterable[Any]) -> Iterator[Any]:
    """The operations that do something to the database, with those inside of SeparateDatabaseAndState in its place."""
    return _with_inner(operations, "database_operations")


def in_the_state(operations: Iterable[Any]) -> Iterator[Any]:
    """The operations that the models learn of, with those inside of SeparateDatabaseAndState in its place."""
    return _with_inner(operations, "state_operations")


def _with_inner(operations: Iterable[Any], kept: str) -> Iterator[Any]:
    for operation in operations:
        inner = getattr(operation, kept, None)
        if inner is None:
            yield operation
        else:
            yield from _with_inner(inner, kept)
