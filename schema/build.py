"""build_schema(): the one place where the schema is put together."""

import logging
from functools import cache

import strawberry
from graphql import GraphQLError
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from schema.mutation_root import Mutation
from schema.queries import Query
from schema.scalars import SCALARS

_CACHED_DOCUMENTS = 256


class DriftgraphSchema(strawberry.Schema):
    """Strawberry's schema; errors are logged by schema.errors alone."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Nothing: the default would log every error with its values."""


@cache
def build_schema() -> strawberry.Schema:
    """The schema of the API."""
    logging.getLogger("strawberry.execution").setLevel(logging.CRITICAL)
    return DriftgraphSchema(
        query=Query,
        mutation=Mutation,
        config=StrawberryConfig(scalar_map=SCALARS),
        extensions=[lambda: ParserCache(maxsize=_CACHED_DOCUMENTS), lambda: ValidationCache(maxsize=_CACHED_DOCUMENTS)],
    )
