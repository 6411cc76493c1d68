"""The GraphQL types of a page: Connection, Edge, PageInfo. Their source object is a schema.relay.pages.Page."""

from enum import Enum
from typing import Generic, TypeVar

import strawberry

from schema.cost.directives import Cost
from schema.relay.pages import Page

NodeType = TypeVar("NodeType")


@strawberry.enum(description="How far a total can be trusted.")
class CountPrecision(Enum):
    EXACT = strawberry.enum_value("EXACT", description="All rows were counted.")
    AT_LEAST = strawberry.enum_value("AT_LEAST", description="Counting stopped at the cap; there are more.")


@strawberry.type(description="What lies before and after a page.")
class PageInfo:
    has_next_page: bool = strawberry.field(
        description="Whether rows follow. Paging backward, true whenever `before` was given."
    )
    has_previous_page: bool = strawberry.field(
        description="Whether rows precede. Paging forward, true whenever `after` was given."
    )
    start_cursor: str | None = strawberry.field(
        description="Cursor of the first row, for `before`; null on an empty page."
    )
    end_cursor: str | None = strawberry.field(description="Cursor of the last row, for `after`; null on an empty page.")


@strawberry.type(name="Edge", description="A row of a page, and where it stands in the list.")
class Edge(Generic[NodeType]):
    cursor: str = strawberry.field(
        description="Opaque position in the list's order, for `after` or `before` with the same `orderBy`."
    )
    node: NodeType = strawberry.field(description="The row.")


@strawberry.type(name="Connection", description="A page of a list, read from one snapshot of the database.")
class Connection(Generic[NodeType]):
    edges: list[Edge[NodeType]] = strawberry.field(description="The rows of the page with their cursors, in order.")
    nodes: list[NodeType] = strawberry.field(description="The rows of the page, in order.")
    page_info: PageInfo = strawberry.field(description="What lies before and after the page.")

    @strawberry.field(
        description="Rows in the whole list under the filter, 0 or more; exact up to 10,000 (see totalCountPrecision)."
        " Costs one more statement.",
        directives=(Cost(weight="10"),),
    )
    @staticmethod
    async def total_count(root: strawberry.Parent[Page]) -> int:
        return (await root.total()).value

    @strawberry.field(description="Whether totalCount is exact or a lower bound.")
    @staticmethod
    async def total_count_precision(root: strawberry.Parent[Page]) -> CountPrecision:
        return CountPrecision.EXACT if (await root.total()).exact else CountPrecision.AT_LEAST
