"""The Node interface, and which types have global ids."""

from dataclasses import dataclass
from typing import ClassVar

import strawberry
from django.db import models

from backend.core.actor import Needed


@strawberry.interface(description="An object with a global id, which node(id:) finds again.")
class Node:
    id: strawberry.ID = strawberry.field(description="Opaque global id.")


@dataclass(frozen=True, slots=True)
class NodeKind:
    """What `node(id:)` knows of a type."""

    model: type[models.Model]
    right: Needed
    type_name: str


class NodeKinds:
    """The types that have global ids, by the two letters in them."""

    by_tag: ClassVar[dict[str, NodeKind]] = {}

    @classmethod
    def add(cls, tag: str, kind: NodeKind) -> None:
        """Registers a type; two types with one tag are a mistake in the code."""
        if cls.by_tag.setdefault(tag, kind) != kind:
            raise TypeError(f"the tag {tag} belongs to {cls.by_tag[tag].type_name}")
