"""What the organizations ask, and the right answers: said by the hand-written floor, which shares no code with us."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from benchmarks.peers.contest import FINDINGS, PAGE, RUNS
from benchmarks.peers.database import WRITTEN, Tenant
from benchmarks.peers.normalising import canonical
from benchmarks.peers.servers import SERVERS, Request, Running, Server, Setup
from benchmarks.soak.judging import Judge, identifiers

_ROW, _ROWS = "node(id: $id)", "found: nodes(ids: [$id])"
_VIEWER = "viewer { organization { name } }"


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """Every request by tenant and question, and who judges the answers."""

    questions: dict[tuple[int, str], Request]
    judge: Judge


def asked(floor: Running, ours: Running, server: Server, setup: Setup) -> Asked:
    """The questions of all tenants but the one that is written to.

    Raises:
        ServerFailed: one of the two servers did not answer.
    """
    questions, expected, rows = {}, {}, {}
    for number, tenant in setup.database.tenants.items():
        if number == WRITTEN:
            continue
        known: set[str] = set()
        for question, request, body in _asked_by(tenant, floor, ours, server):
            questions[number, question] = request
            expected[number, question] = _expected(question, number, body)
            known |= identifiers(body)
        rows[number] = frozenset(known)
    return Asked(questions, Judge(expected, rows))


def _asked_by(tenant: Tenant, floor: Running, ours: Running, server: Server) -> Iterator[tuple[str, Request, bytes]]:
    """Each question of a tenant with its request and the floor's answer."""
    key = {"id": server.global_id("DriftEvent", tenant.event)}
    theirs = SERVERS["floor"]
    first, runs = {"first": PAGE}, {"first": RUNS, "findings": FINDINGS}
    their_first = floor.ask(theirs.request("q1", first, tenant))
    their_row = floor.ask(theirs.request("q3", {"id": str(tenant.event)}, tenant))
    yield "first page", server.request("q1", first, tenant), their_first
    yield "runs with findings", server.request("q2", runs, tenant), floor.ask(theirs.request("q2", runs, tenant))
    yield "row", server.request("q3", key, tenant), their_row
    yield (
        "six roots",
        server.request("q5", key, tenant),
        floor.ask(theirs.request("q5", {"id": str(tenant.event)}, tenant)),
    )
    our_page, their_page = (
        {**first, "after": json.loads(body)["data"]["driftEvents"]["pageInfo"]["endCursor"]}
        for body in (ours.ask(server.request("q1", first, tenant)), their_first)
    )
    yield "second page", server.request("q1", our_page, tenant), floor.ask(theirs.request("q1", their_page, tenant))
    # Neither of these is plain: resolvers and loaders answer the second, and a part of the first.
    mixed = server.document("q1").replace("  driftEvents(", f"  {_VIEWER}\n  driftEvents(")
    yield "page with resolver", server.request_of(mixed, first, tenant), their_first
    yield "rows by resolver", server.request_of(server.document("q3").replace(_ROW, _ROWS), key, tenant), their_row


def _expected(question: str, number: int, body: bytes) -> Any:
    found = canonical(body)
    if question == "page with resolver":
        return {"viewer": {"organization": {"name": f"Organization {number}"}}, **found}
    if question == "rows by resolver":
        return {"found": [found["node"]]}
    return found
