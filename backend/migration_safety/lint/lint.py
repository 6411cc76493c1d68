"""Everything that can be told of a migration without running it."""

import ast
from collections.abc import Iterator
from pathlib import Path

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.state import ProjectState
from django.db.utils import NotSupportedError

from backend.migration_safety.exceptions import given, reasons
from backend.migration_safety.lint import squawk
from backend.migration_safety.lint.rules import OPERATION_RULES, forgotten_without_default, rls_without_policy
from backend.migration_safety.nesting import in_the_database
from backend.migration_safety.sarif import Finding
from backend.migration_safety.selection import path_of

_WITH_POLICY = (
    "SELECT DISTINCT c.relname FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid"
    " WHERE c.relnamespace = current_schema()::regnamespace"
)


def lint(migration: Migration, state: ProjectState, connection: BaseDatabaseWrapper | None) -> list[Finding]:
    """What is wrong with a migration; `state` is the one before it. Without a connection its SQL is not read.

    SQL: what Django looks up in the catalog to write the migration's own.

    Raises:
        NoSquawk: squawk is not installed.
    """
    path, lines, accepted = path_of(migration), _lines(path_of(migration)), reasons(migration)
    name = f"{migration.app_label}.{migration.name}"
    by_text = () if connection is None else by_sql(migration, state, connection)
    found = [
        Finding(name, rule, message, path, lines[index] if index < len(lines) else 1, accepted.get(rule, ""))
        for rule, message, index in (*by_operations(migration, state), *by_text)
    ]
    return list(dict.fromkeys(found))


def by_operations(migration: Migration, state: ProjectState) -> Iterator[tuple[str, str, int]]:
    """Rule, message and number of the operation, by the rules about operations."""
    for rule, reason in given(migration).items():
        if not reason.strip():
            yield "exception-without-reason", f"safety_exceptions names {rule} without a reason", 0
    after = state.clone()
    for index, operation in enumerate(migration.operations):
        for message in forgotten_without_default(migration, operation, after):
            yield "forgotten-without-default", message, index
        operation.state_forwards(migration.app_label, after)
        for inner in in_the_database([operation]):
            for rule, check in OPERATION_RULES.items():
                for message in check(migration, inner, after):
                    yield rule, message, index


def by_sql(
    migration: Migration, state: ProjectState, connection: BaseDatabaseWrapper
) -> Iterator[tuple[str, str, int]]:
    """Rule, message and number of the operation, by what the SQL says."""
    try:
        sql = "\n".join(collected(migration, state, connection))
    except ValueError as error:
        yield "sql-unknown", f"its SQL depends on a catalog that this database does not have: {error}", 0
        return
    except NotSupportedError as error:
        yield "operation-refuses", str(error), 0
        return
    connection.ensure_connection()
    for message in rls_without_policy(sql, {table for (table,) in connection.connection.execute(_WITH_POLICY)}):
        yield "rls-without-policy", message, 0
    major, minor = divmod(connection.connection.info.server_version, 10_000)
    for remark in squawk.remarks(sql, in_transaction=migration.atomic, version=f"{major}.{minor}"):
        # Each operation is announced by a comment between two lines that hold nothing but dashes.
        before = sql.split("\n")[: remark.line + 1]
        yield remark.rule, remark.message, max(before.count("--") // 2 - 1, 0)


def collected(migration: Migration, state: ProjectState, connection: BaseDatabaseWrapper) -> list[str]:
    """The SQL of a migration, as `sqlmigrate` prints it."""
    with connection.schema_editor(collect_sql=True, atomic=migration.atomic) as editor:
        migration.apply(state.clone(), editor, collect_sql=True)
    found: list[str] = editor.collected_sql
    return found


def _lines(path: Path) -> list[int]:
    """The line of each element of `operations = [...]` in a file."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ClassDef) and node.name == "Migration":
            for part in node.body:
                names = [target.id for target in getattr(part, "targets", []) if isinstance(target, ast.Name)]
                if names == ["operations"] and isinstance(part, ast.Assign) and isinstance(part.value, ast.List):
                    return [element.lineno for element in part.value.elts]
    return []
