"""Multipart requests: the GraphQL part in memory, files streamed to disk under a limit, removed after the request."""

import fcntl
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message as Headers
from pathlib import Path
from typing import IO, Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, MultipartState, parse_options_header

from schema.http.messages import BodyBrokeOff, HttpError, Receive
from schema.http.messages import Headers as RequestHeaders

_MAX_PARTS = 20
_MAX_HEADERS = 8_192  # bytes, of the headers of one part
_MAX_AROUND = _MAX_PARTS * _MAX_HEADERS  # bytes that belong to no part's content
_PREFIX = "upload-"


@dataclass(slots=True)
class UploadedFile:
    """A file of a request, on disk until the request and what it started end; it is locked for as long."""

    name: str
    path: Path
    size: int = 0
    handle: IO[bytes] | None = None


@dataclass(slots=True)
class Form:
    """The parts of a multipart request."""

    fields: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, UploadedFile] = field(default_factory=dict)

    def remove_files(self) -> None:
        """Deletes what is on disk."""
        for file in self.files.values():
            with suppress(FileNotFoundError):
                file.path.unlink()
            if file.handle is not None:
                file.handle.close()


def remove_leftovers(folder: Path) -> int:
    """How many files of processes that were killed were deleted; those of running ones are locked and stay."""
    removed = 0
    for path in folder.glob(f"{_PREFIX}*"):
        with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            removed += 1
    return removed


class _Collector:
    """Takes the parser's callbacks and files each part away."""

    def __init__(self, folder: Path, *, max_field: int, max_file: int) -> None:
        self.form = Form()
        self._folder, self._max_field, self._max_file = folder, max_field, max_file
        self._header_name, self._header_value = b"", b""
        self._name, self._parts = "", 0
        self._in_files = 0  # bytes, of all files together
        self._in_fields, self._in_headers = 0, 0
        self._file: UploadedFile | None = None
        self._headers = Headers()

    def refuse_padding(self, received: int) -> None:
        """Raises HttpError where too many of the bytes received are no part's content."""
        if received - self._in_files - self._in_fields > _MAX_AROUND:
            what = f"The request has more than {_MAX_AROUND} bytes before, between and after its parts."
            raise HttpError(413, "BAD_USER_INPUT", what)

    def callbacks(self) -> dict[str, Callable[..., Any]]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._on_header_name(data[start:end]),
            "on_header_value": lambda data, start, end: self._on_header_value(data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": lambda data, start, end: self._data(data[start:end]),
            "on_part_end": self._end,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise HttpError(413, "BAD_USER_INPUT", f"The request has more than {_MAX_PARTS} parts.")
        self._headers, self._in_headers = Headers(), 0
        self._header_name = self._header_value = b""

    def _on_header_name(self, part: bytes) -> None:
        self._count_header(part)
        self._header_name += part

    def _on_header_value(self, part: bytes) -> None:
        self._count_header(part)
        self._header_value += part

    def _count_header(self, part: bytes) -> None:
        self._in_headers += len(part)
        if self._in_headers > _MAX_HEADERS:
            raise HttpError(413, "BAD_USER_INPUT", f"The headers of a part have more than {_MAX_HEADERS} bytes.")

    def _header_end(self) -> None:
        self._headers[self._header_name.decode("latin-1")] = self._header_value.decode("latin-1")
        self._header_name = self._header_value = b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", ""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if not self._name:
            raise HttpError(400, "BAD_USER_INPUT", "A part of the request has no name.")
        if self._name in self.form.files or self._name in self.form.fields:
            raise HttpError(400, "BAD_USER_INPUT", "Two parts of the request have the same name.")
        if b"filename" in options:
            handle = tempfile.NamedTemporaryFile(dir=self._folder, prefix=_PREFIX, delete=False)  # noqa: SIM115 - kept open
            name = options[b"filename"].decode("utf-8", "replace")
            self._file = self.form.files[self._name] = UploadedFile(name, Path(handle.name), handle=handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
        else:
            self.form.fields[self._name] = b""

    def _data(self, part: bytes) -> None:
        if self._file is None or self._file.handle is None:
            self._in_fields += len(part)
            self.form.fields[self._name] += part
            if len(self.form.fields[self._name]) > self._max_field:
                raise HttpError(413, "BAD_USER_INPUT", f"The part {self._name} is larger than {self._max_field} bytes.")
            return
        self._file.size += len(part)
        self._in_files += len(part)
        if self._in_files > self._max_file:
            raise _too_large(self._max_file)
        self._file.handle.write(part)

    def _end(self) -> None:
        if self._file is not None and self._file.handle is not None:
            self._file.handle.flush()
        self._file = None


def _too_large(limit: int) -> HttpError:
    what = f"The files of a request may have {limit} bytes in all (DRIFTGRAPH_MAX_IMPORT_BYTES)."
    return HttpError(413, "BAD_USER_INPUT", what)


async def read_form(receive: Receive, headers: RequestHeaders, folder: Path, *, max_field: int, max_file: int) -> Form:
    """The parts of a multipart body; files lie in `folder`.

    Raises:
        HttpError: 400 not multipart, 413 over a limit, before anything is read where the length is told. Nothing is
            left on disk then.
        BodyBrokeOff: 400; nothing is left either.
    """
    length = headers.get("content-length")
    if length.isdecimal() and int(length[:20]) > max_file + max_field:
        raise _too_large(max_file)
    _, options = parse_options_header(headers.get("content-type"))
    boundary = options.get(b"boundary")
    if not boundary:
        raise HttpError(400, "BAD_USER_INPUT", "The multipart request names no boundary.")
    collector = _Collector(folder, max_field=max_field, max_file=max_file)
    try:
        # The collector limits headers: what goes beyond the parser's own limits would be told as damaged.
        limits = dict.fromkeys(("max_header_count", "max_header_size"), sys.maxsize)
        parser = MultipartParser(boundary, collector.callbacks(), **limits)  # type: ignore[arg-type]  # a TypedDict
        received, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise BodyBrokeOff
            body = message.get("body", b"")
            received += len(body)
            parser.write(body)
            collector.refuse_padding(received)
            more = message.get("more_body", False)
        if parser.state is not MultipartState.END:
            raise FormParserError("no last boundary")
    except FormParserError:
        collector.form.remove_files()
        raise HttpError(400, "BAD_USER_INPUT", "The multipart request is damaged or incomplete.") from None
    except BaseException:
        collector.form.remove_files()
        raise
    return collector.form
