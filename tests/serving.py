"""The server as a process of its own, on the database of the tests, and what memory a process takes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.serving import GRANIAN, served
from tests import server

PEAK_IS_KNOWN = pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is told by Linux alone")


@dataclass(frozen=True, slots=True)
class Serving:
    """Where it answers, where it puts files, and whose memory it takes."""

    url: str
    data_dir: Path
    process: int

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.data_dir)) for path in self.data_dir.rglob("*") if path.is_file())

    def peak_bytes(self) -> int:
        """The most memory that any of its processes has taken so far."""
        children = Path(f"/proc/{self.process}/task/{self.process}/children").read_text().split()
        return max(peak_bytes(Path(f"/proc/{one}/status").read_text()) for one in (self.process, *children))


def peak_bytes(status: str) -> int:
    """The most memory that a process has taken, out of its /proc/.../status."""
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


@contextmanager
def serving(
    database: str, data_dir: Path, *, server_words: tuple[str, ...] = GRANIAN, **variables: str
) -> Iterator[Serving]:
    addresses = {"DRIFTGRAPH_DATABASE_URL": server.url("app", database), "DRIFTGRAPH_DATA_DIR": str(data_dir)}
    with served({**addresses, **variables}, server=server_words) as found:
        yield Serving(found.url, data_dir, found.process)
