"""What a file is, before any row of it is read: size, hash, kind, encoding, delimiter, header; in one bounded pass."""

import codecs
import csv
import hashlib
import io
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from backend.core.errors import LimitExceeded
from backend.ingestion.errors import (
    BrokenEnvelope,
    EmptyFile,
    NotText,
    SpreadsheetOrArchive,
    Undecodable,
    UnreadableFile,
    UnsupportedTransaction,
)

CHUNK_BYTES = 1 << 20
SAMPLE_BYTES = 1 << 16
DELIMITERS = (",", ";", "\t", "|")

_SNIFFED_RECORDS = 20
_PACKED_MAGIC = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"\x1f\x8b", b"%PDF", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf")
_TEXT_CONTROLS = frozenset(b"\t\n\r\f\x1a\x1c\x1d\x1e\x1f")  # the separators of X12 are text as well
_CONTROLS = bytes(byte for byte in range(32) if byte not in _TEXT_CONTROLS)
_KEEP_CONTROLS = bytes(byte for byte in range(256) if byte not in _CONTROLS)


class FileKind(StrEnum):
    """What the content of a file is, whatever its name says."""

    CSV = "CSV"
    X12_835 = "X12_835"


@dataclass(frozen=True, slots=True)
class FileProfile:
    """What one pass over a file found; the header is as written (trimmed), empty for X12."""

    kind: FileKind
    size: int  # bytes
    sha256: bytes
    encoding: str  # a Python codec name
    delimiter: str
    header: tuple[str, ...]
    ends_with_newline: bool


