"""From a request to the operation that it means: looked up, or looked at in turn and paid for."""

import asyncio

from backend.core.actor import Actor
from backend.core.errors import DeadlineExceeded
from schema.cost.budgets import Budgets, Charge, CostExceeded, party_of
from schema.execution.documents import Prepared, known, prepared, price_of
from schema.execution.turns import Turns
from schema.http.documents import Documents
from schema.http.requests import GraphQLRequest
from schema.limits import look_through, refuse_many_values


class Preparation:
    """Prepares the operations of one process."""

    def __init__(self, budgets: Budgets) -> None:
        self._budgets, self._documents, self.turns = budgets, Documents(), Turns()

    async def operation(self, request: GraphQLRequest, actor: Actor | None, address: str, seconds: float) -> Prepared:
        """The operation that is meant, in so many seconds; a valid one can be asked for by its hash from here on.

        Raises:
            GraphQLError, AppError: there is none, or the document is not within its limits.
            RateLimited: the budget does not have what looking at the document costs.
            DeadlineExceeded: too many others wait.
        """
        values = look_through(request.variables)
        text = self._documents.text(request.query, request.document_id, request.persisted)
        operation = known(text, request.operation_name)
        if operation is None:
            try:
                async with asyncio.timeout(seconds):
                    operation = await self._looked_at(request, text, actor, address)
            except TimeoutError:
                raise DeadlineExceeded from None
        refuse_many_values(values, operation.kind)
        if not operation.errors and request.query is not None:  # else nobody has looked at whether the hash is its own
            self._documents.remember(text, request.persisted, is_known=actor is not None)
        return operation

    async def _looked_at(self, request: GraphQLRequest, text: str, actor: Actor | None, address: str) -> Prepared:
        """The operation of a text that is not known yet, paid for before: valid or not, it is work.

        Who is signed in has it for nothing if it is valid, and everybody a trusted document that has the operation.
        """
        party, is_trusted = party_of(actor, address), request.document_id is not None
        charge = await self._charged(actor, address, price_of(text), is_trusted=is_trusted)
        operation = await prepared(text, request.operation_name, self.turns, party, is_trusted=is_trusted)
        if charge and (is_trusted or actor is not None) and not operation.errors:
            await self._budgets.give_back(charge, 0)
        return operation

    async def _charged(self, actor: Actor | None, address: str, price: int, *, is_trusted: bool) -> Charge | None:
        """What was taken; nothing for a trusted document that is longer than a budget ever allows."""
        try:
            return await self._budgets.charge(actor, address, price)
        except CostExceeded:
            if is_trusted:
                return None
            raise
