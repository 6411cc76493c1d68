"""Folders and options that tests of the embedded server share."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.db.embedded import EmbeddedServer

FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A stopped cluster to copy, which takes a third of the time of making one."""
    folder = Path(tempfile.mkdtemp(prefix="embedded-"))
    folder.chmod(0o711)
    EmbeddedServer(folder / "data", options=FAST).acquire().release()
    yield folder / "data"
    shutil.rmtree(folder)


@pytest.fixture
def folder() -> Iterator[Path]:
    # pytest's own temporary folder is closed to the account that a root process runs the server as.
    folder = Path(tempfile.mkdtemp(prefix="embedded-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)
