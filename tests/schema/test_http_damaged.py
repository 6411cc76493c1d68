"""What the server answers to what clients do not send: damaged on its way, or larger than the server itself takes."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import httpx
import orjson
import pytest
from websockets.exceptions import ConnectionClosed

from tests.live import socket
from tests.serving import Serving, serving

HEAD = "POST /graphql HTTP/1.1\r\nhost: x\r\naccept: application/graphql-response+json\r\nconnection: close\r\n"
JSON = "content-type: application/json\r\n"
CHUNKED = "transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"
SHORT = 'content-length: 240\r\n\r\n{"query": "{ viewer { r'


@pytest.fixture(scope="module")
def served(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(database, tmp_path_factory.mktemp("damaged")) as found:
        yield found


async def _answer(url: httpx.URL, request: str, *, ends: bool = False) -> bytes:
    """All that the server sends back; where it `ends`, to a client that has closed its own half of the connection."""
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(request.encode())
    if ends:
        writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 60)
    finally:
        writer.close()


@pytest.mark.parametrize("damage", [CHUNKED, SHORT], ids=["chunk", "length"])
async def test_a_damaged_body_is_the_clients_error(served: Serving, damage: str) -> None:
    head, _, body = (await _answer(httpx.URL(served.url), HEAD + JSON + damage, ends=True)).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 400 ")
    assert orjson.loads(body)["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_an_address_that_is_too_long_for_the_server_has_no_code(served: Serving) -> None:
    """As docs/limits.md says: the application is not asked."""
    url, end = httpx.URL(served.url), " HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    target = "/graphql?query=" + "x" * (65_534 - len("/graphql?query="))

    longest, longer = await _answer(url, f"GET {target}{end}"), await _answer(url, f"GET {target}x{end}")

    assert b"DRIFTGRAPH_MAX_QUERY_CHARACTERS" in longest
    assert longer.startswith(b"HTTP/1.1 414 ")
    assert longer.endswith(b"\r\n\r\n")


async def test_a_message_that_is_too_long_for_the_server_ends_a_socket_without_a_code(served: Serving) -> None:
    """As docs/limits.md and docs/errors.md say; what the server takes is refused with a reason."""
    async with socket(served.url) as live:
        await live.connection.send("x" * 2**24)
        assert await live.end() == (1009, "The message is larger than 1000000 bytes (DRIFTGRAPH_MAX_BODY_BYTES).")

    async with socket(served.url) as live:
        with suppress(ConnectionClosed):
            await live.connection.send("x" * (2**24 + 1))
        assert await live.code() == 1005
