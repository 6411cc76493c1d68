"""What the server answers where a request is damaged on its way: over a socket, since clients would not send it."""

import asyncio
from collections.abc import Iterator

import httpx
import orjson
import pytest

from tests.serving import Serving, serving

HEAD = "POST /graphql HTTP/1.1\r\nhost: x\r\naccept: application/graphql-response+json\r\nconnection: close\r\n"
JSON = "content-type: application/json\r\n"
CHUNKED = "transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"
SHORT = 'content-length: 240\r\n\r\n{"query": "{ viewer { r'


@pytest.fixture(scope="module")
def served(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(database, tmp_path_factory.mktemp("damaged")) as found:
        yield found


async def _answer(url: httpx.URL, request: str) -> bytes:
    """All that the server sends back to a client that says no more, and listens."""
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(request.encode())
    writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 60)
    finally:
        writer.close()


@pytest.mark.parametrize("damage", [CHUNKED, SHORT], ids=["chunk", "length"])
async def test_a_damaged_body_is_the_clients_error(served: Serving, damage: str) -> None:
    head, _, body = (await _answer(httpx.URL(served.url), HEAD + JSON + damage)).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 400 ")
    assert orjson.loads(body)["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
