"""Synthetic rows for the tables of historical models: one INSERT ... SELECT FROM generate_series for each table.

What a row may hold is found by trial: three rows are inserted and taken back, and the columns that a violated
constraint names are drawn anew until PostgreSQL accepts them. The first row of every table has the key 1, and every
foreign key leads to it unless a unique key wants it to vary, so that all rows belong to one tenant. Keys that only a
later migration makes unique are kept too, as the real rows do by then.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.state import ModelState, ProjectState
from psycopg import Connection, sql

from backend.migration_safety.rehearsal.values import NULL, OMITTED, candidates, of_row
from backend.migration_safety.scratch import options as project

SPARE = 4  # rows that a table has more than those that refer to it: keys for the rows that the load inserts
_ATTEMPTS = 400
_TRIAL = 3


@dataclass(slots=True)
class Table:
    """A table with the expressions of its synthetic rows; without rows (0) it could not be filled (`reason`)."""

    name: str
    key: str
    rows: int = 0
    expressions: dict[str, str] = field(default_factory=dict)
    reason: str = ""

    def insert(self, first: str, last: str) -> sql.Composed:
        """The INSERT of the rows from `first` to `last`."""
        named = {column: text for column, text in self.expressions.items() if text != OMITTED}
        return sql.SQL("INSERT INTO {} ({}) SELECT {} FROM generate_series({}::bigint, {}::bigint) AS g").format(
            sql.Identifier(self.name),
            sql.SQL(", ").join(map(sql.Identifier, named)),
            sql.SQL(", ").join(map(raw, named.values())),
            raw(first),
            raw(last),
        )


def raw(text: str) -> sql.SQL:
    """SQL as it stands: expressions of values.py, or a project's own constant."""
    return sql.SQL(text)


@dataclass(frozen=True, slots=True)
class _Column:
    kind: str
    nullable: bool
    has_default: bool


class _Twice(Exception):
    """Two rows have the same values in columns that will be a unique key; the columns are the argument."""


Keys = Mapping[str, Sequence[tuple[str, ...]]]


def unique_keys(state: ProjectState) -> Keys:
    """The columns of each unique key without a condition, by table."""
    return {
        model.options.get("db_table") or f"{app}_{name}": list(_keys_of(model))
        for (app, name), model in state.models.items()
    }


class Rows:
    """The synthetic rows of one scratch database; tables are filled when they are first asked for.

    `keys` are those that the tables have in the end.
    """

    def __init__(
        self, connection: "Connection[Any]", rows: int, begin: Sequence[str] = (), keys: Keys | None = None
    ) -> None:
        self._connection, self._rows, self._begin, self._keys = connection, rows, begin, keys or {}
        self._tables: dict[str, Table] = {}

    def tables(self, wanted: Iterable[type[models.Model]], django: BaseDatabaseWrapper) -> list[Table]:
        """The tables of the models and of all that they refer to, parents first, filled.

        SQL: about 5 for each table that is new, 1 for one that was filled before.
        """
        found = []
        for model in _parents_first(wanted):
            name = model._meta.db_table
            actual = self._columns(name)
            if not actual:
                continue
            table = self._tables.get(name)
            if table is None:
                parents = [self._tables.get(parent._meta.db_table) for parent in _parents(model) if parent is not model]
                least = min((parent.rows for parent in parents if parent is not None and parent.rows), default=0)
                table = Table(name, model._meta.pk.column or "")
                self._fill(table, model, actual, django, least - SPARE if least else self._rows)
                self._tables[name] = table
            else:
                _follow(table, model, actual)
            found.append(table)
        return found

    def _columns(self, table: str) -> dict[str, _Column]:
        return {
            name: _Column(kind, nullable, has_default)
            for name, kind, nullable, has_default in self._connection.execute(
                "SELECT a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,"
                " a.atthasdef OR a.attidentity <> '' FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
                " WHERE c.relname = %s AND c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')"
                " AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''",
                [table],
            ).fetchall()
        }

    def _fill(
        self,
        table: Table,
        model: type[models.Model],
        actual: dict[str, _Column],
        django: BaseDatabaseWrapper,
        rows: int,
    ) -> None:
        options = {
            field.column: _options(field, actual, django)
            for field in model._meta.concrete_fields
            if field.column in actual
        }
        if missing := [column for column, texts in options.items() if not texts]:
            table.reason = f"no value is known for the type of {', '.join(missing)}"
            return
        draw = random.Random(table.name)  # noqa: S311 - the same rows in every run; nothing secret
        table.expressions = {column: texts[0] for column, texts in options.items()}
        for _attempt in range(_ATTEMPTS):
            try:
                self._try(table, rows)
            except (psycopg.errors.IntegrityError, psycopg.errors.DataError) as error:
                table.reason = f"no synthetic row satisfies {error.diag.constraint_name or error.diag.message_primary}"
                for column in sorted(self._at_fault(error, table.name) & options.keys() or options.keys()):
                    if actual[column].kind == "text" and isinstance(error, psycopg.errors.CheckViolation):
                        options[column] = list(dict.fromkeys([*options[column], *self._literals(error, table.name)]))
                    table.expressions[column] = _draw(draw, options[column], error)
            except _Twice as error:
                table.reason = f"no synthetic row satisfies the unique key of {', '.join(error.args)}"
                able = [column for column in error.args if _varying(options[column])]
                if not able:
                    return
                column = draw.choice(able)
                table.expressions[column] = draw.choice(_varying(options[column]))
            else:
                table.rows, table.reason = rows, ""
                return

    def _try(self, table: Table, rows: int) -> None:
        """A few rows first, so that a wrong draw costs little; then all of them, with the sequence after them."""
        with self._connection.transaction():
            for statement in self._begin:
                self._connection.execute(raw(statement))
            with self._connection.transaction(force_rollback=True):
                self._connection.execute(table.insert("1", str(min(_TRIAL, rows))), {})
                self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
                self._refuse_twins(table)
            self._connection.execute(table.insert("1", str(rows)), {})
            self._refuse_twins(table)
            self._connection.execute(
                "SELECT setval(s, %s) FROM pg_get_serial_sequence(quote_ident(%s), %s) AS s WHERE s IS NOT NULL",
                [rows + SPARE, table.name, table.key],
            )

    def _refuse_twins(self, table: Table) -> None:
        for key in self._keys.get(table.name, ()):
            if table.expressions.keys() >= set(key):
                columns = sql.SQL(", ").join(map(sql.Identifier, key))
                twins = sql.SQL("SELECT 1 FROM {} GROUP BY {} HAVING count(*) > 1 LIMIT 1")
                if self._connection.execute(twins.format(sql.Identifier(table.name), columns)).fetchone():
                    raise _Twice(*(column for column in key if column != project()["TENANT_COLUMN"]))

    def _literals(self, error: psycopg.Error, table: str) -> list[str]:
        """The texts that a CHECK mentions: one of them may be what it wants."""
        found = self._connection.execute(
            "SELECT m[1] FROM pg_constraint, regexp_matches(pg_get_constraintdef(oid), $$'(?:[^']|'')*'$$, 'g') AS m"
            " WHERE conname = %s AND conrelid = to_regclass(quote_ident(%s))",
            [error.diag.constraint_name, table],
        ).fetchall()
        return [literal.replace("%", "%%") for (literal,) in found]

    def _at_fault(self, error: psycopg.Error, table: str) -> set[str]:
        if column := error.diag.column_name:
            return {column}
        rows = self._connection.execute(
            "SELECT attname FROM pg_attribute JOIN ("
            " SELECT conrelid AS relation, conkey::int2[] AS columns FROM pg_constraint WHERE conname = %(name)s UNION"
            " SELECT indrelid, indkey::int2[] FROM pg_index WHERE indexrelid = to_regclass(quote_ident(%(name)s))"
            ") AS rule ON attrelid = relation AND attnum = ANY(columns)"
            " WHERE relation = to_regclass(quote_ident(%(table)s))",
            {"name": error.diag.constraint_name or "", "table": table},
        ).fetchall()
        return {name for (name,) in rows}


