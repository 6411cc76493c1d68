"""What a database consists of, as text that can be compared, and checksums of its rows."""

from collections.abc import Iterable, Mapping
from typing import Any

from psycopg import Connection, sql

# Every kind gives (name, definition). The order of columns is left out: a column that comes back stands last. So are
# INVALID indexes: they are what an interrupted attempt left, and a rule of their own.
_KINDS: Mapping[str, str] = {
    "column": """
        SELECT c.relname || '.' || a.attname, concat_ws(' ', format_type(a.atttypid, a.atttypmod),
          CASE WHEN a.attnotnull THEN 'NOT NULL' END, 'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid),
          nullif('identity ' || a.attidentity::text, 'identity '),
          nullif('generated ' || a.attgenerated::text, 'generated '))
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relkind IN ('r', 'p', 'v', 'm') AND a.attnum > 0 AND NOT a.attisdropped AND {ours}""",
    "constraint": """
        SELECT c.relname || '.' || o.conname, pg_get_constraintdef(o.oid)
        FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid WHERE {ours}""",
    "index": """
        SELECT c.relname || '.' || i.relname, pg_get_indexdef(x.indexrelid)
        FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
        WHERE x.indisvalid AND {ours}""",
    "policy": """
        SELECT c.relname || '.' || p.polname, concat_ws(' ', p.polcmd::text, p.polpermissive::text, p.polroles::text,
          pg_get_expr(p.polqual, p.polrelid), 'CHECK', pg_get_expr(p.polwithcheck, p.polrelid))
        FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE {ours}""",
    "table": """
        SELECT c.relname, concat_ws(' ', c.relkind::text, 'rls', c.relrowsecurity::text, 'forced',
          c.relforcerowsecurity::text, c.relacl::text, pg_get_partkeydef(c.oid), pg_get_expr(c.relpartbound, c.oid),
          CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END)
        FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND {ours}""",
    "trigger": """
        SELECT c.relname || '.' || t.tgname, pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal AND {ours}""",
    "function": """
        SELECT p.oid::regprocedure::text, md5(pg_get_functiondef(p.oid)) || coalesce(p.proacl::text, '')
        FROM pg_proc p WHERE p.prokind IN ('f', 'p') AND p.pronamespace = current_schema()::regnamespace
          AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.objid = p.oid AND e.deptype = 'e')""",
}
_FINGERPRINT = " UNION ALL ".join(
    f"SELECT '{kind}', * FROM ({text.format(ours='c.relnamespace = current_schema()::regnamespace')}) AS {kind}_kind"
    for kind, text in _KINDS.items()
)

Fingerprint = dict[tuple[str, str], str]


def fingerprint(connection: "Connection[Any]") -> Fingerprint:
    """Definitions by kind and name of everything in the current schema.

    SQL: 1.
    """
    return {(kind, name): text for kind, name, text in connection.execute(_FINGERPRINT).fetchall()}


def differences(before: Fingerprint, after: Fingerprint) -> list[str]:
    """One line for each thing that is missing, new or different."""
    lines = [f"{kind} {name} is missing" for kind, name in sorted(before.keys() - after.keys())]
    lines += [f"{kind} {name} was not there before" for kind, name in sorted(after.keys() - before.keys())]
    both = sorted(before.keys() & after.keys())
    return lines + [f"{kind} {name} differs" for kind, name in both if before[kind, name] != after[kind, name]]


def columns(connection: "Connection[Any]", tables: Iterable[str]) -> dict[str, list[str]]:
    """The names of the columns of each table that is there, in alphabetical order.

    SQL: 1.
    """
    found: dict[str, list[str]] = {}
    for table, column in connection.execute(
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = current_schema()::regnamespace AND c.relname = ANY(%s)"
        " AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, 2",
        [list(tables)],
    ).fetchall():
        found.setdefault(table, []).append(column)
    return found


def checksums(connection: "Connection[Any]", of: Mapping[str, list[str]]) -> dict[str, tuple[Any, ...]]:
    """Number and checksum of the rows of each table, over the columns given.

    SQL: 1 for each table.
    """
    found = {}
    for table, names in of.items():
        row = sql.SQL(", ").join(map(sql.Identifier, names))
        found[table] = (
            connection.execute(
                sql.SQL("SELECT count(*), sum(hashtextextended(ROW({})::text, 0)) FROM {}").format(
                    row, sql.Identifier(table)
                )
            ).fetchone()
            or ()
        )
    return found
