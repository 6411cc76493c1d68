"""The PHI label: which fields hold protected health information. The only place that says so."""

from enum import Enum

import strawberry
from strawberry.schema_directive import Location


@strawberry.enum(description="What kind of protected health information a field holds.")
class PhiKind(Enum):
    DATE = strawberry.enum_value("DATE", description="A date of a person's care, finer than a year.")
    CLAIM = strawberry.enum_value("CLAIM", description="A fact about one person's claim.")
    REFERENCE = strawberry.enum_value("REFERENCE", description="A keyed hash that stands for a claim or a person.")


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="phi",
    description="Protected health information (45 CFR 160.103): readable only with a right to claim rows.",
)
class Phi:
    kind: PhiKind = strawberry.field(description="What kind of information.")
