"""Small disks in memory that can be full and grow."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_SIZE_MB = 160
_BYTES_OF_MB = 1 << 20
_MOUNT, _UMOUNT = (shutil.which(name) or "" for name in ("mount", "umount"))


class NoDisk(Exception):
    """This machine does not let this user mount a disk in memory."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A folder with a size of its own."""

    folder: Path

    @classmethod
    @contextmanager
    def mounted(cls, folder: Path) -> Iterator[Self]:
        """The disk until the block ends.

        Raises:
            NoDisk: mounting needs root, on Linux.
        """
        folder.mkdir()
        command = [_MOUNT, "-t", "tmpfs", "-o", f"size={_SIZE_MB}m,mode=711", "tmpfs", folder]
        if os.geteuid() != 0 or not _MOUNT or subprocess.run(command, check=False, capture_output=True).returncode:
            raise NoDisk(NoDisk.__doc__)
        try:
            yield cls(folder)
        finally:
            subprocess.run([_UMOUNT, "-l", folder], check=True)

    def fill(self) -> None:
        """Nothing fits any more."""
        block = os.statvfs(self.folder).f_bsize
        size, position = _SIZE_MB * _BYTES_OF_MB, 0
        with (self.folder / "filler").open("wb") as filler:
            while size >= block:  # ever smaller pieces: PostgreSQL takes and frees room meanwhile
                try:
                    os.posix_fallocate(filler.fileno(), position, size)
                    position += size
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2

    def free(self) -> None:
        """There is room again."""
        (self.folder / "filler").unlink()


def move_wal(cluster: Path, folder: Path) -> None:
    """A stopped server finds its write-ahead log in another folder."""
    there = cluster / "pg_wal"
    subprocess.run(["/bin/cp", "-a", there, folder], check=True)
    shutil.rmtree(there)
    there.symlink_to(folder)
