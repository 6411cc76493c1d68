"""HTTP as ASGI messages: headers in, one response out. Nothing about GraphQL."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from backend.core.errors import AppError, DeadlineExceeded

log = logging.getLogger("driftgraph.http")
Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


RETRY_AFTER = {"retry-after": "1"}
"""For what fails for a moment, as while PostgreSQL starts: seconds."""


_LEAST_PACE = 10_000  # bytes a second, of a body that takes long
_PIECE = 65_536  # bytes of a body that a server takes at once; how much of it waits is its own concern


class HttpError(Exception):
    """A request that is refused before it is understood as GraphQL."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers or {}

    @classmethod
    def of(cls, error: AppError, status: int) -> "HttpError":
        """An error of the product with a status; where it can be tried again, also with the time to wait."""
        return cls(status, error.code, error.message, RETRY_AFTER if error.retryable else {})


class BodyBrokeOff(HttpError):
    """The body ended before its time, or is not framed as HTTP/1.1 has it: servers tell both as a client that left.

    Who is still there can read it; without an answer Granian would make one of its own, with 500.
    """

    def __init__(self) -> None:
        super().__init__(400, "BAD_USER_INPUT", "The request body broke off, or its framing is damaged.")


class Headers:
    """Request headers by lower-case name, as ASGI has them; repeated ones as one, as RFC 9110 (5.3) has it."""

    __slots__ = ("_values", "media_type")

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self._values: dict[bytes, bytes] = {}
        for name, value in pairs:
            before = self._values.get(name)
            # HTTP/2 lets a client send its cookies apart (RFC 9113, 8.2.3).
            between = b"; " if name == b"cookie" else b", "
            self._values[name] = value if before is None else before + between + value
        self.media_type = self.get("content-type").partition(";")[0].strip().lower()
        """The content type without its parameters, lower case."""

    def get(self, name: str, default: str = "") -> str:
        """A header's value."""
        found = self._values.get(name.encode("latin-1"))
        return default if found is None else found.decode("latin-1")


@dataclass(slots=True)
class Response:
    """A whole answer."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    async def send(self, send: Send, *, head: bool = False) -> None:
        """Sends it, with its length; without its body where it answers HEAD."""
        headers = {"content-length": str(len(self.body)), "x-content-type-options": "nosniff", **self.headers}
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": pairs})
        if head or len(self.body) <= _PIECE:
            await send({"type": "http.response.body", "body": b"" if head else self.body})
        else:
            await _send_in_time(send, self.body, settings.ENVIRONMENT.send_seconds)


async def _send_in_time(send: Send, body: bytes, seconds: float) -> None:
    """Sends a large body in pieces: servers make who sends the next wait until few of them are left to be taken.

    It has so many seconds, and one more for each 10,000 bytes that were taken; then the rest is not sent, and servers
    end the connection.
    """
    end = asyncio.get_running_loop().time() + seconds
    for start in range(0, len(body), _PIECE):
        piece, more = body[start : start + _PIECE], start + _PIECE < len(body)
        try:
            async with asyncio.timeout_at(end):
                await send({"type": "http.response.body", "body": piece, "more_body": more})
        except TimeoutError:
            log.info("an answer was not taken in time (DRIFTGRAPH_SEND_SECONDS)")
            return
        end += len(piece) / _LEAST_PACE


def in_time(receive: Receive, seconds: float) -> Receive:
    """The same, for a body that has so many seconds, and one more for each 10,000 bytes that have come.

    It raises HttpError: 408 when they are over.
    """
    end = asyncio.get_running_loop().time() + seconds

    async def receive_in_time() -> Message:
        nonlocal end
        try:
            async with asyncio.timeout_at(end):
                message = await receive()
        except TimeoutError:
            late = f"The request body did not come within {seconds:g} seconds (DRIFTGRAPH_BODY_SECONDS)."
            raise HttpError(408, DeadlineExceeded.code, late) from None
        end += len(message.get("body", b"")) / _LEAST_PACE
        return message

    return receive_in_time


async def read_body(receive: Receive, headers: Headers, limit: int) -> bytes:
    """The whole body.

    Raises:
        HttpError: 413 as soon as it is known to be longer than `limit` bytes.
        BodyBrokeOff: 400.
    """
    too_large = HttpError(
        413, "BAD_USER_INPUT", f"The request body is larger than {limit} bytes (DRIFTGRAPH_MAX_BODY_BYTES)."
    )
    length = headers.get("content-length")
    if length.isdecimal() and int(length[:20]) > limit:
        raise too_large
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BodyBrokeOff
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise too_large
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)
