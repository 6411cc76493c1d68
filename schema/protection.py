"""What a read must be accounted for: types with a field labelled @phi, and those that some rights alone let see.

Filled when the schema is built. A type is accounted for as a whole: which of its objects were shown, and which of its
labelled fields.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from django.db.models import Model
from graphql import GraphQLObjectType, GraphQLSchema

from backend.core.actor import Needed, Right
from schema.phi import Phi
from schema.relay.node import NodeKinds

_RIGHTS = frozenset({Right.CLAIMS_READ, Right.AUDIT_READ, Right.IMPORT})


@dataclass(frozen=True, slots=True)
class Protected:
    """A type whose reads are accounted for; `claim_level`: a person's care, for which a purpose may be demanded."""

    model: type[Model]
    labelled: frozenset[str]  # names of the fields with @phi
    claim_level: bool
    summary: bool = False  # made of all rows: none of them can be named, and an entry is due in any case


class Protection:
    """The protected types by their GraphQL name, and their models."""

    types: ClassVar[dict[str, Protected]] = {}
    models: ClassVar[set[type[Model]]] = set()
    summaries: ClassVar[dict[str, type[Model]]] = {}

    @classmethod
    def summarise(cls, type_name: str, model: type[Model]) -> None:
        """Says that objects of a type are made of the protected rows of a model."""
        cls.summaries[type_name] = model


def protect(schema: GraphQLSchema) -> None:
    """Finds the protected types of a schema.

    Raises:
        TypeError: a label stands on a type without global ids, whose objects could not be named in an entry.
    """
    kinds = {kind.type_name: kind for kind in NodeKinds.by_tag.values()}
    for name, found in schema.type_map.items():
        if not isinstance(found, GraphQLObjectType):
            continue
        labelled = frozenset(key for key, field in found.fields.items() if _is_labelled(field))
        kind = kinds.get(name)
        if labelled and kind is None:
            raise TypeError(f"{name} has @phi fields and no global id")
        if kind is not None and (labelled or _any_of(kind.right) <= _RIGHTS):
            claim_level = bool(labelled) or Right.CLAIMS_READ in _any_of(kind.right)
            Protection.types[name] = Protected(kind.model, labelled, claim_level)
            Protection.models.add(kind.model)
    for name, model in Protection.summaries.items():
        fields = getattr(schema.type_map[name], "fields", {})
        Protection.types[name] = Protected(model, frozenset(fields), claim_level=False, summary=True)


def _any_of(needed: Needed) -> frozenset[Right]:
    return frozenset({needed}) if isinstance(needed, Right) else needed


def _is_labelled(field: Any) -> bool:
    definition = field.extensions.get("strawberry-definition")
    return any(isinstance(directive, Phi) for directive in getattr(definition, "directives", ()))
