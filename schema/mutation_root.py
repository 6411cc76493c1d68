"""The root of all changes, put together from the mutations of each noun."""

import strawberry
from strawberry.tools import merge_types

from schema.cost.directives import weigh
from schema.mutations.agents import AgentMutations
from schema.mutations.claims import ClaimMutations
from schema.mutations.drift import DriftMutations
from schema.mutations.payers import PayerMutations

_WEIGHT = 10  # a mutation's transaction beside one more row of an answer
MUTATIONS = (AgentMutations, ClaimMutations, DriftMutations, PayerMutations)
Mutation = strawberry.type(
    description="Everything that can be changed. Each mutation is one transaction. The answer has"
    " `extensions.consistencyToken`: a query that sends it as the header Driftgraph-Consistency-Token sees what was"
    " written (docs/clients.md)."
)(merge_types("Mutation", MUTATIONS))
weigh(Mutation.__strawberry_definition__.fields, _WEIGHT)  # type: ignore[attr-defined]  # added by Strawberry
