"""One request as every transport hands it on: what is to be executed, and what came with it."""

from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from graphql import OperationType

from backend.core.actor import Actor, Purpose
from backend.core.errors import BadUserInput
from backend.db.replicas import Position
from backend.db.writes import RequestWrites
from backend.phi.labels import label_of
from schema.cost.budgets import CostExceeded, most_of
from schema.cost.pricing import Price
from schema.execution.documents import Prepared
from schema.http.messages import Headers, Scope
from schema.usage.clients import client_of
from schema.usage.ledger import UsageLedger

_PURPOSE, _DEADLINE = "driftgraph-purpose", "driftgraph-deadline-ms"
_DIGITS = 9  # of milliseconds; more are a mistake
_NAME_LENGTH = 200  # characters of an operation's name that the audit trail keeps


class UnknownPurpose(BadUserInput):
    """The header {header} must be one of {known}."""


class BadDeadline(BadUserInput):
    """The header {header} must be a whole number of milliseconds, 1 or more and of at most {digits} digits."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: what is to be executed, and what its headers say."""

    prepared: Prepared
    variables: dict[str, Any] | None
    headers: Headers
    purpose: str | None
    seconds: float  # until its deadline, once it is carried out
    request_id: str
    writes: RequestWrites
    address: str
    is_single: bool = False  # a request of its own: those of a WebSocket have no header to send a token with
    after: Position | None = None  # the answer must show all that was written up to there

    @property
    def suits_replica(self) -> bool:
        """Whether a replica may answer.

        What is accounted for is read where its account is written: nothing is shown by one server that the other has
        erased by then.
        """
        is_query = self.prepared.kind is OperationType.QUERY
        return self.is_single and is_query and not self.prepared.shows_protected(self.variables)

    def price(self) -> Price:
        """What it costs.

        Raises:
            CostExceeded: more than one operation may.
        """
        found = self.prepared.price(self.variables)
        limit, setting = most_of(by_reference=self.prepared.is_for_reference(self.variables))
        if found.requested > limit:
            raise CostExceeded(actual=found.requested, limit=limit, setting=setting)
        return found

    def acting(self, actor: Actor | None) -> Actor | None:
        """The actor as the audit trail is to know it: without an operation's name that could identify a person."""
        if actor is None:
            return None
        name = self.prepared.name
        kept = label_of(name[: _NAME_LENGTH + 1], _NAME_LENGTH) if name else ""
        return replace(actor, purpose=self.purpose, request_id=self.request_id, operation_name=kept)

    def count(self, usage: UsageLedger, actor: Actor) -> None:
        """Nothing; adds what the request uses of the schema to the counts of the actor's organization."""
        used = self.prepared.usage.coordinates(self.variables)
        usage.count(actor.organization_id, client_of(self.headers), used)


def purpose_of(headers: Headers) -> str | None:
    """What the request is for.

    Raises:
        UnknownPurpose: none of those that there are.
    """
    text = headers.get(_PURPOSE)
    if not text:
        return None
    if text not in Purpose.__members__:
        raise UnknownPurpose(header=_PURPOSE, known=", ".join(Purpose))
    return text


def seconds_of(headers: Headers) -> float:
    """Seconds that the operation may take: what the request says, at most DRIFTGRAPH_DEADLINE_SECONDS.

    Raises:
        BadDeadline: it says something else.
    """
    text, most = headers.get(_DEADLINE), settings.ENVIRONMENT.deadline_seconds
    if not text:
        return most
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS and int(text)):
        raise BadDeadline(header=_DEADLINE, digits=_DIGITS)
    return min(most, int(text) / 1000)


def address_of(scope: Scope) -> str:
    """The address of the client, as the server knows it; empty where it does not."""
    client = scope.get("client")
    return str(client[0]) if client else ""
