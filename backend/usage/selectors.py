"""Reads of the usage ledger: sums by client over some days."""

import datetime
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from django.db import connection
from django.utils import timezone

from backend.accounts.selectors import organizations_all
from backend.core.errors import BadUserInput
from backend.core.tenancy import acting_for

MAX_DAYS = 3_660  # that can be asked for
_SUMS = """
SELECT coordinate, client_name, client_version, sum(uses)::bigint, min(day), max(day)
FROM schema_use, (SELECT %s::text AS part, %s::text[] AS deprecated) AS asked
WHERE day >= %s::date AND (part = '' OR coordinate = part OR starts_with(coordinate, part || '.')
  OR starts_with(coordinate, part || '(')) AND (NOT %s::boolean OR coordinate = ANY(deprecated))
GROUP BY coordinate, client_name, client_version, deprecated
ORDER BY coordinate = ANY(deprecated) DESC, 4 DESC, 1, 2, 3 LIMIT %s
"""


class DaysOutOfRange(BadUserInput):
    """The number of days must be 1 to {limit}."""


class Used(NamedTuple):
    """How often a client used a part of the schema, and on which days."""

    coordinate: str
    client_name: str  # empty: it did not say
    client_version: str
    uses: int  # requests
    first_on: datetime.date
    last_on: datetime.date


class Asked(NamedTuple):
    """Which sums are wanted: of days from `since` on, of a part and all below it, of deprecated parts alone."""

    since: datetime.date
    part: str = ""
    deprecated: Sequence[str] = ()
    deprecated_only: bool = False

    def statement(self, limit: int | None = None) -> tuple[str, list[Any]]:
        """The SQL of one organization's sums, with %s, and its values: deprecated first, then the most used."""
        return _SUMS, [self.part, list(self.deprecated), self.since, self.deprecated_only, limit]


def first_day(days: int) -> datetime.date:
    """The first of so many days up to today, in UTC.

    Raises:
        DaysOutOfRange: no day, or too many.
    """
    if not 1 <= days <= MAX_DAYS:
        raise DaysOutOfRange(limit=MAX_DAYS)
    return timezone.now().date() - datetime.timedelta(days=days - 1)


def usage_everywhere(asked: Asked) -> list[Used]:
    """The sums over all organizations, in the same order; for the platform's operators.

    SQL: 1, and BEGIN, 2, COMMIT for each organization.
    """
    found: list[Used] = []
    text, values = asked.statement()
    for organization_id in organizations_all().values_list("id", flat=True):
        with acting_for(organization_id), connection.cursor() as cursor:
            cursor.execute(text, values)
            found += [Used(*row) for row in cursor.fetchall()]
    return _together(found, frozenset(asked.deprecated))


def _together(rows: Iterable[Used], deprecated: frozenset[str]) -> list[Used]:
    sums: dict[tuple[str, str, str], Used] = {}
    for row in rows:
        known = sums.get(row[:3], row._replace(uses=0))
        sums[row[:3]] = Used(
            *row[:3], known.uses + row.uses, min(known.first_on, row.first_on), max(known.last_on, row.last_on)
        )
    return sorted(sums.values(), key=lambda row: (row.coordinate not in deprecated, -row.uses, row[:3]))
