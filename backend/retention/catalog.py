"""The tables of organizations as the catalog of the database has them, in the order in which they can be emptied."""

from collections import defaultdict
from dataclasses import dataclass
from graphlib import TopologicalSorter

from django.db import connection

TRAIL = "audit_entry"
"""Outlives the organization; nothing in the product can remove what is in it."""

_TABLES = """
SELECT c.relname::text, EXISTS (
    SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE t.tgrelid = c.oid AND p.proname = 'audit_change')
  FROM pg_class c
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'organization_id' AND NOT a.attisdropped
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace ORDER BY 1
"""
_REFERENCES = """
SELECT own.relname::text, theirs.relname::text, a.attname::text FROM pg_constraint r
  JOIN pg_class own ON own.oid = r.conrelid JOIN pg_class theirs ON theirs.oid = r.confrelid
  JOIN pg_attribute a ON a.attrelid = r.conrelid AND a.attnum = ANY(r.conkey) AND a.attname <> 'organization_id'
 WHERE r.contype = 'f' AND r.conparentid = 0 ORDER BY 1, 3
"""


@dataclass(frozen=True, slots=True)
class TenantTable:
    """A table whose rows belong to organizations."""

    name: str
    own_references: tuple[str, ...]  # columns that refer to rows of the same table
    audited: bool  # whether triggers tell the audit trail of what is deleted


def tables_to_empty() -> list[TenantTable]:
    """Every table of organizations but the audit trail; what refers to a table comes before it.

    Raises: CycleError: tables refer to one another in a circle, so that none can be emptied first.
    SQL: 2.
    """
    with connection.cursor() as cursor:
        cursor.execute(_TABLES)
        audited = {name: is_audited for name, is_audited in cursor.fetchall() if name != TRAIL}
        cursor.execute(_REFERENCES)
        references = cursor.fetchall()
    order: TopologicalSorter[str] = TopologicalSorter({name: set() for name in audited})
    own: dict[str, list[str]] = defaultdict(list)
    for referring, referred, column in references:
        if referring == referred:
            own[referring].append(column)
        elif {referring, referred} <= audited.keys():
            order.add(referred, referring)
    return [TenantTable(name, tuple(own[name]), audited[name]) for name in order.static_order()]
