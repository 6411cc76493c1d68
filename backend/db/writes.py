"""The threads in which services run when the event loop calls them. Reads do not come here."""

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

from django.conf import settings
from django.db import Error, close_old_connections, connections
from psycopg.errors import LockNotAvailable

from backend.core.errors import LockedOut, Unavailable
from backend.core.tenancy import PATIENCE
from backend.db.failures import is_unavailable

log = logging.getLogger("driftgraph.writes")
P = ParamSpec("P")
T = TypeVar("T")


class WriteThreads:
    """A bounded pool of threads, each with its own Django connection.

    asgiref's sync_to_async runs everything on one thread per process: sixteen writes of 50 ms would take 0.8 s.
    """

    def __init__(self, size: int | None = None) -> None:
        self._size = size or settings.ENVIRONMENT.write_threads
        self._threads = ThreadPoolExecutor(self._size, thread_name_prefix="write")

    async def run(self, service: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the service returns, or raises.

        Raises:
            LockedOut: a lock was not to be had within DRIFTGRAPH_WRITE_LOCK_TIMEOUT_SECONDS; retryable.
            Unavailable: the connection was cut, or the database could not carry it out; retryable. Where it was cut
                during COMMIT nobody knows what became of it: a retry with its idempotency key finds out.
        """
        return await asyncio.wrap_future(self.submit(service, *args, **kwargs))

    def submit(self, service: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """The call, which goes on when nobody waits for it any more."""
        context = contextvars.copy_context()
        return self._threads.submit(context.run, self._guarded, partial(service, *args, **kwargs))

    @staticmethod
    def _guarded(call: Callable[[], T]) -> T:
        # A connection that PostgreSQL ended meanwhile is replaced instead of failing the first call after it.
        close_old_connections()
        PATIENCE.set(settings.ENVIRONMENT.write_lock_timeout_seconds)  # in the context of this call alone
        try:
            return call()
        except Error as error:
            if isinstance(error.__cause__, LockNotAvailable):
                raise LockedOut from error
            if is_unavailable(error.__cause__):
                log.warning("a write failed: %s", type(error.__cause__).__name__)
                raise Unavailable from error
            raise
        finally:
            close_old_connections()

    def close(self) -> None:
        """Waits for running services and closes every thread's connection."""
        together = threading.Barrier(self._size)  # holds each thread until all have one of these calls
        for _ in range(self._size):
            self._threads.submit(self._close_connection, together)
        self._threads.shutdown(wait=True)

    @staticmethod
    def _close_connection(together: threading.Barrier) -> None:
        together.wait(timeout=10)
        connections.close_all()


class RequestWrites:
    """The same threads for one request, which may end before what it started in them."""

    def __init__(self, threads: WriteThreads) -> None:
        self._threads = threads
        self._calls: list[Future[Any]] = []

    async def run(self, service: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the service returns, or raises."""
        call = self._threads.submit(service, *args, **kwargs)
        self._calls.append(call)
        return await asyncio.wrap_future(call)

    def when_ended(self, action: Callable[[], None]) -> None:
        """Does the action once no service of the request runs any more: at once, or in the thread of the last."""
        for call in self._calls:
            if not call.done():
                call.add_done_callback(lambda _: self.when_ended(action))
                return
        action()