def inspect_file(
    path: str | os.PathLike[str], *, max_bytes: int, progress: Callable[[int], None] | None = None
) -> FileProfile:
    """The profile of a file; reads it once, a megabyte at a time, and decodes all of it strictly.

    Args:
        path: A regular file.
        max_bytes: The setting DRIFTGRAPH_MAX_IMPORT_BYTES.
        progress: Called with the number of bytes read so far.

    Raises:
        LimitExceeded: The file has more than `max_bytes`.
        FileRefused: The file is empty, not text, not decodable, not readable or an X12 transaction other than 835.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        _check_size(size, max_bytes)
        sample = stream.read(SAMPLE_BYTES)
        if not sample.strip(b" \t\r\n\0\xef\xbb\xbf\xff\xfe"):
            raise NotText if b"\0" in sample else EmptyFile
        check = _TextCheck(sample)
        digest = hashlib.sha256()
        chunk, done = sample, 0
        while chunk:
            done += len(chunk)
            _check_size(done, max_bytes)
            digest.update(chunk)
            check.feed(chunk)
            if progress is not None:
                progress(done)
            chunk = stream.read(CHUNK_BYTES)
        check.finish()
    kind = _kind(check.opening)
    delimiter, header = ("", ()) if kind is not FileKind.CSV else _delimiter_and_header(check.opening)
    return FileProfile(
        kind, done, digest.digest(), check.encoding, delimiter, header, check.last_character in "\r\n\x1a"
    )


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """The file opened for reading bytes; the caller closes it.

    Raises:
        UnreadableFile: There is no such file, it may not be read, or it is a directory, pipe or device.
    """
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UnreadableFile(reason=_reason(error)) from None
    except ValueError:
        raise UnreadableFile(reason="its name is not valid") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnreadableFile(reason="it is not a regular file")
    return os.fdopen(descriptor, "rb")


def sanitised_filename(name: str) -> str:
    """A name to store: hash of the given one (16 hex digits) and its extension, since file names can name patients."""
    base = Path(name.replace("\\", "/")).name
    extension = Path(base).suffix.lower()
    if not re.fullmatch(r"\.[a-z0-9]{1,5}", extension):
        extension = ""
    return hashlib.sha256(base.encode("utf-8", "surrogatepass")).hexdigest()[:16] + extension


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "permission denied"
    return "the system refused to open it"


def _check_size(actual: int, limit: int) -> None:
    if actual > limit:
        raise LimitExceeded(
            what="The size of the file in bytes",
            actual=actual,
            limit=limit,
            setting="DRIFTGRAPH_MAX_IMPORT_BYTES",
            path=("file",),
        )


class _TextCheck:
    """Decodes a file chunk by chunk, strictly, and refuses what is not text.

    A file without a byte order mark is UTF-8 when all of it is. Only a file that was plain ASCII up to its first byte
    that is not UTF-8 may be CP1252 instead: valid UTF-8 letters before that point mean mixed encodings.
    """

    def __init__(self, sample: bytes) -> None:
        if sample.startswith(_PACKED_MAGIC):
            raise SpreadsheetOrArchive
        self.encoding = _encoding_by_mark(sample)
        self.last_character = ""
        self.opening = ""  # the first SAMPLE_BYTES, decoded
        self._wide = self.encoding.startswith("utf-16")
        self._ascii_so_far = True
        self._done = 0
        self._decoder = codecs.getincrementaldecoder(self.encoding)("strict")
        if not self._wide and len(sample.translate(None, _KEEP_CONTROLS)) * 100 > len(sample):
            raise NotText

    def feed(self, chunk: bytes) -> None:
        if not self._wide and b"\0" in chunk:
            raise NotText
        self._take(self._decode(chunk, final=False))
        self._done += len(chunk)

    def finish(self) -> None:
        self._take(self._decode(b"", final=True))
        if not self.last_character:
            raise EmptyFile

    def _take(self, text: str) -> None:
        if not text:
            return
        if self._wide and "\0" in text:
            raise NotText
        if not self.opening:
            self.opening = text
        self._ascii_so_far = self._ascii_so_far and text.isascii()
        self.last_character = text[-1]

    def _decode(self, chunk: bytes, *, final: bool) -> str:
        pending = self._decoder.getstate()[0]
        try:
            return self._decoder.decode(chunk, final)
        except UnicodeDecodeError as error:
            position = self._done - len(pending) + error.start + 1
            data = pending + chunk
            if self.encoding != "utf-8" or not self._ascii_so_far or not data[: error.start].isascii():
                raise Undecodable(position=position) from None
        self.encoding = "cp1252"
        self._decoder = codecs.getincrementaldecoder("cp1252")("strict")
        return self._decode(data, final=final)


def _encoding_by_mark(sample: bytes) -> str:
    """The codec that a byte order mark names, or that the places of zero bytes betray; else UTF-8 until disproved."""
    if sample.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    even, odd = sample[0:2000:2], sample[1:2000:2]
    if len(odd) > 1 and odd.count(0) * 10 > len(odd) * 8 and not even.count(0):
        return "utf-16-le"
    if len(even) > 1 and even.count(0) * 10 > len(even) * 8 and not odd.count(0):
        return "utf-16-be"
    return "utf-8"


def _kind(opening: str) -> FileKind:
    text = opening.lstrip("\ufeff \t\r\n")
    if not re.match(r'ISA[^A-Za-z0-9_ ,;\t\r\n"-]', text):
        return FileKind.CSV
    transaction = re.search("[^A-Za-z0-9]ST" + re.escape(text[3]) + "([0-9]{3})", text)
    if transaction is None:
        raise BrokenEnvelope(segment=1, problem="no transaction (ST) follows")
    if transaction[1] != "835":
        raise UnsupportedTransaction(transaction=transaction[1])
    return FileKind.X12_835


def _delimiter_and_header(opening: str) -> tuple[str, tuple[str, ...]]:
    """The delimiter that splits the header into most cells (ties: splits most rows alike), and the header."""
    # StringIO ends lines where the reader does; str.splitlines would also split at control characters.
    lines = list(io.StringIO(opening.lstrip("\ufeff"), newline=""))
    best: tuple[int, int, str, tuple[str, ...]] | None = None
    for delimiter in DELIMITERS:
        records = _first_records(lines, delimiter)
        if not records:
            continue
        header = tuple(cell.strip() for cell in records[0])
        alike = sum(len(record) == len(header) for record in records)
        if best is None or (len(header), alike) > best[:2]:
            best = (len(header), alike, delimiter, header)
    if best is None:
        raise EmptyFile
    return best[2], best[3]


def _first_records(lines: list[str], delimiter: str) -> list[list[str]]:
    records: list[list[str]] = []
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while len(records) < _SNIFFED_RECORDS:
        try:
            record = next(reader)
        except StopIteration:
            break
        except csv.Error:  # broken quotes are a matter of their row, or the sample ends within a quoted cell
            continue
        if any(cell.strip() for cell in record):
            records.append(record)
    return records
