"""Short waits for locks: a statement that would wait long gives up, lets the queue behind it go, and comes again."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import Error as DatabaseError
from django.db.utils import OperationalError
from psycopg.pq import TransactionStatus

LOCK_TIMEOUT_MS = 100  # what live statements may have to wait behind ours
LOCK_TIMEOUT_LIMIT_MS = 500  # more than this counts as no limit
ATTEMPTS = 60
# A request sends several statements: between two attempts it must have time to send the rest of them.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.15, 2.0
_GAVE_UP = frozenset({"55P03", "40P01"})  # lock_not_available, deadlock_detected

_log = logging.getLogger(__name__)
Result = TypeVar("Result")


class LocksNotToBeHad(OperationalError):
    """Other transactions held the locks at every attempt. Nothing is half done: end them, and run it again."""


def gave_up(error: BaseException) -> bool:
    """Whether a statement failed because a lock was not to be had: nothing is done, and it may be tried again."""
    return getattr(error.__cause__ or error, "sqlstate", None) in _GAVE_UP


def with_retries(
    work: Callable[[], Result], *, attempts: int = ATTEMPTS, on_wait: Callable[[int], None] | None = None
) -> Result:
    """What `work` gives, tried again with growing pauses while it does not get its locks.

    `on_wait` is told the number of the attempt that failed; without it the log is.

    Raises:
        LocksNotToBeHad: not in so many attempts (about two minutes with 60).
    """
    pause = _FIRST_PAUSE_SECONDS
    for attempt in range(1, attempts + 1):
        try:
            return work()
        except DatabaseError as error:
            if not gave_up(error):
                raise
            if attempt == attempts:
                raise LocksNotToBeHad(LocksNotToBeHad.__doc__) from error
        if on_wait is not None:
            on_wait(attempt)
        else:
            _log.info("no lock at attempt %d of %d", attempt, attempts)
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
    raise AssertionError("unreachable")


@contextmanager
def lock_timeout(connection: BaseDatabaseWrapper, milliseconds: int) -> Iterator[None]:
    """The session waits no longer than this for a lock (0: for ever) until the block ends, however it ends.

    SQL: 2.
    """
    before = _setting(connection)
    _set(connection, milliseconds)
    try:
        yield
    finally:
        if _answers(connection):
            _set(connection, before)


def _answers(connection: BaseDatabaseWrapper) -> bool:
    """Whether the session takes a statement: it is not lost, and in no transaction that has failed."""
    if connection.connection is None or connection.needs_rollback:
        return False
    return connection.connection.info.transaction_status in (TransactionStatus.IDLE, TransactionStatus.INTRANS)


def _setting(connection: BaseDatabaseWrapper) -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        return cursor.fetchone()[0]


def _set(connection: BaseDatabaseWrapper, value: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", [str(value)])