def _draw(draw: random.Random, texts: list[str], error: psycopg.Error) -> str:
    """Another expression; a unique key is satisfied by one that varies."""
    if isinstance(error, psycopg.errors.UniqueViolation):
        texts = _varying(texts) or texts
    return draw.choice(texts)


def _varying(texts: Iterable[str]) -> list[str]:
    return [text for text in texts if of_row(text, "") != text]


def _keys_of(model: ModelState) -> Iterator[tuple[str, ...]]:
    columns = {
        name: field.db_column or (f"{name}_id" if isinstance(field, models.ForeignKey) else name)
        for name, field in model.fields.items()
    }
    named = [rule.fields for rule in model.options.get("constraints", ()) if _is_plain_key(rule)]
    named += [(name,) for name, column in model.fields.items() if column.unique and not column.primary_key]
    for fields in [*named, *model.options.get("unique_together", ())]:
        yield tuple(columns[field] for field in fields)


def _is_plain_key(rule: models.BaseConstraint) -> bool:
    return isinstance(rule, models.UniqueConstraint) and rule.condition is None and bool(rule.fields)


def _options(column: "models.Field[Any, Any]", actual: dict[str, _Column], django: BaseDatabaseWrapper) -> list[str]:
    found = actual[column.column or ""]
    if isinstance(column, models.ForeignKey):
        key = candidates(found.kind, [], nullable=False, has_default=False)[:1]
        keys = [text for varying in key for text in (of_row(varying, "1::bigint"), varying)]
        if column.unique:
            keys.reverse()
        return [*keys, *([NULL] if found.nullable else [])]
    base = getattr(column, "base_field", column)  # the choices of an array are those of its elements
    choices = [value for value, _label in base.flatchoices if value is not None]
    prepared = [base.get_db_prep_value(value, django) for value in choices]
    return candidates(found.kind, prepared, nullable=found.nullable, has_default=found.has_default)


def _follow(table: Table, model: type[models.Model], actual: dict[str, _Column]) -> None:
    """The expressions after migrations came in between: new columns keep their default, lost ones go."""
    if not table.rows:
        return
    kept = {column: text for column, text in table.expressions.items() if column in actual}
    for column in (item.column for item in model._meta.concrete_fields if item.column in actual):
        if column not in kept:
            found = actual[column]
            texts = candidates(found.kind, [], nullable=found.nullable, has_default=found.has_default)
            kept[column] = OMITTED if found.has_default or found.nullable or not texts else texts[0]
    table.expressions = kept


def _parents(model: type[models.Model]) -> list[type[models.Model]]:
    return [
        field.related_model
        for field in model._meta.concrete_fields
        if isinstance(field, models.ForeignKey) and isinstance(field.related_model, type)
    ]


def _parents_first(wanted: Iterable[type[models.Model]]) -> list[type[models.Model]]:
    """The models with all that they refer to, each after those it refers to; a circle is entered anywhere."""
    found: dict[type[models.Model], None] = {}
    under_way: set[type[models.Model]] = set()

    def visit(model: type[models.Model]) -> None:
        if model in found or model in under_way:
            return
        under_way.add(model)
        for parent in _parents(model):
            visit(parent)
        if model._meta.managed and not model._meta.proxy and not model._meta.swapped:
            found[model] = None

    for model in wanted:
        visit(model)
    return list(found)
