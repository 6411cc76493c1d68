"""What an operation would cost, field by field, without executing it."""

from functools import cache
from typing import Any

import orjson
import strawberry
from django.conf import settings
from graphql import FragmentDefinitionNode, GraphQLError, GraphQLSchema

from backend.core.errors import BadUserInput
from backend.core.least_recent import LeastRecent, bytes_of
from schema.cost.budgets import most_of
from schema.cost.directives import ListSize
from schema.cost.pricing import Line, Pricing, sizing_of
from schema.execution.selection import conditions_of, is_for_reference
from schema.execution.turns import Party, Turns
from schema.limits import look_through, operation_of, parsed, refuse_costly_json
from schema.reasons import reason
from schema.validity import problems

_LARGEST = 2**31 - 1  # of GraphQL's Int
_LINES = 1_000  # that the answer is priced with
_KEPT, _KEPT_BYTES = 16, 4_000_000  # results, for who asks again and again, in aliases or requests; their memory
_LINE_BYTES = 400
_Asked = tuple[str, str | None, str | None]
_Found = tuple[int, int, list[Line]]  # price, what it may be, fields


class DocumentNotValid(BadUserInput):
    """The document to be priced is not valid: {problem}"""


class VariablesNotJson(BadUserInput):
    """The variables to be priced with must be a JSON object, as text."""


@strawberry.type(description="What one field of a document costs.")
class FieldCost:
    path: str = strawberry.field(description="Response keys from the root, with dots between them.")
    cost: int = strawberry.field(description="Of the field and all below it, for all its parents; 0 to 2,147,483,647.")
    statements: int = strawberry.field(
        description="SQL statements that the field alone reads with at most, for all its parents together."
    )


@strawberry.type(description="What an operation would cost.")
class OperationCost:
    requested: int = strawberry.field(
        description="What is taken from the budget before it is executed; 1 to 2,147,483,647, or more than that."
    )
    limit: int = strawberry.field(
        description="What the operation may cost: DRIFTGRAPH_MAX_COST, for a mutation or subscription"
        " DRIFTGRAPH_MAX_REFERENCE_COST, or a whole budget where that is smaller."
    )
    statements: int = strawberry.field(
        description="SQL statements that read what is selected, at most, however many rows there are. Not among them:"
        " what a mutation does to change something, a subscription to wait for its events, and the audit trail to note"
        " who was shown what."
    )
    fields: list[FieldCost] = strawberry.field(
        description="Its fields sorted by path, at most 1,000 (DRIFTGRAPH_MAX_QUERY_FIELDS).",
        directives=[ListSize(assumed_size=_LINES, require_one_slicing_argument=False)],
    )


async def operation_cost(
    schema: GraphQLSchema,
    document: str,
    variables: str | None,
    operation_name: str | None,
    *,
    turns: Turns,
    party: Party,
) -> OperationCost:
    """The price of an operation.

    Raises:
        DocumentNotValid, VariablesNotJson, LimitExceeded: it could not be executed either.

    SQL: none.
    """
    values = _variables(variables)
    key = (document, variables, operation_name)

    # Validation can take long, and others are waiting for the event loop.
    found = await turns.run(
        party, lambda: _priced(schema, document, values, operation_name), unless=lambda: _results().peek(key)
    )
    price, most, lines = _results().get(key, lambda: found)
    limits = settings.ENVIRONMENT
    return OperationCost(
        requested=min(price, _LARGEST),
        limit=min(most, limits.cost_per_minute, limits.organization_cost_per_minute),
        statements=sum(line.statements for line in lines),
        fields=[
            FieldCost(path=".".join(line.path), cost=min(line.cost, _LARGEST), statements=line.statements)
            for line in lines
        ],
    )


@cache
def _results() -> LeastRecent[_Asked, _Found]:
    return LeastRecent(_KEPT, weight=_weight, capacity=_KEPT_BYTES)


def _weight(key: _Asked, found: _Found) -> int:
    return bytes_of(key) + _LINE_BYTES * len(found[2])


def _variables(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    refuse_costly_json(text.encode())
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise VariablesNotJson(path=("variables",)) from None
    if not isinstance(found, dict):
        raise VariablesNotJson(path=("variables",))
    look_through(found)
    return found


def _priced(schema: GraphQLSchema, text: str, variables: dict[str, Any], operation_name: str | None) -> _Found:
    try:
        document = parsed(text)
        operation = operation_of(document, operation_name)
        found = problems(schema, document, at_most=1)
    except GraphQLError as error:
        found = [error]
    if found:
        raise DocumentNotValid(problem=reason(found[0].message), path=("document",))
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    pricing = Pricing(schema, operation, fragments, sizing_of(schema, operation, fragments).values(variables))
    by_reference = is_for_reference(operation.operation, conditions_of(operation, fragments), variables)
    return pricing.price().requested, most_of(by_reference=by_reference)[0], pricing.itemised()
