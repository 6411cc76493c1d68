"""Writes of the usage ledger: counts are added to a day's, and old days are forgotten."""

import datetime
from collections.abc import Mapping
from typing import NamedTuple

from django.db import connection

from backend.core.actor import Actor
from backend.core.ids import uuid7
from backend.core.tenancy import write
from backend.usage.models import SchemaUse

_ADD = """
INSERT INTO schema_use (id, organization_id, day, coordinate, client_name, client_version, uses)
SELECT u.id, %s, u.day, u.coordinate, u.client_name, u.client_version, u.uses
FROM unnest(%s::uuid[], %s::date[], %s::text[], %s::text[], %s::text[], %s::bigint[])
  AS u(id, day, coordinate, client_name, client_version, uses)
ON CONFLICT (organization_id, day, coordinate, client_name, client_version)
DO UPDATE SET uses = schema_use.uses + excluded.uses
"""


class Use(NamedTuple):
    """A part of the schema, used by a client on a day."""

    day: datetime.date
    coordinate: str
    client_name: str
    client_version: str


def usage_add(*, actor: Actor, counts: Mapping[Use, int]) -> int:
    """How many counters of the organization were added to; `counts` are requests.

    Several processes add to the same counters: sorted, so that none waits for one that waits for it.

    SQL: BEGIN, 2, COMMIT.
    """
    found = sorted(counts)
    if not found:
        return 0
    days, coordinates, names, versions = (list(column) for column in zip(*found, strict=True))
    values = [[uuid7() for _ in found], days, coordinates, names, versions, [counts[use] for use in found]]
    with write(actor), connection.cursor() as cursor:
        cursor.execute(_ADD, [actor.organization_id, *values])
        return int(cursor.rowcount)


def usage_forget(*, actor: Actor, before: datetime.date) -> int:
    """How many counters of the organization are of a day before this one, and are deleted.

    SQL: BEGIN, 2, COMMIT.
    """
    with write(actor):
        return SchemaUse.objects.filter(day__lt=before).delete()[0]
