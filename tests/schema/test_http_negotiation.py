"""What the headers of a request say of its body and of the answer: media types, charset, repeated lines."""

from collections.abc import AsyncIterator

import httpx
import orjson
import pytest

from backend.accounts.models import Organization
from backend.db.reads import Reads
from backend.db.writes import WriteThreads
from tests.asgi import asking, bearer
from tests.threads import in_thread

VIEWER = {"query": "{ viewer { role } }"}
GRAPHQL = "application/graphql-response+json"


@pytest.fixture
async def http(reads: Reads, writes: WriteThreads, way: str) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(reads, writes) as client:
        yield client


@pytest.fixture
async def token(organization: Organization) -> dict[str, str]:
    return await in_thread(bearer, organization)


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        (f"{GRAPHQL};q=0, application/json", "application/json"),
        (f"application/json, {GRAPHQL};q=0.5", "application/json"),
        (f"application/json;q=0.5, {GRAPHQL};q=0.5", GRAPHQL),
        ("application/json;q=0, */*", GRAPHQL),
        ("application/*;q=0.1, */*;q=0", "application/json"),
        ("text/csv, */*;q=0.1", "application/json"),
        (f"{GRAPHQL};q=0, application/json;q=0.2, text/event-stream;q=0.1", "application/json"),
        ("application/*;q=0, text/*", "text/event-stream"),
        (f"{GRAPHQL};q=0, application/json;q=0.0", None),
        ("*/*;q=0", None),
    ],
)
async def test_the_media_type_is_the_one_that_the_client_prefers(
    http: httpx.AsyncClient, accept: str, given: str | None
) -> None:
    answer = await http.post("/graphql", json={"query": "{ __typename }"}, headers={"accept": accept})

    shown = (answer.status_code, answer.headers["content-type"].partition(";")[0])
    assert shown == ((200, given) if given else (406, "application/json"))


async def test_headers_in_several_lines_are_one(http: httpx.AsyncClient, token: dict[str, str]) -> None:
    lines = [("accept", GRAPHQL), ("accept", "application/json;q=0"), ("accept", "text/csv")]

    answer = await http.post("/graphql", json=VIEWER, headers=[*token.items(), *lines])

    assert answer.headers["content-type"].startswith(GRAPHQL)


async def test_a_stream_that_does_not_begin_is_refused_in_json(http: httpx.AsyncClient, token: dict[str, str]) -> None:
    events = {"accept": "text/event-stream"}
    damaged = await http.post("/graphql", content="{", headers={**token, **events, "content-type": "application/json"})
    unknown = await http.post("/graphql", json=VIEWER, headers={**events, "authorization": "Bearer dg_no"})

    for answer, status, code in ((damaged, 400, "BAD_USER_INPUT"), (unknown, 401, "UNAUTHENTICATED")):
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json; charset=utf-8")
        assert answer.json()["errors"][0]["extensions"]["code"] == code


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"content-encoding": "gzip"}, "Content-Encoding"),
        ({"content-encoding": "identity, br"}, "Content-Encoding"),
        ({"content-type": "application/json; charset=utf-16"}, "UTF-8"),
    ],
)
async def test_a_body_that_is_coded_is_refused_by_name(
    http: httpx.AsyncClient, token: dict[str, str], headers: dict[str, str], told: str
) -> None:
    answer = await http.post(
        "/graphql", content=b"{}", headers={**token, "content-type": "application/json", **headers}
    )

    assert (answer.status_code, told in answer.json()["errors"][0]["message"]) == (415, True)
    assert answer.headers["accept" if "content-type" in headers else "accept-encoding"]


async def test_utf_8_may_say_so(http: httpx.AsyncClient, token: dict[str, str]) -> None:
    body = b"\xef\xbb\xbf" + orjson.dumps(VIEWER)
    headers = {**token, "content-type": 'application/json; charset="UTF-8"', "content-encoding": "identity"}

    answer = await http.post("/graphql", content=body, headers=headers)

    assert answer.json()["data"] == {"viewer": {"role": "ADMIN"}}
