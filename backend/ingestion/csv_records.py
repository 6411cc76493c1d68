"""Records of a CSV file by line number, in bounded memory, with broken ones told apart; cells mean nothing here."""

import csv
import io
import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from backend.ingestion.errors import ChangedFile, DuplicateHeader, EmptyFile
from backend.ingestion.files import FileProfile, open_regular
from backend.ingestion.records import Issue
from backend.ingestion.rules import CUT_OFF, issue

LINE_CHARACTERS = 1 << 20
"""A longer line is read in pieces, so that a file without line ends cannot fill the memory."""

_NAME = re.compile(r"(?!.*[0-9]{4})[A-Za-z][A-Za-z0-9_]{0,49}").fullmatch


def canonical_header(name: str) -> str:
    """A header cell as a column name: lower case, blanks and hyphens as underscores."""
    return re.sub(r"[\s_-]+", "_", name.strip().casefold())


def printable_name(name: str, position: int) -> str:
    """A column's name if it is written like an identifier, else its position: a header cell may hold anything."""
    return canonical_header(name) if _NAME(name) else f"column {position}"


def check_duplicates(names: list[str], known: frozenset[str]) -> None:
    """Refuses a header that names a column twice; blank names are unnamed columns, not duplicates.

    Raises:
        DuplicateHeader: Holds the name of a known column, else a position.
    """
    seen: set[str] = set()
    for position, name in enumerate(names, start=1):
        if name and name in seen:
            raise DuplicateHeader(column=name if name in known else f"at position {position}")
        seen.add(name)


class CsvRecords:
    """Iterates the data records of a file as (line number, cells, issue); exactly one of cells and issue is given.

    The line number is that of the record's first line in the file; the header is line 1 unless blank lines precede it.
    A broken record that swallowed further lines is reported once for each of them, so that counts stay honest.
    """

    def __init__(self, path: str | os.PathLike[str], profile: FileProfile) -> None:
        self._path = Path(path)
        self._profile = profile
        self.bytes_read = 0
        self.rows_read = 0
        self.file_issues: list[Issue] = []

    def __iter__(self) -> Iterator[tuple[int, list[str] | None, Issue | None]]:
        with open_regular(self._path) as raw:
            if os.fstat(raw.fileno()).st_size != self._profile.size:
                raise ChangedFile
            text = io.TextIOWrapper(raw, encoding=self._profile.encoding, errors="strict", newline="")
            try:
                yield from self._records(text, raw)
            except UnicodeDecodeError:
                raise ChangedFile from None  # the whole file was decodable when it was inspected
            self.bytes_read = self._profile.size
        if not self.rows_read:
            raise EmptyFile

    def _records(self, text: io.TextIOWrapper, raw: BinaryIO) -> Iterator[tuple[int, list[str] | None, Issue | None]]:
        lines = iter(partial(text.readline, LINE_CHARACTERS), "")
        reader = csv.reader(lines, delimiter=self._profile.delimiter, strict=True)
        width = len(self._profile.header)
        broken: tuple[int, int, bool] | None = None  # first line, lines, shorter than the header
        header_seen = False
        while True:
            first = reader.line_num + 1
            cells: list[str] | None
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error:
                cells = None
            if cells is not None and (not cells or (len(cells) == 1 and not cells[0].strip())) and width > 1:
                continue
            if not header_seen:
                header_seen = cells is not None and any(map(str.strip, cells))
                continue
            if broken is not None:
                yield from self._broken(broken, last=False)
                broken = None
            if cells is None or len(cells) != width:
                broken = (first, reader.line_num + 1 - first, cells is None or len(cells) < width)
                continue
            self.rows_read += 1
            if not self.rows_read & 0x3FF:
                self.bytes_read = raw.tell()
            yield first, cells, None
        if broken is not None:
            yield from self._broken(broken, last=True)
        elif self.rows_read and not self._profile.ends_with_newline:
            self.file_issues.append(issue("I906", reader.line_num))

    def _broken(self, record: tuple[int, int, bool], *, last: bool) -> Iterator[tuple[int, None, Issue]]:
        first, lines, short = record
        final = first + max(lines, 1) - 1
        for line in range(first, final + 1):
            self.rows_read += 1
            truncated = last and short and line == final and not self._profile.ends_with_newline
            yield line, None, issue(CUT_OFF if truncated else "E901", line)


class CsvReader:
    """What a reader of one kind of file says about the file while its records are read."""

    def __init__(self, records: CsvRecords) -> None:
        self._records = records

    @property
    def rows_read(self) -> int:
        """Records so far, broken and skipped ones included."""
        return self._records.rows_read

    @property
    def bytes_read(self) -> int:
        """Bytes of the file so far, to within a thousand rows."""
        return self._records.bytes_read

    @property
    def file_issues(self) -> list[Issue]:
        """What was found about the file as a whole."""
        return self._records.file_issues
