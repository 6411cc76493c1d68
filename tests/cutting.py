"""A way to a server that breaks off: before the request, within it, after it, or within the answer to it."""

import asyncio
import enum
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Cut(enum.Enum):
    """Where a connection breaks off."""

    BEFORE = enum.auto()
    WITHIN_REQUEST = enum.auto()
    AFTER_REQUEST = enum.auto()  # while the server is at work
    BEFORE_ANSWER = enum.auto()  # the server has answered, and nobody hears it
    WITHIN_ANSWER = enum.auto()
    NOWHERE = enum.auto()


class CuttingProxy:
    """Hands one request of each connection on, and its answer back, as far as the drawn cut lets it."""

    def __init__(self, port: int, seed: int) -> None:
        self._port, self._random = port, random.Random(seed)  # noqa: S311 - nothing secret is drawn
        self.made: Counter[Cut] = Counter()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """The address to use instead of the server's."""
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as listener:
            yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cut = self._random.choice(list(Cut))
        self.made[cut] += 1
        try:
            if cut is not Cut.BEFORE:
                await self._exchange(cut, reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _exchange(self, cut: Cut, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _whole(reader)
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            to_server.write(self._part(request) if cut is Cut.WITHIN_REQUEST else request)
            await to_server.drain()
            if cut is Cut.AFTER_REQUEST:
                await asyncio.sleep(self._random.uniform(0, 0.03))
            if cut in (Cut.WITHIN_REQUEST, Cut.AFTER_REQUEST):
                return
            answer = await _whole(from_server)
            if cut is not Cut.BEFORE_ANSWER:
                writer.write(self._part(answer) if cut is Cut.WITHIN_ANSWER else answer)
                await writer.drain()
        finally:
            to_server.close()
            with suppress(OSError):
                await to_server.wait_closed()

    def _part(self, message: bytes) -> bytes:
        return message[: self._random.randrange(1, len(message))]


async def _whole(reader: asyncio.StreamReader) -> bytes:
    """One message of HTTP, whose length its head tells."""
    head = await reader.readuntil(b"\r\n\r\n")
    [length] = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head + await reader.readexactly(int(length.partition(b":")[2]))
