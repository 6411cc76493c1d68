"""No answer has more bytes of data than it may: it is given up before it is whole, whoever makes it."""

import asyncio
import dataclasses

import orjson
import pytest
from django.conf import settings
from psycopg import AsyncConnection

from backend.accounts.models import Organization
from backend.core.errors import AnswerTooLarge
from backend.core.tenancy import acting_for
from backend.db.pipeline import Parts, Pipelines, Room, TextQuery
from backend.db.reads import Reads, connection_url
from backend.db.writes import WriteThreads
from schema.http.messages import Message, Response
from tests import factories as make
from tests.api import Api
from tests.asgi import asking, bearer
from tests.pools import all_come_back
from tests.threads import in_thread

_MANY = 12  # runs, with as many findings each
_FIELDS = " ".join(f"{'a' * 190}{number}: rule" for number in range(40))
_NESTED = f"{{agentRuns(first: 100) {{nodes {{findings(first: 97) {{nodes {{{_FIELDS}}}}}}}}}}}"
_FLAT = "{agentRuns(first: 100) {nodes {id status}}}"


@pytest.fixture
async def runs(organization: Organization) -> None:
    def made() -> None:
        with acting_for(organization.id):
            agent = make.agent(organization)
            for number in range(_MANY):
                run = make.agent_run(agent)
                for place in range(_MANY):
                    make.finding(run, f"{number}-{place}")

    await in_thread(made)


def _limit(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(settings, "ENVIRONMENT", dataclasses.replace(settings.ENVIRONMENT, max_answer_bytes=size))


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("document", [_NESTED, _FLAT, f"{_FLAT[:-1]} __typename}}"])
async def test_an_answer_may_reach_the_limit_and_not_pass_it(
    reads: Reads, api: Api, monkeypatch: pytest.MonkeyPatch, document: str
) -> None:
    whole = await api(document)
    size = len(orjson.dumps(whole.data))
    assert whole.errors == []

    _limit(monkeypatch, size)
    assert (await api(document)).data == whole.data

    for limit in (size - 1, size // 2, 1):
        _limit(monkeypatch, limit)
        refused = await api(document)
        assert refused.data is None
        assert refused.codes == ["BAD_USER_INPUT"]
        assert f"more than {limit} bytes (DRIFTGRAPH_MAX_ANSWER_BYTES)" in refused.errors[0]["message"]

    _limit(monkeypatch, size)
    assert (await api(document)).data == whole.data
    assert await all_come_back(reads)


async def test_the_rest_of_a_result_that_is_too_large_is_not_read(database: str) -> None:
    rows = b"SELECT repeat('x', 1000000) FROM generate_series(1, 100)"
    room = Room(3_500_000)
    parts = Parts(1, room)
    connection = await AsyncConnection.connect(connection_url(), autocommit=True)

    with pytest.raises(AnswerTooLarge, match="more than 3500000 bytes"):
        await Pipelines(keep=0, after=0).run(connection, [TextQuery(rows, parts=parts)])

    assert len(parts.rows) == 3
    assert connection.closed


async def test_parts_are_of_their_own_statement_and_an_earlier_attempt_does_not_count(database: str) -> None:
    pipelines = Pipelines(keep=10, after=0)  # so that each is prepared first
    room = Room(1_000)
    one, other = Parts(2, room), Parts(1, room)
    trip = [
        TextQuery(b"SELECT 'a'"),
        TextQuery(b"SELECT n::text, NULL FROM generate_series(1, $1::int) n", ["5"], parts=one),
        TextQuery(b"SELECT 'b'"),
        TextQuery(b"SELECT 'c' WHERE false", parts=other),
    ]
    async with await AsyncConnection.connect(connection_url(), autocommit=True) as connection:
        for _ in range(2):
            results = await pipelines.run(connection, trip)
            found = [query.rows(result) for query, result in zip(trip, results, strict=True)]
            assert found == [[(b"a",)], [(b"%d" % n, None) for n in range(1, 6)], [(b"b",)], []]
            assert room.taken == 5


async def test_what_is_given_up_is_paid_in_full(
    reads: Reads, writes: WriteThreads, organization: Organization, runs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = await in_thread(lambda: bearer(organization))
    async with asking(reads, writes) as client:
        whole = await client.post("/graphql", json={"query": _NESTED}, headers=headers)
        _limit(monkeypatch, 10_000)
        refused = await client.post("/graphql", json={"query": _NESTED}, headers=headers)

    assert refused.status_code == 200
    assert refused.json()["data"] is None
    costs = [one.json()["extensions"]["cost"] for one in (whole, refused)]
    assert costs[0]["actual"] < costs[0]["requested"] == costs[1]["actual"] == costs[1]["requested"]


async def test_a_large_answer_goes_in_pieces_and_is_let_go_where_nobody_takes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settings, "ENVIRONMENT", dataclasses.replace(settings.ENVIRONMENT, send_seconds=0.01))
    taken: list[bytes] = []

    async def taking(message: Message) -> None:
        taken.append(message.get("body", b""))
        assert message["type"] == "http.response.start" or message["more_body"] == (len(b"".join(taken)) < len(body))

    async def stuck(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    body = bytes(range(256)) * 1_000
    await Response(200, body).send(taking)
    assert b"".join(taken) == body
    assert max(map(len, taken)) == 65_536

    await Response(200, body).send(stuck)  # returns


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("way", ["auto"], indirect=True)
async def test_what_may_stand_below_one_row_does_not_come_in_one_cell(api: Api) -> None:
    """Nobody can stop PostgreSQL in the middle of a cell."""
    document = """query($n: Int!) { agents(first: 1) { nodes {
        runs(first: 100) { nodes { findings(first: $n) { nodes { id rule } } } } } } }"""

    few, many = await api(document, n=99), await api(document, n=100)
    more = await api(document.replace("id rule", "id rule title"), n=100)

    assert [len(answer.statements) for answer in (few, many, more)] == [1, 1, 3]
    assert few.data == many.data
    assert len(more.data["agents"]["nodes"][0]["runs"]["nodes"]) == _MANY
