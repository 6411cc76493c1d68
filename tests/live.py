"""Clients of live streams, over real sockets: graphql-transport-ws by `websockets`, and server-sent events by httpx."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

PROTOCOL = Subprotocol("graphql-transport-ws")
PATIENCE = 60.0
"""Seconds after which something that should happen has not; none of what is tested takes so long by itself."""
PROGRESS = """
subscription($id: ID!, $after: String) {
  agentRunProgress(id: $id, after: $after) { phase done total status cursor run { id status } }
}
"""


class Live:
    """One WebSocket."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, type_: str, **parts: Any) -> None:
        await self.connection.send(orjson.dumps({"type": type_, **parts}).decode())

    async def take(self) -> Any:
        """The next message."""
        async with asyncio.timeout(PATIENCE):
            return orjson.loads(await self.connection.recv())

    async def subscribe(self, key: str, query: str, **variables: Any) -> None:
        await self.send("subscribe", id=key, payload={"query": query, "variables": variables})

    async def init(self, **payload: Any) -> "Live":
        await self.send("connection_init", payload=payload)
        assert await self.take() == {"type": "connection_ack"}
        return self

    async def code(self) -> int:
        """The code with which the server closes."""
        return (await self.end())[0]

    async def end(self) -> tuple[int, str]:
        """Code and reason with which the server closes; what it still sends before is passed over."""
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionClosed):
                while True:
                    await self.connection.recv()
        return self.connection.close_code or 0, self.connection.close_reason or ""


@asynccontextmanager
async def socket(url: str, *, protocol: str | None = PROTOCOL, **options: Any) -> AsyncIterator[Live]:
    """A WebSocket that is open."""
    protocols = [Subprotocol(protocol)] if protocol else None
    address = url.replace("http://", "ws://") + "/graphql"
    async with connect(address, subprotocols=protocols, open_timeout=PATIENCE, **options) as connection:
        yield Live(connection)


class Events:
    """One event stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def take(self) -> dict[str, str]:
        """The next event by its fields, or the next comment as `{"": ...}`."""
        found: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE):
            async for line in self._lines:
                if not line:
                    return found
                name, _, value = line.partition(":")
                found[name] = value.removeprefix(" ")
        raise EOFError

    async def event(self) -> tuple[str, Any]:
        """Name and content of the next event, past comments."""
        while "event" not in (found := await self.take()):
            pass
        return found["event"], orjson.loads(found["data"]) if found["data"] else None


@asynccontextmanager
async def events(
    url: str, query: str, headers: dict[str, str], variables: dict[str, Any] | None = None
) -> AsyncIterator[Events]:
    """An event stream, asked for by POST."""
    headers = {"accept": "text/event-stream", **headers}
    async with (
        httpx.AsyncClient(timeout=PATIENCE) as client,
        client.stream("POST", f"{url}/graphql", json={"query": query, "variables": variables}, headers=headers) as got,
    ):
        yield Events(got)
