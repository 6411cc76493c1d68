"""The PostgreSQL server that comes with the package: one per data directory, started by its first user
process, stopped with the last; how a cluster is made and started is in embedded_cluster.py, which roles and
databases it has in bootstrap.py.

Three lock files count, and the kernel releases what a killed process held:

- start.lock, exclusive: whoever starts, joins, leaves or stops.
- users.lock, shared: every user process for as long as it uses the server; exclusive: nobody uses it.
- server.lock, exclusive: inherited by every process of the server; free: none of them lives, whatever a pid
  file says.

guard.lock is held by the process that stops the server when its last user was killed (embedded_guard.py).
"""

import atexit
import errno
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from backend.db import embedded_errors as errors
from backend.db import embedded_guard
from backend.db.embedded_cluster import START_SECONDS, Cluster, clean_environment

_NO_OPTIONS: Mapping[str, str] = MappingProxyType({})
_POLL_SECONDS = 0.05

# A forked child shares its parent's lock descriptors; were they to stay open there, a dead parent would count
# as alive.
_descriptors: set[int] = set()


def _close_in_child() -> None:
    while _descriptors:
        os.close(_descriptors.pop())


os.register_at_fork(after_in_child=_close_in_child)


def _open(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    _descriptors.add(descriptor)
    return descriptor


def _close(descriptor: int) -> None:
    _descriptors.discard(descriptor)
    os.close(descriptor)


def _try_exclusive(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class EmbeddedServer:
    """The embedded server of one data directory, as one process uses it.

    `options` are settings of the server (`{"fsync": "off"}`); they count when this process is the one that
    starts it.
    """

    def __init__(self, data_dir: Path, *, options: Mapping[str, str] = _NO_OPTIONS) -> None:
        self.data_dir = Path(data_dir).resolve()
        self.cluster = Cluster(self.data_dir / "pg", options)
        self._users: int | None = None
        self._pid = 0

    @property
    def socket_dir(self) -> Path:
        """The folder of the server's socket, private to the account of the server. Raises: SocketPathTooLong."""
        return self.cluster.socket_dir

    def url(self, role: str, database: str) -> str:
        """Returns `postgresql://role@/database?host=<socket folder>&port=5432`; it needs no password."""
        return self.cluster.url(role, database)

    def acquire(self) -> Self:
        """Returns self with the server taking connections, started if need be; this process counts as a user
        until `release`, its exit or its death.

        A second call in the same process only makes sure that the server still runs. A forked child is not a
        user: it calls `acquire` itself.

        Raises:
            EmbeddedServerError: one of its kinds in embedded_errors.py, each saying what to do.
        """
        with self._translating():
            if not self.data_dir.exists():
                # Enterable by the account that a root process runs the server as; the cluster itself is
                # private.
                self.data_dir.mkdir(parents=True, exist_ok=True)
                self.data_dir.chmod(0o711 if os.geteuid() == 0 else 0o700)
            with self._alone():
                newcomer = not self._is_user()
                if newcomer:
                    self._enter()
                try:
                    self._ensure_running()
                except BaseException:
                    if newcomer:
                        self._leave()
                    raise
        if newcomer:
            atexit.register(self.release)
        return self

    def release(self) -> None:
        """Stops counting this process as a user, and stops the server if it was the last; nothing happens
        twice.

        Raises:
            EmbeddedServerError: the server could not be stopped.
        """
        if not self._is_user():
            return
        atexit.unregister(self.release)
        with self._translating():
            try:
                with self._alone():
                    try:
                        if self._is_last_user() and not self._server_is_gone():
                            self.cluster.stop()
                    finally:
                        self._leave()
            except FileNotFoundError:
                # The data directory was deleted; its server notices that by itself.
                self._leave()

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _is_user(self) -> bool:
        return self._users is not None and self._pid == os.getpid()

    def _is_last_user(self) -> bool:
        # The shared lock becomes an exclusive one in a single step, so the guard cannot come between.
        return self._users is not None and self._is_user() and _try_exclusive(self._users)

    def _enter(self) -> None:
        descriptor = _open(self.data_dir / "users.lock")
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        self._users, self._pid = descriptor, os.getpid()

    def _leave(self) -> None:
        if self._users is not None and self._is_user():
            _close(self._users)
        self._users = None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        descriptor = os.open(self.data_dir / "start.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            # Unlocked in so many words: a child forked meanwhile by another thread has the descriptor too.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise errors.DiskFull(folder=self.data_dir) from error
            raise errors.FolderNotUsable(folder=self.data_dir, reason=str(error)) from error

    def _ensure_running(self) -> None:
        self.cluster.check()
        if not self.cluster.answers():
            lock = _open(self.data_dir / "server.lock")
            try:
                if self._wait_for_end(lock):
                    self._ensure_guard()
                    self.cluster.create(lock)
                    self.cluster.start(lock)
            finally:
                _close(lock)
        self._ensure_guard()

    def _wait_for_end(self, lock: int) -> bool:
        """Returns True when `lock` is ours, so no process of a server lives; False when a server answers
        after all.
        """
        until = time.monotonic() + START_SECONDS
        while not _try_exclusive(lock):
            if self.cluster.answers():
                return False
            if time.monotonic() > until:
                raise errors.ServerStuck(folder=self.data_dir, seconds=START_SECONDS, log=self.cluster.log)
            time.sleep(_POLL_SECONDS)
        return True

    def _server_is_gone(self) -> bool:
        lock = _open(self.data_dir / "server.lock")
        try:
            return _try_exclusive(lock)
        finally:
            _close(lock)

    def _ensure_guard(self) -> None:
        """Starts the guard unless one lives; without one a killed last user would leave the server running,
        no more.
        """
        guard = _open(self.data_dir / "guard.lock")
        try:
            if not _try_exclusive(guard):
                return
            account = self.cluster.account
            uid, gid = ("", "") if account is None else (str(account.uid), str(account.gid))
            script = [sys.executable, "-I", "-S", embedded_guard.__file__]
            with suppress(OSError):
                subprocess.run(  # noqa: S603 - our own script, no shell
                    [*script, str(self.data_dir), str(guard), uid, gid, *self.cluster.stop_command()],
                    check=False,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env=clean_environment(),
                    start_new_session=True,
                    pass_fds=(guard,),
                )
        finally:
            _close(guard)
