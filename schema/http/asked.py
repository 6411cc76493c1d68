"""One request as every transport hands it on: what is to be executed, and what came with it."""

from dataclasses import dataclass, replace
from typing import Any

from backend.core.actor import Actor, Purpose
from backend.core.errors import BadUserInput
from backend.db.writes import RequestWrites
from schema.execution.documents import Prepared
from schema.http.messages import Headers, Scope
from schema.usage.clients import client_of
from schema.usage.ledger import UsageLedger

_PURPOSE = "driftgraph-purpose"
_NAME_LENGTH = 200  # characters of an operation's name that the audit trail keeps


class UnknownPurpose(BadUserInput):
    """The header {header} must be one of {known}."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: what is to be executed, and what its headers say."""

    prepared: Prepared
    variables: dict[str, Any] | None
    headers: Headers
    purpose: str | None
    request_id: str
    writes: RequestWrites
    address: str

    def acting(self, actor: Actor | None) -> Actor | None:
        """The actor as the audit trail is to know it."""
        if actor is None:
            return None
        name = (self.prepared.name or "")[:_NAME_LENGTH]
        return replace(actor, purpose=self.purpose, request_id=self.request_id, operation_name=name)

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


def address_of(scope: Scope) -> str:
    """The address of the client, as the server knows it; empty where it does not."""
    client = scope.get("client")
    return str(client[0]) if client else ""
