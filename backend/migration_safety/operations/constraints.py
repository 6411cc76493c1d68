"""Constraints that come in two or three phases, so that no lock is held while rows are checked."""

from collections.abc import Sequence
from typing import Any

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.utils import NotSupportedError

from backend.migration_safety.operations.indexes import dropping_index, making_index
from backend.migration_safety.operations.steps import (
    Model,
    StateUnchanged,
    Step,
    Stepwise,
    constraint,
    index_is,
    relation,
    validated,
)


def dropping(model: Model, name: str, editor: BaseDatabaseSchemaEditor) -> list[Step]:
    """The step that drops a constraint."""
    table, quoted = editor.quote_name(model._meta.db_table), editor.quote_name(name)
    return [Step(f"ALTER TABLE {table} DROP CONSTRAINT {quoted}", constraint(relation(model, editor), name))]


def not_valid_first(model: Model, name: str, create: str, editor: BaseDatabaseSchemaEditor) -> list[Step]:
    """The steps to a constraint whose ALTER TABLE ... ADD CONSTRAINT is `create`."""
    table, oid = editor.quote_name(model._meta.db_table), relation(model, editor)
    return [
        Step(f"{create} NOT VALID", f"NOT {constraint(oid, name)}"),
        validated(table, oid, name, editor.quote_name(name)),
    ]


