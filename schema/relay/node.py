"""The Node interface: whatever has a global id."""

import strawberry


@strawberry.interface(description="An object with a global id, which node(id:) finds again.")
class Node:
    id: strawberry.ID = strawberry.field(description="Opaque global id.")
