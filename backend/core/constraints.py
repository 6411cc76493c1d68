"""What tenant tables owe the database, declared on the models so that makemigrations writes it. No field lives here."""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any

from django.db import models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models.constraints import BaseConstraint

_EVENTS = {
    "INSERT": "NEW TABLE AS changed",
    "UPDATE": "OLD TABLE AS former NEW TABLE AS changed",
    "DELETE": "OLD TABLE AS changed",
}
TENANT = "nullif(current_setting('app.organization_id', true), '')::uuid"


class OrderIndex(models.Index):
    """An index that serves one named order; its name may have PostgreSQL's 63 characters instead of Django's 30."""

    max_name_length = 63


class _DatabaseRule(BaseConstraint):
    """A rule that the database alone enforces, created after the table."""

    def constraint_sql(self, model: type[models.Model] | None, schema_editor: BaseDatabaseSchemaEditor | None) -> str:
        """Nothing inline: the rule needs the finished table, so it runs at the end of the migration."""
        assert model is not None and schema_editor is not None
        if sql := self.create_sql(model, schema_editor):
            schema_editor.deferred_sql.append(sql)
        return None  # type: ignore[return-value]  # Django drops a None from the column list

    def validate(self, *_args: Any, **_kwargs: Any) -> None:
        """Nothing to check in Python: the database decides."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.deconstruct() == other.deconstruct()

    __hash__ = BaseConstraint.__hash__


class TenantPolicy(_DatabaseRule):
    """Row-level security, enabled and forced, with the one policy that keeps organizations apart.

    An unset organization matches no row, for reading and for writing alike. The policy comes before ENABLE, so that no
    moment exists in which the table is enabled without one.
    """

    def create_sql(self, model: type[models.Model] | None, schema_editor: BaseDatabaseSchemaEditor | None) -> str:
        """CREATE POLICY, ENABLE and FORCE ROW LEVEL SECURITY."""
        assert model is not None and schema_editor is not None
        table, name = schema_editor.quote_name(model._meta.db_table), schema_editor.quote_name(self.name)
        return (
            f"CREATE POLICY {name} ON {table} USING (organization_id = {TENANT})"
            f" WITH CHECK (organization_id = {TENANT});"
            f" ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; ALTER TABLE {table} FORCE ROW LEVEL SECURITY"
        )

    def remove_sql(self, model: type[models.Model] | None, schema_editor: BaseDatabaseSchemaEditor | None) -> str:
        """NO FORCE, DISABLE ROW LEVEL SECURITY and DROP POLICY."""
        assert model is not None and schema_editor is not None
        table, name = schema_editor.quote_name(model._meta.db_table), schema_editor.quote_name(self.name)
        return (
            f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY; ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;"
            f" DROP POLICY {name} ON {table}"
        )


class ChangeAudit(_DatabaseRule):
    """Triggers that write an audit entry for every statement that changes rows of the table.

    They belong to the statement, not to the row: an import of 100,000 rows makes one entry. The function stands in the
    migrations of `audit`, on which the one that creates the first of these depends. `tenant` is the column that says
    whose rows they are; a change of none but the `signs` of life is no entry.
    """

    def __init__(self, *, name: str, tenant: str = "organization_id", signs: Sequence[str] = ()) -> None:
        self.tenant, self.signs = tenant, tuple(signs)
        super().__init__(name=name)

    def deconstruct(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        """The arguments for the migration file."""
        path, args, kwargs = super().deconstruct()
        signs = {"signs": self.signs} if self.signs else {}
        return path, tuple(args), {**kwargs, "tenant": self.tenant, **signs}

    def create_sql(self, model: type[models.Model] | None, schema_editor: BaseDatabaseSchemaEditor | None) -> str:
        """CREATE TRIGGER, once for each kind of statement: PostgreSQL gives no rows to one for several."""
        assert model is not None and schema_editor is not None
        table = schema_editor.quote_name(model._meta.db_table)
        arguments = ", ".join(f"'{column}'" for column in (self.tenant, *self.signs))
        return "; ".join(
            f"CREATE TRIGGER {schema_editor.quote_name(f'{self.name}_{event.lower()}')} AFTER {event} ON {table}"
            f" REFERENCING {rows} FOR EACH STATEMENT EXECUTE FUNCTION audit_change({arguments})"
            for event, rows in _EVENTS.items()
        )

    def remove_sql(self, model: type[models.Model] | None, schema_editor: BaseDatabaseSchemaEditor | None) -> str:
        """DROP TRIGGER, three times."""
        assert model is not None and schema_editor is not None
        table = schema_editor.quote_name(model._meta.db_table)
        names = (schema_editor.quote_name(f"{self.name}_{event.lower()}") for event in _EVENTS)
        return "; ".join(f"DROP TRIGGER {name} ON {table}" for name in names)


class TenantReference(_DatabaseRule):
    """FOREIGN KEY (organization_id, x_id) REFERENCES target (organization_id, id).

    Foreign-key checks ignore row-level security, so a key without the organization would let one tenant point at
    another's row.
    """

    def __init__(self, *, field: str, name: str) -> None:
        self.field = field
        super().__init__(name=name)

    def deconstruct(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        """The arguments for the migration file."""
        path, args, kwargs = super().deconstruct()
        return path, tuple(args), {**kwargs, "field": self.field}

    def create_sql(self, model: type[models.Model] | None, schema_editor: BaseDatabaseSchemaEditor | None) -> str:
        """ADD CONSTRAINT with both columns, at the end of the migration: the target's unique key may come after."""
        assert model is not None and schema_editor is not None
        quote = schema_editor.quote_name
        field = model._meta.get_field(self.field)
        target = field.related_model
        assert isinstance(target, type) and isinstance(field, models.ForeignKey)
        schema_editor.deferred_sql.append(
            f"ALTER TABLE {quote(model._meta.db_table)} ADD CONSTRAINT {quote(self.name)}"
            f" FOREIGN KEY (organization_id, {quote(field.column)})"
            f" REFERENCES {quote(target._meta.db_table)} (organization_id, id)"
        )
        return None  # type: ignore[return-value]  # nothing to run at once; the stub says str

    def remove_sql(self, model: type[models.Model] | None, schema_editor: BaseDatabaseSchemaEditor | None) -> str:
        """DROP CONSTRAINT."""
        assert model is not None and schema_editor is not None
        quote = schema_editor.quote_name
        return f"ALTER TABLE {quote(model._meta.db_table)} DROP CONSTRAINT {quote(self.name)}"


def one_of(table: str, field: str, values: Iterable[Any]) -> models.CheckConstraint:
    """The CHECK that a column holds one of the values of an enum."""
    members = [value.value if isinstance(value, Enum) else value for value in values]
    return models.CheckConstraint(condition=models.Q(**{f"{field}__in": members}), name=f"{table}_{field}_ck")


def check(table: str, rule: str, condition: models.Q) -> models.CheckConstraint:
    """A CHECK named `<table>_<rule>_ck`."""
    return models.CheckConstraint(condition=condition, name=f"{table}_{rule}_ck")
