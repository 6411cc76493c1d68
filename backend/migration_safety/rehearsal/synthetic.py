"""Synthetic rows for the tables of historical models: one INSERT ... SELECT FROM generate_series for each table.

What a row may hold is found by trial: three rows are inserted and taken back, and the columns that a violated
constraint names are drawn anew until PostgreSQL accepts them. The first row of every table has the key 1, and every
foreign key leads to it unless a unique key wants it to vary, so that all rows belong to one tenant. What only a later
migration demands is kept too (demands.py), as the real rows do by then.

The last rows of a table say as little as they may: NULL where that is allowed, and the default where there is one.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import Connection, sql

from backend.migration_safety.rehearsal.demands import Demands, Unfit
from backend.migration_safety.rehearsal.values import NULL, OMITTED, candidates, of_row
from backend.migration_safety.scratch import options as project

SPARE = 4  # rows that a table has more than those that refer to it: keys for the rows that the load inserts
_ATTEMPTS = 400
_STRICT_ATTEMPTS = 80  # at which the rows must keep what a later migration demands
_LEAST_ATTEMPTS = 12
_TRIAL = 3
_LEAST_SHARE = 10  # one row in so many says as little as it may
_REFUSED = (psycopg.errors.IntegrityError, psycopg.errors.DataError)


@dataclass(slots=True)
class Table:
    """A table with the expressions of its synthetic rows; without rows (0) it could not be filled (`reason`)."""

    name: str
    keys: tuple[str, ...]  # columns of the primary key
    rows: int = 0
    expressions: dict[str, str] = field(default_factory=dict)
    least: dict[str, str] = field(default_factory=dict)  # of a row that says as little as it may
    reason: str = ""

    def insert(self, first: str, last: str, expressions: Mapping[str, str] | None = None) -> sql.Composed:
        """The INSERT of the rows from `first` to `last`, of the table's expressions or of others."""
        named = {column: text for column, text in (expressions or self.expressions).items() if text != OMITTED}
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


