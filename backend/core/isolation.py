"""What the catalog of a database must say for organizations to be apart in it; it is read, nothing is changed."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from backend.core.constraints import TENANT

Rows = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
"""Carries out a statement with its values, and gives all its rows."""

WITHOUT_ORGANIZATION = (
    "audit\\_removal",
    "audit\\_seal",
    "deletion\\_certificate",
    "organization",
    "user_account%",
    "auth\\_%",
    "django\\_%",
    "procrastinate\\_%",
)
"""Tables that belong to no organization, as patterns of LIKE: none holds what is of one, but hashes and counts."""

_TABLES = """
SELECT c.oid, c.relname::text, a.attnum IS NOT NULL, a.attnotnull, c.relrowsecurity, c.relforcerowsecurity,
       pg_get_userbyid(c.relowner), has_table_privilege(%s, c.oid, 'TRUNCATE'), c.relname LIKE ANY(%s),
       c.relispartition AND (has_any_column_privilege(%s, c.oid, 'SELECT, INSERT, UPDATE')
         OR has_table_privilege(%s, c.oid, 'DELETE, TRUNCATE, TRIGGER, REFERENCES'))
  FROM pg_class c
  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'organization_id' AND NOT a.attisdropped
 WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace ORDER BY 2
"""
_POLICIES = """
SELECT polrelid, polname::text, polcmd = '*' AND polpermissive AND polroles = '{0}',
       pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid) FROM pg_policy ORDER BY 2
"""
_REFERENCES = """
SELECT r.conname::text, r.conrelid, r.confrelid,
       (SELECT bool_or(a.attname = 'organization_id' AND b.attname = 'organization_id')
          FROM unnest(r.conkey, r.confkey) AS k(own, theirs)
          JOIN pg_attribute a ON a.attrelid = r.conrelid AND a.attnum = k.own
          JOIN pg_attribute b ON b.attrelid = r.confrelid AND b.attnum = k.theirs)
  FROM pg_constraint r WHERE r.contype = 'f' ORDER BY 1
"""
_VIEWS = """
SELECT c.relname::text FROM pg_class c
 WHERE c.relnamespace = 'public'::regnamespace AND (c.relkind = 'm' OR c.relkind = 'v'
   AND NOT coalesce('security_invoker=true' = ANY(c.reloptions) OR 'security_invoker=on' = ANY(c.reloptions), false))
 ORDER BY 1
"""
_POWERS = """
SELECT p.rolname::text, p.rolsuper, p.rolbypassrls, p.rolcreaterole, p.rolreplication,
       p.rolname IN ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program')
  FROM pg_roles p WHERE pg_has_role(%s, p.oid, 'MEMBER') ORDER BY 1
"""
# Of replicas ('R') they are off here, too.
_TRIGGERS = """
SELECT tgrelid, tgname::text FROM pg_trigger WHERE NOT tgisinternal AND tgenabled IN ('D', 'R') ORDER BY 2
"""
_FUNCTIONS = """
SELECT p.proname::text FROM pg_proc p
 WHERE p.prosecdef AND p.pronamespace = 'public'::regnamespace AND has_function_privilege(%s, p.oid, 'EXECUTE')
   AND NOT EXISTS (SELECT 1 FROM unnest(p.proconfig) AS setting WHERE setting LIKE 'search\\_path=%%') ORDER BY 1
"""


class Violation(NamedTuple):
    """What is wrong, and of which table, constraint, view, function or role."""

    name: str
    problem: str


class Isolation(NamedTuple):
    """What was looked at, and what is wrong."""

    tables: int  # of organizations
    references: int  # between them
    violations: list[Violation]


def check(rows: Rows, role: str) -> Isolation:
    """What the catalog says about the isolation of organizations from one another in what `role`, the server, may do.

    SQL: 7.
    """
    tables = rows(_TABLES, [role, list(WITHOUT_ORGANIZATION), role, role])
    tenants = {oid: name for oid, name, has_organization, *_ in tables if has_organization}
    references = [row for row in rows(_REFERENCES, []) if row[1] in tenants and row[2] in tenants]
    found = [
        *_of_tables(tables, role),
        *_of_policies(tenants, rows(_POLICIES, [])),
        *(Violation(row[0], "refers to a row without its organization") for row in references if not row[3]),
        *(Violation(name, "is a view that is not security_invoker") for (name,) in rows(_VIEWS, [])),
        *(
            Violation(tenants[oid], f"has the trigger {name}, which is switched off")
            for oid, name in rows(_TRIGGERS, [])
            if oid in tenants
        ),
        *_of_role(rows(_POWERS, [role])),
        *(
            Violation(name, "runs with its owner's rights and has no search_path of its own")
            for (name,) in rows(_FUNCTIONS, [role])
        ),
    ]
    return Isolation(len(tenants), len(references), sorted(found))


def _of_tables(tables: list[tuple[Any, ...]], role: str) -> list[Violation]:
    found = []
    for _oid, name, has_organization, not_null, enabled, forced, owner, truncates, known, direct in tables:
        wrong = {
            "has no organization_id and is not known to need none": not has_organization and not known,
            "takes rows without an organization": has_organization and not not_null,
            "has row-level security disabled": has_organization and not enabled,
            "has row-level security that is not forced": has_organization and not forced,
            f"can be emptied by {role} (TRUNCATE), past every policy": has_organization and truncates,
            f"is a partition that {role} reaches by itself, past the rights on its table": direct,
            f"belongs to {role}, who can take its policy away": owner == role,
        }
        found += [Violation(name, problem) for problem, holds in wrong.items() if holds]
    return found


def _of_policies(tenants: dict[int, str], policies: list[tuple[Any, ...]]) -> list[Violation]:
    found = []
    for oid, name in tenants.items():
        own = [policy for policy in policies if policy[0] == oid]
        if not own:
            found.append(Violation(name, "has no policy"))
        found += [
            Violation(name, f"has the policy {policy}, which does not keep to the organization")
            for _, policy, whole, reads, writes in own
            if not (whole and _plain(reads) == _plain(writes) == _plain(f"organization_id = {TENANT}"))
        ]
    return found


def _plain(expression: str | None) -> str:
    """An expression without what PostgreSQL adds to it when it prints it."""
    text = (expression or "").casefold().replace("::text", "")
    return "".join(character for character in text if character not in " ()")


def _of_role(powers: list[tuple[Any, ...]]) -> list[Violation]:
    found = []
    for name, *held in powers:
        # Who replicates gets the log of all changes, who has files the tables themselves.
        for power, holds in zip(("SUPERUSER", "BYPASSRLS", "CREATEROLE", "REPLICATION", "files"), held, strict=True):
            if holds:
                found.append(Violation(name, f"is a role of the server and has {power}"))
    return found
