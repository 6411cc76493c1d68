"""The small process that stops an embedded server after its last user was killed; run as a script, it imports
only the standard library, and it knows nothing of how a server is made.

An orderly user stops the server itself (embedded.py). A user that is killed, or whose terminal is closed,
cannot: this process sleeps in the kernel on users.lock until nobody holds it.
"""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PAUSE = 0.2  # seconds before another try to stop a server that is only just starting


@contextmanager
def _lock(path: Path, operation: int) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)


def _is_free(path: Path) -> bool:
    try:
        with _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB):
            return True
    except BlockingIOError:
        return False


def _stop_if_unused(folder: Path, guard: int, stop: Sequence[str], account: int | None, group: int | None) -> bool:
    """Returns True when no process of the server lives any more: then there is nothing left to guard."""
    with _lock(folder / "start.lock", fcntl.LOCK_EX):
        if not _is_free(folder / "users.lock"):
            return False
        groups: list[int] | None = None if account is None else []
        if not _is_free(folder / "server.lock"):
            quiet = subprocess.DEVNULL
            subprocess.run(  # noqa: S603 - the command line comes from embedded.py
                stop,
                check=False,
                stdin=quiet,
                stdout=quiet,
                stderr=quiet,
                user=account,
                group=group,
                extra_groups=groups,
            )
        if not _is_free(folder / "server.lock"):
            return False
        # Given up under start.lock: whoever starts the server next finds it free and starts a guard of its
        # own.
        os.close(guard)
        return True


def watch(folder: Path, guard: int, stop: Sequence[str], account: int | None, group: int | None) -> None:
    """Returns when the server under `folder` has no users and has been stopped, or when the folder is gone.

    `guard` is the descriptor of the held guard.lock, `stop` the command that stops the server, run as
    `account`.
    """
    try:
        while True:
            with _lock(folder / "users.lock", fcntl.LOCK_EX):
                pass
            if _stop_if_unused(folder, guard, stop, account, group):
                return
            time.sleep(PAUSE)
    except FileNotFoundError:
        return


def main(arguments: Sequence[str]) -> None:
    """Returns at once in the process that was called; its child goes on to watch."""
    folder, guard, account, group, *stop = arguments
    if os.fork() == 0:
        watch(Path(folder), int(guard), stop, int(account) if account else None, int(group) if group else None)


if __name__ == "__main__":
    main(sys.argv[1:])