class Rows:
    """The synthetic rows of one scratch database; tables are filled when they are first asked for.

    `demands` are what the tables must satisfy in the end.
    """

    def __init__(self, connection: "Connection[Any]", rows: int, begin: Sequence[str], demands: Demands) -> None:
        self._connection, self._rows, self._begin, self._demands = connection, rows, begin, demands
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
                table = Table(name, tuple(str(field.column) for field in model._meta.pk_fields))
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
        for attempt in range(_ATTEMPTS):
            try:
                self._try(table, rows, strict=attempt < _STRICT_ATTEMPTS)
            except _REFUSED as error:
                table.reason = f"no synthetic row satisfies {error.diag.constraint_name or error.diag.message_primary}"
                self._draw_accepted(table, options, actual, error, draw)
            except Unfit as error:
                table.reason = f"no synthetic row satisfies {error.demand}"
                if not _draw_fit(table, options, actual, error, draw):
                    return
            else:
                table.rows, table.reason = rows, ""
                self._add_least(table, options, actual, draw, strict=attempt < _STRICT_ATTEMPTS)
                return

    def _draw_accepted(
        self,
        table: Table,
        options: dict[str, list[str]],
        actual: dict[str, _Column],
        error: psycopg.Error,
        draw: random.Random,
    ) -> None:
        """Other expressions in the columns of the constraint that refused the rows."""
        at_fault = self._at_fault(error, table.name) & options.keys() or set(options)
        if isinstance(error, psycopg.errors.UniqueViolation):  # rows stay with their tenant if another column can vary
            at_fault = {name for name in at_fault if name != _tenant() and _varying(options[name])} or at_fault
        for column in sorted(at_fault):
            if actual[column].kind == "text" and isinstance(error, psycopg.errors.CheckViolation):
                options[column] = list(dict.fromkeys([*options[column], *self._literals(error, table.name)]))
            table.expressions[column] = _draw(draw, options[column], error)

    def _try(self, table: Table, rows: int, *, strict: bool) -> None:
        """A few rows first, so that a wrong draw costs little; then most of them, with the sequence after all."""
        with self._connection.transaction():
            for statement in self._begin:
                self._connection.execute(raw(statement))
            with self._connection.transaction(force_rollback=True):
                self._connection.execute(table.insert("1", str(min(_TRIAL, rows))), {})
                self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
                self._demands.refuse(self._connection, table.name, table.expressions, checks=strict)
            self._connection.execute(table.insert("1", str(rows - rows // _LEAST_SHARE)), {})
            self._demands.refuse(self._connection, table.name, table.expressions, checks=strict)
            self._connection.execute(
                "SELECT setval(s, %s) FROM unnest(%s::text[]) AS key, pg_get_serial_sequence(quote_ident(%s), key) AS s"
                " WHERE s IS NOT NULL",
                [rows + SPARE, list(table.keys), table.name],
            )

    def _add_least(
        self,
        table: Table,
        options: dict[str, list[str]],
        actual: dict[str, _Column],
        draw: random.Random,
        *,
        strict: bool,
    ) -> None:
        """The last rows, which say as little as they may; where that cannot be stored they are as the others."""
        first, last = str(table.rows - table.rows // _LEAST_SHARE + 1), str(table.rows)
        bare = {name: NULL if actual[name].nullable else OMITTED for name in options if _may_be_left_out(actual[name])}
        table.least = self._least(table, options, bare, draw, strict=strict)
        stored = {**table.least, **{key: table.expressions[key] for key in table.keys if key in table.expressions}}
        for expressions in (stored, table.expressions):
            if self._refusal(table.insert(first, last, expressions), table, keep=True) is None:
                return
        table.rows = int(first) - 1

    def _least(
        self,
        table: Table,
        options: dict[str, list[str]],
        bare: dict[str, str],
        draw: random.Random,
        *,
        strict: bool,
    ) -> dict[str, str]:
        """The expressions with those of `bare`, as far as constraints allow it; the others are drawn anew for that.

        What a later migration demands is kept (if `strict`) where that takes no more than another draw: a row that is
        written today need not satisfy it.
        """
        while bare:
            at_fault: set[str] = set()
            for checks in (True, False) if strict else (False,):
                tried = {**table.expressions, **bare}
                for _attempt in range(_LEAST_ATTEMPTS):
                    insert = table.insert(str(table.rows + 1), str(table.rows + _TRIAL), tried)
                    error = self._refusal(insert, table, checks=checks)
                    if error is None:
                        return tried
                    at_fault = self._at_fault(error, table.name)
                    free = sorted(at_fault & options.keys() - bare.keys() - {_tenant()})
                    if not free:
                        break
                    for column in free:
                        tried[column] = _draw(draw, [*options[column], table.expressions[column]], error)
            given_up = draw.choice(sorted(at_fault & bare.keys()) or sorted(bare))
            bare = {name: text for name, text in bare.items() if name != given_up}
        return dict(table.expressions)

    def _refusal(
        self, insert: sql.Composed, table: Table, *, keep: bool = False, checks: bool = False
    ) -> psycopg.Error | Unfit | None:
        """Why PostgreSQL refuses the rows, which stay only if `keep` and nothing refuses them."""
        try:
            with self._connection.transaction(force_rollback=not keep):
                for statement in self._begin:
                    self._connection.execute(raw(statement))
                self._connection.execute(insert, {})
                self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
                self._demands.refuse(self._connection, table.name, table.expressions, checks=checks)
        except (psycopg.Error, Unfit) as error:
            return error
        return None

    def _literals(self, error: psycopg.Error, table: str) -> list[str]:
        """The texts that a CHECK mentions: one of them may be what it wants."""
        found = self._connection.execute(
            "SELECT m[1] FROM pg_constraint, regexp_matches(pg_get_constraintdef(oid), $$'(?:[^']|'')*'$$, 'g') AS m"
            " WHERE conname = %s AND conrelid = to_regclass(quote_ident(%s))",
            [error.diag.constraint_name, table],
        ).fetchall()
        return [literal.replace("%", "%%") for (literal,) in found]

    def _at_fault(self, error: psycopg.Error | Unfit, table: str) -> set[str]:
        if isinstance(error, Unfit):
            return set(error.columns)
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


def _draw_fit(
    table: Table, options: dict[str, list[str]], actual: dict[str, _Column], error: Unfit, draw: random.Random
) -> bool:
    """Whether there are other expressions for the columns of a demand; then the table has them."""
    able = [name for name in error.columns if name != _tenant()]
    if error.is_key:
        able = [name for name in able if _varying(options[name])]
        able = able and [draw.choice(able)]
    for column in able:
        texts = _varying(options[column]) if error.is_key else options[column]
        table.expressions[column] = draw.choice(texts + (error.literals if actual[column].kind == "text" else []))
    return bool(able)


def _draw(draw: random.Random, texts: list[str], error: psycopg.Error | Unfit) -> str:
    """Another expression; a unique key is satisfied by one that varies."""
    if isinstance(error, psycopg.errors.UniqueViolation) or (isinstance(error, Unfit) and error.is_key):
        texts = _varying(texts) or texts
    return draw.choice(texts)


def _varying(texts: Iterable[str]) -> list[str]:
    return [text for text in texts if of_row(text, "") != text]


def _tenant() -> str:
    return str(project()["TENANT_COLUMN"])


def _may_be_left_out(column: _Column) -> bool:
    return column.nullable or column.has_default


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
    named = [item.column for item in model._meta.concrete_fields if item.column in actual]
    for expressions in (table.expressions, table.least):
        kept = {column: expressions[column] for column in named if column in expressions}
        for column in named:
            if column not in kept:
                found = actual[column]
                texts = candidates(found.kind, [], nullable=found.nullable, has_default=found.has_default)
                kept[column] = OMITTED if _may_be_left_out(found) or not texts else texts[0]
        expressions.clear()
        expressions.update(kept)


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
