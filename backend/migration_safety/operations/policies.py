"""Row-level security, without a moment in which rows vanish."""

from collections.abc import Sequence

from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from backend.migration_safety.operations.steps import Model, StateUnchanged, Step, literal, relation


class EnableRowLevelSecurity(StateUnchanged):
    """Row-level security with one policy, which is there before it counts; the owner is bound too.

    `using` is SQL; `check` is what new rows must satisfy, the same unless given.

    SQL:
        CREATE POLICY name ON table USING (using) WITH CHECK (check);
        ALTER TABLE table ENABLE ROW LEVEL SECURITY;
        ALTER TABLE table FORCE ROW LEVEL SECURITY;
    """

    def __init__(self, model_name: str, name: str, using: str, check: str = "") -> None:
        self.model_name, self.name, self.using, self.check = model_name, name, using, check

    def describe(self) -> str:
        """What sqlmigrate says."""
        return f"Enable row-level security on {self.model_name} with policy {self.name}"

    def making(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """Policy, ENABLE, FORCE."""
        table, oid, check = editor.quote_name(model._meta.db_table), relation(model, editor), self.check or self.using
        create = f"CREATE POLICY {editor.quote_name(self.name)} ON {table} USING ({self.using}) WITH CHECK ({check})"
        return [
            Step(create, f"NOT {self._there(oid)}"),
            Step(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY", f"NOT {_flag(oid, 'relrowsecurity')}"),
            Step(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY", f"NOT {_flag(oid, 'relforcerowsecurity')}"),
        ]

    def removing(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """NO FORCE, DISABLE, and the policy last."""
        table, oid = editor.quote_name(model._meta.db_table), relation(model, editor)
        return [
            Step(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY", _flag(oid, "relforcerowsecurity")),
            Step(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY", _flag(oid, "relrowsecurity")),
            Step(f"DROP POLICY {editor.quote_name(self.name)} ON {table}", self._there(oid)),
        ]

    def _there(self, table: str) -> str:
        return f"EXISTS (SELECT 1 FROM pg_policy WHERE polrelid = {table} AND polname = {literal(self.name)})"


def _flag(table: str, column: str) -> str:
    return f"(SELECT {column} FROM pg_class WHERE oid = {table})"