class AddConstraint(Stepwise, migrations.AddConstraint):
    """A CHECK, or another constraint that knows NOT VALID, such as a foreign key of several columns.

    SQL:
        ALTER TABLE table ADD CONSTRAINT name CHECK (...) NOT VALID;  -- from now on, for new rows
        ALTER TABLE table VALIDATE CONSTRAINT name;  -- SHARE UPDATE EXCLUSIVE while all rows are read
    """

    def making(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """NOT VALID, then VALIDATE."""
        # A constraint that waits for the end of the migration puts its SQL there instead of giving it back.
        create = self.constraint.create_sql(model, editor) or editor.deferred_sql.pop()
        return not_valid_first(model, self.constraint.name, str(create), editor)

    def removing(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """DROP CONSTRAINT."""
        return dropping(model, self.constraint.name, editor)


class AddUnique(Stepwise, migrations.AddConstraint):
    """A unique constraint in three phases.

    One with a condition, expressions, `include` or `opclasses` is an index alone, as in Django.

    SQL:
        DROP INDEX CONCURRENTLY name;  -- what an interrupted attempt left INVALID
        CREATE UNIQUE INDEX CONCURRENTLY name ON table (...);
        ALTER TABLE table ADD CONSTRAINT name UNIQUE USING INDEX name;  -- looks at the catalog alone
    """

    def making(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT USING INDEX."""
        rule = _unique(self.constraint)
        index = _making_index(model, rule, rule.name, editor)
        return index if _is_index_alone(rule) else [*index, _using_index(model, rule, editor)]

    def removing(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """DROP CONSTRAINT, and its index with it."""
        rule = _unique(self.constraint)
        if _is_index_alone(rule):
            return dropping_index(rule.name, editor)
        return [*dropping(model, rule.name, editor), *dropping_index(rule.name, editor)]


class _UniquePhase(StateUnchanged):
    def __init__(self, model_name: str, constraint: models.UniqueConstraint) -> None:
        self.model_name, self.constraint = model_name, constraint

    def describe(self) -> str:
        """What sqlmigrate says."""
        return f"{type(self).__name__} {self.constraint.name} of {self.model_name}"


class AddUniqueIndex(_UniquePhase):
    """The first phase of a unique constraint, in a migration of its own: on a large table it takes long.

    The models learn of the constraint in the third, which changes nothing in the database:
    `SeparateDatabaseAndState(state_operations=[migrations.AddConstraint(...)])`.

    SQL:
        DROP INDEX CONCURRENTLY name;  -- what an interrupted attempt left INVALID
        CREATE UNIQUE INDEX CONCURRENTLY name ON table (...);
    """

    def making(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """CREATE UNIQUE INDEX CONCURRENTLY."""
        rule = _unique(self.constraint)
        return _making_index(model, rule, rule.name, editor)

    def removing(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:  # noqa: ARG002 - the base class's signature
        """DROP INDEX CONCURRENTLY."""
        return dropping_index(self.constraint.name, editor)


class UseUniqueIndex(_UniquePhase):
    """The second phase: the index of AddUniqueIndex becomes that of a constraint; not of one that is an index alone.

    SQL:
        ALTER TABLE table ADD CONSTRAINT name UNIQUE USING INDEX name;  -- ACCESS EXCLUSIVE, for a moment
    SQL, backwards, so that the rows are unique all the while:
        CREATE UNIQUE INDEX CONCURRENTLY name_back ON table (...);
        ALTER TABLE table DROP CONSTRAINT name;
        ALTER INDEX name_back RENAME TO name;
    """

    def making(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """ADD CONSTRAINT USING INDEX, after what an interrupted way back left has been put right.

        Raises:
            NotSupportedError: for Django the constraint is an index alone.
        """
        rule = _unique(self.constraint)
        if _is_index_alone(rule):
            raise NotSupportedError(f"Django takes {rule.name} for an index: leave it as AddUniqueIndex made it.")
        return [
            *_making_index(model, rule, rule.name, editor),
            *dropping_index(f"{rule.name}_back", editor),
            _using_index(model, rule, editor),
        ]

    def removing(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """An index beside the constraint's, which takes its place."""
        rule = _unique(self.constraint)
        back, gone = f"{rule.name}_back", f"NOT {constraint(relation(model, editor), rule.name)}"
        rename = f"ALTER INDEX {editor.quote_name(back)} RENAME TO {editor.quote_name(rule.name)}"
        return [
            *_making_index(model, rule, back, editor, unless=gone),
            *dropping(model, rule.name, editor),
            Step(rename, index_is(back, valid=True)),
        ]


def _unique(rule: models.BaseConstraint) -> models.UniqueConstraint:
    if not isinstance(rule, models.UniqueConstraint):
        raise TypeError("This operation is for models.UniqueConstraint; use AddConstraint.")
    return rule


def _is_index_alone(rule: Any) -> bool:
    return rule.condition is not None or bool(rule.expressions or rule.include or rule.opclasses)


def _making_index(
    model: Model, rule: Any, name: str, editor: BaseDatabaseSchemaEditor, *, unless: str = "false"
) -> list[Step]:
    if _is_index_alone(rule):
        create = str(rule.create_sql(model, editor))
        return making_index(name, create.replace("UNIQUE INDEX", "UNIQUE INDEX CONCURRENTLY", 1), editor)
    quote = editor.quote_name
    nulls = " NULLS NOT DISTINCT" if rule.nulls_distinct is False else ""
    columns = f"({_columns(model, rule.fields, editor)})"
    create = f"CREATE UNIQUE INDEX CONCURRENTLY {quote(name)} ON {quote(model._meta.db_table)} {columns}"
    there = constraint(relation(model, editor), name)
    return making_index(name, f"{create}{nulls}", editor, unless=f"{there} OR {unless}")


def _using_index(model: Model, rule: Any, editor: BaseDatabaseSchemaEditor) -> Step:
    table, name = editor.quote_name(model._meta.db_table), editor.quote_name(rule.name)
    deferrable = f" DEFERRABLE INITIALLY {rule.deferrable.name}" if rule.deferrable else ""
    add = f"ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}{deferrable}"
    return Step(add, f"NOT {constraint(relation(model, editor), rule.name)}")


def _columns(model: Model, fields: Sequence[str], editor: Any) -> str:
    columns = {field.name: field.column for field in model._meta.concrete_fields}
    return ", ".join(editor.quote_name(columns[field]) for field in fields)
