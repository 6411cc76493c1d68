"""build_schema(): the one place where the schema is put together."""

import logging
from functools import cache

import strawberry
from graphql import GraphQLError, GraphQLSchema
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from schema.inputs import make_inputs_directly
from schema.mutation_root import Mutation
from schema.protection import protect
from schema.queries import Query
from schema.scalars import SCALARS
from schema.subscriptions import Subscription


class DriftgraphSchema(strawberry.Schema):
    """Strawberry's schema; errors are logged by schema.errors alone."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Nothing: the default would log every error with its values."""


@cache
def build_schema() -> strawberry.Schema:
    """The schema of the API."""
    logging.getLogger("strawberry.execution").setLevel(logging.CRITICAL)
    found = DriftgraphSchema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        config=StrawberryConfig(scalar_map=SCALARS),
    )
    protect(_core(found))
    make_inputs_directly(_core(found))
    return found


def core_schema() -> GraphQLSchema:
    """The same as graphql-core sees it."""
    return _core(build_schema())


def _core(schema: strawberry.Schema) -> GraphQLSchema:
    found: GraphQLSchema = schema._schema  # noqa: SLF001 - Strawberry's documented way to it
    return found
