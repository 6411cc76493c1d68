"""Constraints that come in two or three phases, so that no lock is held while rows are checked."""

from collections.abc import Sequence
from typing import Any

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from backend.migration_safety.operations.indexes import dropping_index, making_index
from backend.migration_safety.operations.steps import Model, Step, Stepwise, constraint, relation, validated


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
    """A unique constraint in three phases; one with a condition or expressions is an index alone, as in Django.

    SQL:
        DROP INDEX CONCURRENTLY name;  -- what an interrupted attempt left INVALID
        CREATE UNIQUE INDEX CONCURRENTLY name ON table (...);
        ALTER TABLE table ADD CONSTRAINT name UNIQUE USING INDEX name;  -- looks at the catalog alone
    """

    def making(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT USING INDEX."""
        rule = self._unique()
        quote, table, oid = editor.quote_name, editor.quote_name(model._meta.db_table), relation(model, editor)
        name = quote(rule.name)
        if rule.condition is not None or rule.expressions:
            create = str(rule.create_sql(model, editor))
            return making_index(rule.name, create.replace("UNIQUE INDEX", "UNIQUE INDEX CONCURRENTLY", 1), editor)
        nulls = " NULLS NOT DISTINCT" if rule.nulls_distinct is False else ""
        include = f" INCLUDE ({_columns(model, rule.include, editor)})" if rule.include else ""
        columns = _columns(model, rule.fields, editor)
        create = f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ({columns}){include}{nulls}"
        deferrable = f" DEFERRABLE INITIALLY {rule.deferrable.name}" if rule.deferrable else ""
        add = f"ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}{deferrable}"
        there = constraint(oid, rule.name)
        return [*making_index(rule.name, create, editor, unless=there), Step(add, f"NOT {there}")]

    def removing(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """DROP CONSTRAINT, and its index with it."""
        rule = self._unique()
        if rule.condition is not None or rule.expressions:
            return dropping_index(rule.name, editor)
        return [*dropping(model, rule.name, editor), *dropping_index(rule.name, editor)]

    def _unique(self) -> Any:
        if not isinstance(self.constraint, models.UniqueConstraint):
            raise TypeError("AddUnique is for models.UniqueConstraint; use AddConstraint.")
        return self.constraint


def _columns(model: Model, fields: Sequence[str], editor: Any) -> str:
    columns = {field.name: field.column for field in model._meta.concrete_fields}
    return ", ".join(editor.quote_name(columns[field]) for field in fields)
