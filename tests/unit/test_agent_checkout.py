"""Lines of a checkout: what a scanner names and does not quote; nothing outside of it is read."""

import os
from pathlib import Path

import pytest
from sarif_documents import a_log, a_result, a_run, as_bytes

from backend.agents import checkout
from backend.agents.checkout import Checkout
from backend.agents.fingerprint import fingerprint_of
from backend.agents.sarif import read_sarif


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    (folder / "app").mkdir(parents=True)
    (folder / "app" / "models.py").write_bytes(b"import os\r\n  x = 1\f\nlast \xff")
    (tmp_path / "secret.txt").write_text("outside")
    return folder


def test_a_line_is_found_by_its_number(root: Path) -> None:
    sources = Checkout(root)

    assert [sources.line("app/models.py", number) for number in (1, 2, 3)] == ["import os", "  x = 1\f", "last \ufffd"]
    assert [sources.line("app/models.py", number) for number in (0, -1, 4)] == [None] * 3


def test_nothing_outside_the_checkout_is_read(root: Path) -> None:
    (root / "link.txt").symlink_to(root.parent / "secret.txt")
    (root / "folder").symlink_to(root.parent)
    (root / "inside.py").symlink_to(root / "app" / "models.py")
    sources = Checkout(root)

    outside = (
        "../secret.txt",
        "app/../../secret.txt",
        str(root.parent / "secret.txt"),
        "link.txt",
        "folder/secret.txt",
    )
    assert [sources.line(path, 1) for path in outside] == [None] * 5
    assert sources.line("inside.py", 1) == "import os"


def test_what_is_no_small_regular_file_has_no_lines(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(root / "pipe")
    (root / "large.py").write_bytes(b"x\n" * 10)
    monkeypatch.setattr(checkout, "MAX_FILE_BYTES", 19)
    sources = Checkout(root)

    assert [sources.line(path, 1) for path in ("pipe", "large.py", "app", "none.py", "a\0b", "n" * 5_000)] == [None] * 6


def test_a_finding_without_a_quotation_is_told_by_its_line_in_the_checkout(root: Path) -> None:
    address = (root / "app" / "models.py").as_uri()
    results = [a_result(path=address, line=2), a_result(path=address, line=2, snippet="quoted"), a_result(line=99)]
    logical = a_result(locations=[{"logicalLocations": [{"fullyQualifiedName": "table.claim"}]}])
    document = as_bytes(a_log(a_run(*results, logical)))

    [run] = read_sarif(document, root=str(root), source_line=Checkout(root).line)

    assert [found.fingerprint for found in run.findings] == [
        fingerprint_of("scan", "R1", "app/models.py", "x = 1", 0),
        fingerprint_of("scan", "R1", "app/models.py", "quoted", 0),
        fingerprint_of("scan", "R1", "app/models.py", "", 0),
        fingerprint_of("scan", "R1", "", "table.claim", 0),
    ]
    assert [found.snippet_sha is None for found in run.findings] == [True, False, True, True]
