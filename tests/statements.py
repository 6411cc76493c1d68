"""What a member of one organization can try on another's rows by SQL, for every table and every reference."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from tests import server

_TABLES = """
SELECT c.relname::text, (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a
                          WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '')
  FROM pg_class c JOIN pg_attribute o ON o.attrelid = c.oid AND o.attname = 'organization_id' AND NOT o.attisdropped
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace ORDER BY 1
"""
_REFERENCES = """
SELECT r.conname::text, r.conrelid::regclass::text, r.confrelid::regclass::text,
       (SELECT array_agg(a.attname::text ORDER BY k.place) FROM unnest(r.conkey) WITH ORDINALITY AS k(column_no, place)
          JOIN pg_attribute a ON a.attrelid = r.conrelid AND a.attnum = k.column_no),
       (SELECT array_agg(a.attname::text ORDER BY k.place) FROM unnest(r.confkey) WITH ORDINALITY AS k(column_no, place)
          JOIN pg_attribute a ON a.attrelid = r.confrelid AND a.attnum = k.column_no)
  FROM pg_constraint r WHERE r.contype = 'f' AND r.conparentid = 0
   AND r.conrelid = ANY(%(tables)s::regclass[]) AND r.confrelid = ANY(%(tables)s::regclass[]) ORDER BY 1
"""


@dataclass(slots=True)
class Tried:
    """What was tried, and what came through."""

    tables: int = 0
    references: int = 0
    attempts: int = 0
    crossed: list[str] = field(default_factory=list)
    blind: list[str] = field(default_factory=list)  # tables whose own rows a member does not see, so nothing is proven

    def __str__(self) -> str:
        """The figures."""
        return (
            f"{self.tables} tables, {self.references} references, {self.attempts} attempts by SQL,"
            f" {len(self.crossed)} crossed, {len(self.blind)} blind"
        )


def tables(database: str) -> dict[str, list[str]]:
    """The columns of every table with an organization."""
    with psycopg.connect(server.url("postgres", database)) as superuser:
        return dict(superuser.execute(_TABLES).fetchall())


def rows_of(database: str, organization: uuid.UUID) -> dict[str, tuple[int, str]]:
    """Number and content of an organization's rows by table, as the superuser sees them."""
    found = {}
    with psycopg.connect(server.url("postgres", database)) as superuser:
        for table in tables(database):
            text = sql.SQL(
                "SELECT count(*), coalesce(md5(string_agg(t::text, '|' ORDER BY id)), '') FROM {} t"
                " WHERE organization_id = %s"
            ).format(sql.Identifier(table))
            found[table] = superuser.execute(text, [organization]).fetchone() or (0, "")
    return found


def try_statements(database: str, own: uuid.UUID, other: uuid.UUID) -> Tried:
    """Every statement on every table as the server's role, and every reference to a row of the other organization.

    References are tried as the superuser: what policies and grants forbid as well would prove nothing about a key.
    """
    found, columns = Tried(), tables(database)
    with psycopg.connect(server.url("app", database), autocommit=True) as app:
        for table, names in columns.items():
            found.tables += 1
            for text, values, wanted in _statements(table, names, own, other):
                found.attempts += 1
                outcome = _outcome(app, own, text, values)
                if outcome not in wanted:
                    found.crossed.append(f"{table}: {outcome} of {text.as_string(app)}")
            found.attempts += 1
            anything = sql.SQL("SELECT 1 FROM {}").format(sql.Identifier(table))
            if app.execute(anything).rowcount:
                found.crossed.append(f"{table}: without an organization")
            if not _outcome(app, own, anything, []):
                found.blind.append(table)
    with psycopg.connect(server.url("postgres", database), autocommit=True) as superuser:
        for name, table, to, locals_, theirs in superuser.execute(_REFERENCES, {"tables": list(columns)}).fetchall():
            found.references += 1
            found.attempts += 1
            pairs = [one for one in zip(locals_, theirs, strict=True) if one[0] != "organization_id"]
            if not _refused(superuser, (name, table, to), pairs, (own, other)):
                found.crossed.append(f"{name}: takes a row of another organization")
    return found


def _statements(
    table: str, columns: list[str], own: uuid.UUID, other: uuid.UUID
) -> Iterator[tuple[sql.Composed, list[Any], set[Any]]]:
    name, names = sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    moved = sql.SQL(", ").join(
        {"organization_id": sql.Placeholder(), "id": sql.SQL("gen_random_uuid()")}.get(one, sql.Identifier(one))
        for one in columns
    )  # fmt: skip
    theirs = sql.SQL(" WHERE organization_id = %s")
    yield sql.SQL("SELECT 1 FROM {}").format(name) + theirs, [other], {0}
    yield sql.SQL("UPDATE {} SET id = id").format(name) + theirs, [other], {0, "refused"}
    yield sql.SQL("DELETE FROM {}").format(name) + theirs, [other], {0, "refused"}
    yield sql.SQL("UPDATE {} SET organization_id = %s").format(name) + theirs, [other, own], {"refused"}
    yield (
        sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} WHERE organization_id = %s LIMIT 1").format(
            name, names, moved, name
        ),
        [other, own],
        {"refused"},
    )


def _outcome(app: "psycopg.Connection[Any]", own: uuid.UUID, text: sql.Composed, values: list[Any]) -> int | str:
    """The number of rows, or "refused" by a policy or for want of a right, or the constraint's kind that stopped it."""
    with app.transaction(force_rollback=True):
        app.execute("SELECT set_config('app.organization_id', %s, true)", [str(own)])
        try:
            return app.execute(text, values).rowcount
        except psycopg.errors.InsufficientPrivilege:
            return "refused"
        except psycopg.errors.IntegrityError as error:  # the row was reached
            return type(error).__name__


def _refused(
    superuser: "psycopg.Connection[Any]",
    key: tuple[str, str, str],
    pairs: list[tuple[str, str]],
    members: tuple[uuid.UUID, uuid.UUID],
) -> bool:
    """Whether a foreign key refuses that rows of the first organization refer to one of the second."""
    name, table, to = key
    (mine, theirs), (own, other) = zip(*pairs, strict=True), members
    text = sql.SQL(
        "UPDATE {table} SET ({mine}) = ROW({them})"
        " FROM (SELECT {theirs} FROM {to} WHERE organization_id = %s LIMIT 1) AS them"
        " WHERE {table}.id = (SELECT id FROM {table} WHERE organization_id = %s LIMIT 1)"
    ).format(
        table=sql.Identifier(table),
        mine=sql.SQL(", ").join(map(sql.Identifier, mine)),
        them=sql.SQL(", ").join(sql.Identifier("them", one) for one in theirs),
        theirs=sql.SQL(", ").join(map(sql.Identifier, theirs)),
        to=sql.Identifier(to),
    )
    with superuser.transaction(force_rollback=True):
        superuser.execute("SET CONSTRAINTS ALL IMMEDIATE")
        try:
            changed = superuser.execute(text, [other, own]).rowcount
        except psycopg.errors.ForeignKeyViolation as error:
            return error.diag.constraint_name == name
    assert changed, f"{name}: no row of {table} to try it with"
    return False
