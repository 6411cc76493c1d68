"""Columns: NOT NULL and foreign keys without a scan under lock, and the parts of expand and contract."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState
from django.db.utils import NotSupportedError

from backend.migration_safety.operations.constraints import dropping, not_valid_first
from backend.migration_safety.operations.steps import (
    Model,
    StateUnchanged,
    Step,
    Stepwise,
    constraint,
    literal,
    relation,
    validated,
)

_NOT_NULL_NOT_VALID = 180_000  # first server version whose NOT NULL constraints may be NOT VALID
_NAME_LIMIT = 63


class SetNotNull(Stepwise, migrations.AlterField):
    """A column becomes NOT NULL; nothing else of the field may change in the database.

    SQL, from PostgreSQL 18 on:
        ALTER TABLE table ADD CONSTRAINT name NOT NULL column NOT VALID;
        ALTER TABLE table VALIDATE CONSTRAINT name;
    SQL, before:
        ALTER TABLE table ADD CONSTRAINT name CHECK (column IS NOT NULL) NOT VALID;
        ALTER TABLE table VALIDATE CONSTRAINT name;
        ALTER TABLE table ALTER COLUMN column SET NOT NULL;  -- the CHECK spares the scan
        ALTER TABLE table DROP CONSTRAINT name;
    """

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Makes it NOT NULL.

        Raises:
            NotSupportedError: the field changes in another way too, which the column would not.
        """
        _refuse_other_changes(self, app_label, from_state, "null")
        super().database_forwards(app_label, schema_editor, from_state, to_state)

    def making(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """The way that the server knows."""
        editor.connection.ensure_connection()
        if editor.connection.connection.info.server_version >= _NOT_NULL_NOT_VALID:
            return self.by_constraint(model, editor)
        return self.by_check(model, editor)

    def by_constraint(self, model: Model, editor: BaseDatabaseSchemaEditor) -> list[Step]:
        """The way of PostgreSQL 18."""
        table, column, name = self._names(model, editor)
        oid, quoted = relation(model, editor), editor.quote_name(name)
        add = f"ALTER TABLE {table} ADD CONSTRAINT {quoted} NOT NULL {column} NOT VALID"
        return [Step(add, f"NOT {self._is_not_null(model, editor)}"), validated(table, oid, name, quoted)]

    def by_check(self, model: Model, editor: BaseDatabaseSchemaEditor) -> list[Step]:
        """The way of every version."""
        table, column, name = self._names(model, editor)
        oid, quoted, done = relation(model, editor), editor.quote_name(name), self._is_not_null(model, editor)
        add = f"ALTER TABLE {table} ADD CONSTRAINT {quoted} CHECK ({column} IS NOT NULL) NOT VALID"
        return [
            Step(add, f"NOT ({constraint(oid, name)} OR {done})"),
            validated(table, oid, name, quoted),
            Step(f"ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL", f"NOT {done}"),
            Step(f"ALTER TABLE {table} DROP CONSTRAINT {quoted}", constraint(oid, name, "contype = 'c'")),
        ]

    def removing(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """DROP NOT NULL, and what an interrupted attempt left."""
        table, column, name = self._names(model, editor)
        left = constraint(relation(model, editor), name, "contype = 'c'")
        return [
            Step(f"ALTER TABLE {table} DROP CONSTRAINT {editor.quote_name(name)}", left),
            Step(f"ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL", self._is_not_null(model, editor)),
        ]

    def _names(self, model: Model, editor: BaseDatabaseSchemaEditor) -> tuple[str, str, str]:
        table, column = model._meta.db_table, _column(model, self.name)
        return editor.quote_name(table), editor.quote_name(column), f"{table}_{column}_not_null"[:_NAME_LIMIT]

    def _is_not_null(self, model: Model, editor: BaseDatabaseSchemaEditor) -> str:
        return _attribute(model, _column(model, self.name), editor, "attnotnull")


class AddForeignKey(Stepwise, migrations.AlterField):
    """The database holds a reference that the field had with `db_constraint=False` before.

    SQL:
        ALTER TABLE table ADD CONSTRAINT name FOREIGN KEY (column) REFERENCES target (id)
          DEFERRABLE INITIALLY DEFERRED NOT VALID;  -- SHARE ROW EXCLUSIVE on both tables, for a moment
        ALTER TABLE table VALIDATE CONSTRAINT name;  -- ROW SHARE on the target while all rows are read
    """

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Makes the constraint.

        Raises:
            NotSupportedError: the field changes in another way too, which the column would not.
        """
        _refuse_other_changes(self, app_label, from_state, "db_constraint")
        super().database_forwards(app_label, schema_editor, from_state, to_state)

    def making(self, model: Model, editor: Any) -> Sequence[Step]:
        """NOT VALID, then VALIDATE."""
        statement = self._create(model, editor)
        return not_valid_first(model, self._name(statement), str(statement), editor)

    def removing(self, model: Model, editor: Any) -> Sequence[Step]:
        """DROP CONSTRAINT."""
        return dropping(model, self._name(self._create(model, editor)), editor)

    def _create(self, model: Model, editor: Any) -> Any:
        field = model._meta.get_field(self.name)
        return editor._create_fk_sql(model, field, "_fk_%(to_table)s_%(to_column)s")  # noqa: SLF001 - Django's own name

    def _name(self, statement: Any) -> str:
        return str(statement.parts["name"]).strip('"')


class RenameFieldOnly(migrations.RenameField):
    """A field has another name; its column keeps its own, so the code before goes on working.

    The model says `db_column="<old>"` from now on.

    SQL: none.
    """

    resumable: ClassVar[bool] = True

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """The field under its new name, with the column of the old one."""
        field = state.models[app_label, self.model_name_lower].fields[self.old_name].clone()
        field.set_attributes_from_name(self.old_name)
        field.db_column = field.column
        state.alter_field(app_label, self.model_name_lower, self.old_name, field, preserve_default=True)
        super().state_forwards(app_label, state)

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Nothing."""

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Nothing."""


class ForgetField(Stepwise, migrations.RemoveField):
    """The models forget a column that stays; the first half of dropping it.

    `default` is an SQL expression that the database writes where the new code says nothing: needed for a NOT NULL
    column, and what the code before finds in such rows.

    SQL:
        ALTER TABLE table ALTER COLUMN column SET DEFAULT default;
    """

    adds: ClassVar[bool] = False

    def __init__(self, model_name: str, name: str, default: str = "") -> None:
        super().__init__(model_name, name)
        self.default = default

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        """The arguments."""
        return type(self).__name__, [self.model_name, self.name, self.default], {}

    def removing(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """SET DEFAULT."""
        return self._step(model, editor, f"SET DEFAULT {self.default}", "NOT ") if self.default else []

    def making(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """DROP DEFAULT."""
        return self._step(model, editor, "DROP DEFAULT", "") if self.default else []

    def _step(self, model: Model, editor: BaseDatabaseSchemaEditor, change: str, negation: str) -> list[Step]:
        table, column = editor.quote_name(model._meta.db_table), _column(model, self.name)
        needed = negation + _attribute(model, column, editor, "atthasdef")
        return [Step(f"ALTER TABLE {table} ALTER COLUMN {editor.quote_name(column)} {change}", needed)]


class DropColumn(StateUnchanged):
    """A column that the models have forgotten goes; the second half of dropping it, one release later.

    `definition` is what it was ("integer DEFAULT 0 NOT NULL"): backwards an empty one of that kind comes. The values
    are lost, so the migration says why in `safety_exceptions["rows-differ"]`.

    SQL:
        ALTER TABLE table DROP COLUMN column;  -- looks at the catalog alone
    """

    adds: ClassVar[bool] = False

    def __init__(self, model_name: str, column: str, definition: str) -> None:
        self.model_name, self.column, self.definition = model_name, column, definition

    def describe(self) -> str:
        """What sqlmigrate says."""
        return f"Drop column {self.column} of {self.model_name}"

    def removing(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """DROP COLUMN."""
        table, column = editor.quote_name(model._meta.db_table), editor.quote_name(self.column)
        there = _attribute(model, self.column, editor, "true")
        return [Step(f"ALTER TABLE {table} DROP COLUMN {column}", there)]

    def making(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """ADD COLUMN."""
        table, column = editor.quote_name(model._meta.db_table), editor.quote_name(self.column)
        there = _attribute(model, self.column, editor, "true")
        return [Step(f"ALTER TABLE {table} ADD COLUMN {column} {self.definition}", f"NOT {there}")]


class MirrorColumns(StateUnchanged):
    """Two columns tell the same while some code writes the one and some the other: for a change of type.

    `forward` makes the new value of the old one and `backward` the reverse, as SQL on NEW ("NEW.quantity::bigint").

    SQL:
        CREATE FUNCTION table_new_mirror() RETURNS trigger ...;
        CREATE TRIGGER table_new_mirror BEFORE INSERT OR UPDATE ON table ...;  -- SHARE ROW EXCLUSIVE, for a moment
    """

    def __init__(self, model_name: str, old: str, new: str, *, forward: str, backward: str) -> None:
        self.model_name, self.old, self.new = model_name, old, new
        self.forward, self.backward = forward, backward

    def describe(self) -> str:
        """What sqlmigrate says."""
        return f"{type(self).__name__} {self.old} and {self.new} of {self.model_name}"

    def making(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """Function and trigger."""
        name, quote = self._name(model), editor.quote_name
        old, new, table = quote(self.old), quote(self.new), quote(model._meta.db_table)
        # Whoever changes one of them means that one; a row that comes with both is taken as it is.
        body = (
            f"BEGIN IF TG_OP = 'INSERT' THEN"
            f" IF NEW.{new} IS NULL THEN NEW.{new} := {self.forward};"
            f" ELSIF NEW.{old} IS NULL THEN NEW.{old} := {self.backward}; END IF;"
            f" ELSIF NEW.{new} IS DISTINCT FROM OLD.{new} AND NEW.{old} IS NOT DISTINCT FROM OLD.{old}"
            f" THEN NEW.{old} := {self.backward};"
            f" ELSIF NEW.{old} IS DISTINCT FROM OLD.{old} AND NEW.{new} IS NOT DISTINCT FROM OLD.{new}"
            f" THEN NEW.{new} := {self.forward}; END IF; RETURN NEW; END"
        )
        function = (
            f"CREATE OR REPLACE FUNCTION {quote(name)}() RETURNS trigger LANGUAGE plpgsql AS $mirror${body}$mirror$"
        )
        trigger = (
            f"CREATE TRIGGER {quote(name)} BEFORE INSERT OR UPDATE ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION {quote(name)}()"
        )
        there = self._there(model, editor)
        return [Step(function, f"NOT {there}"), Step(trigger, f"NOT {there}")]

    def removing(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """The trigger, then its function."""
        name, quote = self._name(model), editor.quote_name
        function = f"to_regprocedure({literal(quote(name) + '()')}) IS NOT NULL"
        return [
            Step(f"DROP TRIGGER {quote(name)} ON {quote(model._meta.db_table)}", self._there(model, editor)),
            Step(f"DROP FUNCTION {quote(name)}()", function),
        ]

    def _name(self, model: Model) -> str:
        return f"{model._meta.db_table}_{self.new}_mirror"[:_NAME_LIMIT]

    def _there(self, model: Model, editor: BaseDatabaseSchemaEditor) -> str:
        name = literal(self._name(model))
        return f"EXISTS (SELECT 1 FROM pg_trigger WHERE tgrelid = {relation(model, editor)} AND tgname = {name})"


class UnmirrorColumns(MirrorColumns):
    """Two columns need not tell the same any more; the arguments are those of the MirrorColumns that it ends.

    SQL:
        DROP TRIGGER table_new_mirror ON table;  -- ACCESS EXCLUSIVE, for a moment
        DROP FUNCTION table_new_mirror();
    """

    adds: ClassVar[bool] = False


def _refuse_other_changes(operation: migrations.AlterField, app: str, before: ProjectState, allowed: str) -> None:
    (old_type, old), (new_type, new) = (
        _in_the_database(field, allowed)
        for field in (before.models[app, operation.model_name_lower].fields[operation.name], operation.field)
    )
    if changed := sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name)):
        what = f"its {', '.join(changed)}"
    elif old_type != new_type:
        what = f"its type, from {old_type} to {new_type}"
    else:
        return
    raise NotSupportedError(
        f"{type(operation).__name__} changes {operation.model_name}.{operation.name} in nothing but {allowed}; the"
        f" migration wants to change {what} too: make that a migration of its own."
    )


def _in_the_database(field: Any, allowed: str) -> tuple[str, dict[str, Any]]:
    """The type of a field and its arguments, but for `allowed` and those that no column has."""
    _name, path, _positional, named = field.deconstruct()
    ignored = {*field.non_db_attrs, allowed, "default"} - {"db_column"}
    target = {"to": str(named["to"]).lower()} if "to" in named else {}
    return path, {name: value for name, value in (named | target).items() if name not in ignored}


def _column(model: Model, field: str) -> str:
    return str(model._meta.get_field(field).column)  # type: ignore[union-attr]  # concrete: it has a column


def _attribute(model: Model, column: str, editor: BaseDatabaseSchemaEditor, expression: str) -> str:
    """Whether the expression holds for a column's entry in pg_attribute; false if there is no such column."""
    return (
        f"coalesce((SELECT {expression} FROM pg_attribute WHERE attrelid = {relation(model, editor)}"
        f" AND attname = {literal(column)} AND NOT attisdropped), false)"
    )
