"""GraphQL over WebSocket against a real server: the protocol graphql-transport-ws, message by message."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from backend.accounts.models import Organization
from benchmarks.serving import GRANIAN, UVICORN
from schema.http.consistency import position_of
from schema.http.messages import Headers
from tests.asgi import bearer
from tests.live import Live, socket
from tests.serving import Serving, serving
from tests.threads import in_thread

QUERY = "{ viewer { role } }"
ADMIN = {"data": {"viewer": {"role": "ADMIN"}}}


@pytest.fixture(scope="module", params=[GRANIAN, UVICORN], ids=["granian", "uvicorn"])
def server(
    database: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Serving]:
    with serving(
        database,
        tmp_path_factory.mktemp("data"),
        server_words=request.param,
        DRIFTGRAPH_SOCKET_INIT_SECONDS="2",
        DRIFTGRAPH_MAX_SOCKET_OPERATIONS="2",
        DRIFTGRAPH_MAX_STREAMS_PER_PRINCIPAL="3",
        DRIFTGRAPH_MAX_BODY_BYTES="20000",
    ) as found:
        yield found


async def _signed_in(live: Live, organization: Organization) -> Live:
    return await live.init(**await in_thread(bearer, organization))


async def test_an_operation_is_answered_and_completed(server: Serving, organization: Organization) -> None:
    async with socket(server.url) as live:
        await _signed_in(live, organization)

        await live.subscribe("1", QUERY)

        answer = await live.take()
        assert live.connection.subprotocol == "graphql-transport-ws"
        assert (answer["type"], answer["id"], answer["payload"]["data"]) == ("next", "1", ADMIN["data"])
        assert answer["payload"]["extensions"]["cost"]["requested"] == 1
        assert await live.take() == {"id": "1", "type": "complete"}


async def test_a_mutation_answers_a_consistency_token(server: Serving, organization: Organization) -> None:
    document = 'mutation { payerMap(input: {rawName: "acme", payerCode: "acme"}) { userErrors { code } } }'
    async with socket(server.url) as live:
        await _signed_in(live, organization)

        await live.subscribe("1", document)

        payload = (await live.take())["payload"]
    token = payload["extensions"]["consistencyToken"]
    assert payload["data"] == {"payerMap": {"userErrors": []}}
    assert position_of(Headers([(b"driftgraph-consistency-token", token.encode())]))


async def test_credentials_may_stand_in_the_header_of_the_upgrade(server: Serving, organization: Organization) -> None:
    async with socket(server.url, additional_headers=await in_thread(bearer, organization)) as live:
        await live.init()

        await live.subscribe("1", QUERY)

        assert (await live.take())["payload"]["data"] == ADMIN["data"]


@pytest.mark.parametrize("protocol", ["graphql-ws", None])
async def test_another_sub_protocol_is_refused(server: Serving, protocol: str | None) -> None:
    async with socket(server.url, protocol=None) if protocol is None else _legacy(server) as live:
        assert live.connection.subprotocol is None
        assert await live.code() == 4406


def _legacy(server: Serving) -> Any:
    # A client of its own that does not insist on the sub-protocol being chosen.
    return socket(server.url, protocol="graphql-ws")


async def test_another_path_has_no_socket(server: Serving) -> None:
    with pytest.raises(InvalidStatus):
        async with socket(f"{server.url}/admin"):
            pass


MALFORMED = {
    "no JSON": "x",
    "no object": "[]",
    "no type": "{}",
    "unknown type": '{"type": "start"}',
    "payload is no object": '{"type": "ping", "payload": 1}',
    "no id": '{"type": "subscribe", "payload": {"query": "{ __typename }"}}',
    "empty id": '{"type": "subscribe", "id": "", "payload": {"query": "{ __typename }"}}',
    "no payload": '{"type": "subscribe", "id": "1"}',
    "query is no text": '{"type": "subscribe", "id": "1", "payload": {"query": 1}}',
    "variables are no object": '{"type": "subscribe", "id": "1", "payload": {"query": "{a}", "variables": 1}}',
    "complete without id": '{"type": "complete"}',
    "bytes": b"{}",
    "invalid UTF-16": '{"type": "ping", "payload": {"a": "\\ud800"}}',
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_message_ends_the_socket(server: Serving, organization: Organization, name: str) -> None:
    async with socket(server.url) as live:
        await _signed_in(live, organization)

        await live.connection.send(MALFORMED[name])

        code, reason = await live.end()
        assert code == 4400
        assert reason


async def test_a_message_that_is_too_large_ends_the_socket(server: Serving, organization: Organization) -> None:
    async with socket(server.url) as live:
        await _signed_in(live, organization)

        await live.connection.send(json.dumps({"type": "ping", "payload": {"a": "x" * 20_000}}))

        assert await live.end() == (1009, "The message is larger than 20000 bytes (DRIFTGRAPH_MAX_BODY_BYTES).")


async def test_who_does_not_begin_is_cut_off(server: Serving) -> None:
    async with socket(server.url) as live:
        assert await live.code() == 4408


async def test_nothing_is_executed_before_the_acknowledgement(server: Serving) -> None:
    async with socket(server.url) as live:
        await live.subscribe("1", QUERY)

        assert await live.end() == (4401, "Unauthorized")


async def test_two_beginnings_are_one_too_many(server: Serving, organization: Organization) -> None:
    async with socket(server.url) as live:
        await _signed_in(live, organization)

        await live.send("connection_init")

        assert await live.code() == 4429


@pytest.mark.parametrize("payload", [{}, {"authorization": "Bearer dg_" + "x" * 43}, {"authorization": "Basic eA=="}])
async def test_bad_credentials_are_forbidden(server: Serving, payload: dict[str, str]) -> None:
    async with socket(server.url) as live:
        await live.send("connection_init", payload=payload)

        code, reason = await live.end()
        assert code == 4403
        assert "dg_xx" not in reason


async def test_credentials_of_the_beginning_stand_instead_of_those_of_the_upgrade(
    server: Serving, organization: Organization
) -> None:
    async with socket(server.url, additional_headers={"authorization": "Bearer dg_" + "x" * 43}) as live:
        await live.init(**await in_thread(bearer, organization))
        await live.subscribe("1", QUERY)

        assert (await live.take())["type"] == "next"


async def test_a_second_operation_of_the_same_id_ends_the_socket(server: Serving, organization: Organization) -> None:
    async with socket(server.url) as live:
        await _signed_in(live, organization)

        await asyncio.gather(*(live.subscribe("same", QUERY) for _ in range(2)))

        assert await live.end() == (4409, "Subscriber for same already exists")


async def test_an_id_may_be_used_again_after_its_operation(server: Serving, organization: Organization) -> None:
    async with socket(server.url) as live:
        await _signed_in(live, organization)

        for _ in range(3):
            await live.subscribe("same", QUERY)
            assert [(await live.take())["type"], (await live.take())["type"]] == ["next", "complete"]


async def test_a_ping_is_answered_even_before_the_beginning(server: Serving) -> None:
    async with socket(server.url) as live:
        await live.send("ping", payload={"a": 1})
        assert await live.take() == {"type": "pong", "payload": {"a": 1}}

        await live.send("pong")
        await live.send("ping")
        assert await live.take() == {"type": "pong"}


FAULTY = {
    "": "GRAPHQL_PARSE_FAILED",
    "{": "GRAPHQL_PARSE_FAILED",
    "{ nothing }": "GRAPHQL_VALIDATION_FAILED",
    "query($a: Int!) { agents(first: $a) { totalCount } }": "BAD_USER_INPUT",
    "{ " + " ".join(f"a{number}: __typename" for number in range(60)) + " }": "BAD_USER_INPUT",
    'subscription { agentRunProgress(id: "x") { phase } }': "BAD_USER_INPUT",
    "subscription { a: __typename }": "GRAPHQL_VALIDATION_FAILED",
}


async def test_an_error_of_one_operation_ends_no_other(server: Serving, organization: Organization) -> None:
    async with socket(server.url) as live:
        await _signed_in(live, organization)
        codes = {}

        for query in FAULTY:
            await live.subscribe("faulty", query)
            answer = await live.take()
            assert (answer["type"], answer["id"]) == ("error", "faulty")
            codes[query] = answer["payload"][0]["extensions"]["code"]

        assert codes == FAULTY
        await live.subscribe("good", QUERY)
        assert (await live.take())["payload"]["data"] == ADMIN["data"]


async def test_an_error_of_a_field_is_part_of_the_answer(server: Serving, organization: Organization) -> None:
    async with socket(server.url) as live:
        await _signed_in(live, organization)

        await live.subscribe("1", '{ node(id: "x") { id } }')

        answer = await live.take()
        assert (answer["type"], answer["payload"]["data"]) == ("next", {"node": None})
        assert answer["payload"]["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
        assert await live.take() == {"id": "1", "type": "complete"}


async def test_mutations_are_done_over_the_socket(server: Serving, organization: Organization) -> None:
    document = (
        "mutation($i: AgentRunStartInput!) { agentRunStart(input: $i) { agentRun { status } userErrors { code } } }"
    )
    async with socket(server.url) as live:
        await _signed_in(live, organization)

        await live.subscribe("1", document, i={"kind": "EXTERNAL", "agent": "socket"})

        assert (await live.take())["payload"]["data"] == {
            "agentRunStart": {"agentRun": {"status": "RUNNING"}, "userErrors": []}
        }


async def test_a_principal_has_so_many_sockets_and_no_more(server: Serving, organization: Organization) -> None:
    credentials = await in_thread(bearer, organization)
    async with socket(server.url) as one, socket(server.url) as two, socket(server.url) as three:
        for live in (one, two, three):
            await live.init(**credentials)

        async with socket(server.url) as fourth:
            await fourth.send("connection_init", payload=credentials)
            code, reason = await fourth.end()

    assert code == 1013
    assert "DRIFTGRAPH_MAX_STREAMS_PER_PRINCIPAL" in reason


async def test_a_socket_that_ended_makes_room(server: Serving, organization: Organization, tmp_path: Path) -> None:
    credentials = await in_thread(bearer, organization)

    for _ in range(8):
        async with socket(server.url) as live:
            await live.init(**credentials)
