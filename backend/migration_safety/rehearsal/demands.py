"""What a later migration demands of rows that are there today: unique keys and checks of the models in the end."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.state import ModelState, ProjectState
from psycopg import Connection, sql


class Key(NamedTuple):
    """The columns of a unique key without a condition, and whether two NULLs in them differ."""

    columns: tuple[str, ...]
    nulls_distinct: bool = True


class Check(NamedTuple):
    """A condition in SQL (per cent signs doubled) with the columns that it is about."""

    columns: tuple[str, ...]
    condition: str

    @property
    def literals(self) -> list[str]:
        """The texts that it mentions: one of them may be what it wants."""
        return re.findall(r"'(?:[^']|'')*'", self.condition)


class Unfit(Exception):
    """Rows do not satisfy a demand."""

    def __init__(self, demand: Key | Check) -> None:
        self.is_key, self.columns = isinstance(demand, Key), demand.columns
        self.demand = f"the {'unique key' if self.is_key else 'check'} of {', '.join(demand.columns)}"
        self.literals = demand.literals if isinstance(demand, Check) else []
        super().__init__(self.demand)


@dataclass(frozen=True, slots=True)
class Demands:
    """By table."""

    keys: Mapping[str, Sequence[Key]] = field(default_factory=dict)
    checks: Mapping[str, Sequence[Check]] = field(default_factory=dict)

    def refuse(self, connection: "Connection[Any]", table: str, there: Collection[str], *, checks: bool) -> None:
        """Returns if the table's rows satisfy the demands whose columns are `there`; checks only if wanted.

        SQL: 1 for each demand.

        Raises:
            Unfit: they do not.
        """
        wanted: list[Key | Check] = [*self.keys.get(table, ()), *(self.checks.get(table, ()) if checks else ())]
        for demand in wanted:
            if set(demand.columns) <= set(there) and _violated(connection, table, demand):
                raise Unfit(demand)


def demands(state: ProjectState, connection: BaseDatabaseWrapper) -> Demands:
    """The keys and checks of all models of a state."""
    return Demands(unique_keys(state), checks(state, connection))


def unique_keys(state: ProjectState) -> dict[str, list[Key]]:
    """The unique keys without a condition, by table."""
    return {
        model.options.get("db_table") or f"{app}_{name}": list(_keys_of(model))
        for (app, name), model in state.models.items()
    }


def checks(state: ProjectState, connection: BaseDatabaseWrapper) -> dict[str, list[Check]]:
    """The check constraints, by table."""
    found: dict[str, list[Check]] = {}
    editor = connection.schema_editor(collect_sql=True)
    for app, name in state.models:
        if rules := [rule for rule in state.models[app, name].options.get("constraints", ()) if _is_check(rule)]:
            model = state.apps.get_model(app, name)
            columns = [column.column for column in model._meta.concrete_fields]
            for rule in rules:
                condition = str(rule.constraint_sql(model, editor)).partition(" CHECK ")[2].replace("%", "%%")
                about = tuple(column for column in columns if f'"{column}"' in condition)
                found.setdefault(model._meta.db_table, []).append(Check(about, condition))
    return found


def _violated(connection: "Connection[Any]", table: str, demand: Key | Check) -> bool:
    name = sql.Identifier(table)
    if isinstance(demand, Check):
        query = sql.SQL("SELECT 1 FROM {} WHERE NOT ({}) LIMIT 1").format(name, sql.SQL(demand.condition))
    else:
        columns = sql.SQL(", ").join(map(sql.Identifier, demand.columns))
        told_apart = sql.SQL("NOT ROW({}) IS NOT NULL").format(columns) if demand.nulls_distinct else sql.SQL("false")
        query = sql.SQL("SELECT 1 FROM {} WHERE NOT ({}) GROUP BY {} HAVING count(*) > 1 LIMIT 1").format(
            name, told_apart, columns
        )
    try:
        with connection.transaction():
            return connection.execute(query, {}).fetchone() is not None
    except psycopg.errors.ProgrammingError:  # a column has another type by then
        return False


def _keys_of(model: ModelState) -> Iterator[Key]:
    columns = {
        name: field.db_column or (f"{name}_id" if isinstance(field, models.ForeignKey) else name)
        for name, field in model.fields.items()
    }
    for rule in model.options.get("constraints", ()):
        if isinstance(rule, models.UniqueConstraint) and rule.condition is None and rule.fields:
            yield Key(tuple(columns[name] for name in rule.fields), rule.nulls_distinct is not False)
    alone = [(name,) for name, column in model.fields.items() if column.unique and not column.primary_key]
    for fields in [*alone, *model.options.get("unique_together", ())]:
        yield Key(tuple(columns[name] for name in fields))


def _is_check(rule: models.BaseConstraint) -> bool:
    return isinstance(rule, models.CheckConstraint)
