"""Mutations of payers and the names they are known by."""

from typing import Annotated

import strawberry

from backend.core.actor import Actor, Right
from backend.payers import services
from schema.declare import resolver
from schema.mutations.base import MutationInput, MutationPayload, Values, carry_out
from schema.types.payers import Payer


@strawberry.input(description="Which payer a name in files means.")
class PayerMapInput(MutationInput):
    raw_name: str = strawberry.field(
        description="The name as files spell it, 1 to 200 characters, compared without case."
    )
    payer_code: str = strawberry.field(
        description="Code of the payer, 1 to 200 characters, compared without case; created if it is new."
    )


@strawberry.type(description="The payer that a name leads to.")
class PayerMapPayload(MutationPayload):
    payer: Payer | None = strawberry.field(default=None, description="The payer; null if the mutation failed.")
    claims_moved: int = strawberry.field(
        default=0, description="Claim lines that moved to it, in their current version."
    )


@strawberry.type
class PayerMutations:
    @resolver("Says which payer a name in files means; its claims move there.", right=Right.MAPPINGS)
    @staticmethod
    async def payer_map(
        info: strawberry.Info,
        input: Annotated[PayerMapInput, strawberry.argument(description="The mapping.")],
    ) -> PayerMapPayload:
        def work(actor: Actor) -> Values:
            mapping = services.payer_map(actor=actor, raw_name=input.raw_name, payer_code=input.payer_code)
            return {"payer": mapping.payer, "claims_moved": mapping.claims_moved}

        return await carry_out(info, PayerMapPayload, input, work)
