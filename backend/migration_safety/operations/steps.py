"""What a safe operation is made of: steps that know whether they are still to be done."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from django.db import models, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.utils import NotSupportedError

from backend.migration_safety.locking import LOCK_TIMEOUT_MS, lock_timeout, with_retries

Model = type[models.Model]


@dataclass(frozen=True, slots=True)
class Step:
    """One statement, and the condition under which it is to be executed.

    `concurrently`: PostgreSQL wants it outside of a transaction, and a lock_timeout would leave an INVALID index
    behind.
    """

    sql: str
    needed: str  # an SQL expression
    concurrently: bool = False


class Stepwise(Operation):
    """An operation whose work in the database is to make something, or to remove it where `adds` is false."""

    adds: ClassVar[bool] = True
    resumable: ClassVar[bool] = True
    outside_transactions: ClassVar[bool] = True
    model_name: str

    def making(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """The steps that make it; `model` is the one that has it."""
        raise NotImplementedError

    def removing(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """The steps that remove it."""
        raise NotImplementedError

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Makes or removes."""
        self._run(app_label, schema_editor, to_state if self.adds else from_state, make=self.adds)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """The reverse."""
        self._run(app_label, schema_editor, from_state if self.adds else to_state, make=not self.adds)

    def _run(self, app_label: str, editor: Any, state: ProjectState, *, make: bool) -> None:
        model = state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(editor.connection.alias, model):
            run(self.making(model, editor) if make else self.removing(model, editor), editor)


class StateUnchanged(Stepwise):
    """An operation that Django's models do not know of."""

    reduces_to_sql = True

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Nothing."""


def run(steps: Sequence[Step], editor: BaseDatabaseSchemaEditor) -> None:
    """Executes the steps that are still to be done; only writes them down for `sqlmigrate`.

    SQL: 1 for each step that is done already, else the step's own in a transaction with SET LOCAL lock_timeout.

    Raises:
        NotSupportedError: inside of a transaction, whose locks would all be held until its end.
    """
    connection = editor.connection
    if editor.collect_sql:
        for step in steps:
            limit = "" if step.concurrently else f"BEGIN; SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}; "
            editor.execute(f"{limit}{step.sql}{'' if step.concurrently else '; COMMIT'}", None)
        return
    if connection.in_atomic_block:
        raise NotSupportedError("Safe operations cannot be executed inside a transaction: set atomic = False.")
    for step in steps:
        if not holds(step.needed, editor):
            continue
        if step.concurrently:
            with lock_timeout(connection, 0):
                editor.execute(step.sql, None)
        else:
            in_short(step.sql, editor)


def in_short(sql: str, editor: BaseDatabaseSchemaEditor, params: Any = None) -> list[tuple[Any, ...]]:
    """The rows of a statement that has a transaction of its own, and waits little for locks but again and again."""

    def once() -> list[tuple[Any, ...]]:
        with transaction.atomic(using=editor.connection.alias), editor.connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
            cursor.execute(sql, params)
            return list(cursor.fetchall()) if cursor.description else []

    return with_retries(once)


def holds(condition: str, editor: BaseDatabaseSchemaEditor) -> bool:
    """Whether an SQL expression is true."""
    with editor.connection.cursor() as cursor:
        cursor.execute(f"SELECT {condition}")
        (found,) = cursor.fetchone()
    return bool(found)


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def relation(model: Model, editor: BaseDatabaseSchemaEditor) -> str:
    """An SQL expression for the oid of the model's table."""
    return f"{literal(editor.quote_name(model._meta.db_table))}::regclass"


def index_is(name: str, *, valid: bool) -> str:
    """Whether there is an index of that name which is valid, or INVALID."""
    return (
        f"EXISTS (SELECT 1 FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid WHERE i.relname = {literal(name)}"
        f" AND i.relnamespace = current_schema()::regnamespace AND x.indisvalid = {valid})"
    )


def constraint(table: str, name: str, condition: str = "true") -> str:
    """Whether the table (an oid, as of `relation`) has a constraint of that name for which the condition holds."""
    named = f"conrelid = {table} AND conname = {literal(name)}"
    return f"EXISTS (SELECT 1 FROM pg_constraint WHERE {named} AND {condition})"


def validated(table_name: str, table: str, name: str, quoted: str) -> Step:
    """The step that checks the older rows, under SHARE UPDATE EXCLUSIVE, which lets reads and writes pass."""
    return Step(f"ALTER TABLE {table_name} VALIDATE CONSTRAINT {quoted}", constraint(table, name, "NOT convalidated"))
