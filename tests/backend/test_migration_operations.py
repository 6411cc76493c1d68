"""Safe operations can be interrupted anywhere and run again; they come, go and come again."""

from typing import Any, cast

import psycopg
import pytest
from django.db import connections, migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.utils import NotSupportedError

from backend.migration_safety import operations as safe
from backend.migration_safety.applying import apply
from backend.migration_safety.lint.lint import collected
from backend.migration_safety.locking import LocksNotToBeHad, with_retries
from backend.migration_safety.operations.steps import run
from backend.migration_safety.rehearsal import catalog
from backend.migration_safety.rehearsal.engine import Rehearsal
from benchmarks.migrations.shop import Case, reference, shop
from benchmarks.migrations.shop import state as shop_state

CODE = models.UniqueConstraint(fields=["customer", "code"], name="shop_order_code_uq")
PHASED = models.UniqueConstraint(fields=["code", "paid_cents"], nulls_distinct=False, name="shop_order_phased_uq")
ALL: list[Operation] = [
    safe.AddIndex("order", models.Index(fields=["code"], name="shop_order_code_idx")),
    safe.AddUnique("order", CODE),
    safe.AddUniqueIndex("order", PHASED),
    safe.UseUniqueIndex("order", PHASED),
    safe.AddConstraint("order", models.CheckConstraint(condition=models.Q(quantity__gt=0), name="shop_order_q_ck")),
    safe.AddKeyBound("order", "shop_order_key_ck", "1000 * 1000"),
    safe.SetNotNull("order", "paid_cents", models.IntegerField()),
    safe.AddForeignKey("order", "courier", reference(null=True, db_index=False)),
    safe.EnableRowLevelSecurity("order", "shop_order_p", "true"),
    safe.ForgetField("customer", "email", "''"),
    safe.MirrorColumns("order", "quantity", "paid_cents", forward="NEW.quantity", backward="NEW.paid_cents"),
    safe.Backfill("customer", "nickname = name || '%'", "nickname IS NULL", pause=0),
]


def _migration(*operations: Operation, atomic: bool = False) -> migrations.Migration:
    return Case("m", list(operations), atomic=atomic).migration()


def _all(rehearsal: Rehearsal, text: str) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = rehearsal.connection.connection.execute(text).fetchall()
    return rows


def test_every_operation_may_run_again_and_goes_back(database: str) -> None:
    with shop() as (rehearsal, before):
        connection = rehearsal.connection.connection
        catalogs = [catalog.fingerprint(connection)]
        for backward in (False, False, True, True, False):
            apply(rehearsal.executor, before, _migration(*ALL), backward=backward)
            catalogs.append(catalog.fingerprint(connection))

    untouched, once, twice, back, back_again, forward_again = catalogs
    assert catalog.differences(untouched, back) == catalog.differences(untouched, back_again) == []
    assert catalog.differences(once, twice) == catalog.differences(once, forward_again) == []
    assert len(catalog.differences(untouched, once)) > len(ALL)


class _Interrupted(Exception):
    """The process is killed here."""


def test_an_interruption_after_any_statement_leads_to_the_same_catalog(database: str) -> None:
    with shop() as (rehearsal, before):
        connection = rehearsal.connection
        untouched = catalog.fingerprint(connection.connection)
        apply(rehearsal.executor, before, _migration(*ALL))
        whole = catalog.fingerprint(connection.connection)
        apply(rehearsal.executor, before, _migration(*ALL), backward=True)

        interrupted = 0
        for stop in range(1, 40):
            executed = 0

            def count(execute: Any, sql: str, params: Any, many: bool, context: Any, *, at: int = stop) -> Any:
                nonlocal executed
                result = execute(sql, params, many, context)
                executed += sql.lstrip().startswith(("ALTER", "CREATE", "UPDATE", "WITH"))
                if executed == at:
                    raise _Interrupted
                return result

            try:
                with connection.execute_wrapper(count):
                    apply(rehearsal.executor, before, _migration(*ALL))
            except _Interrupted:
                interrupted += 1
            apply(rehearsal.executor, before, _migration(*ALL))
            assert catalog.differences(whole, catalog.fingerprint(connection.connection)) == []
            apply(rehearsal.executor, before, _migration(*ALL), backward=True)
            if executed < stop:
                break

    assert interrupted > len(ALL)
    assert catalog.differences(untouched, whole)


def test_a_way_back_from_a_constraint_to_its_index_may_be_interrupted_anywhere(database: str) -> None:
    """Then either direction leads where it should, and the rows are unique all the while."""
    index, use = (_migration(kind("order", PHASED)) for kind in (safe.AddUniqueIndex, safe.UseUniqueIndex))
    with shop() as (rehearsal, before):
        connection = rehearsal.connection
        apply(rehearsal.executor, before, index)
        indexed = catalog.fingerprint(connection.connection)
        apply(rehearsal.executor, before, use)
        whole = catalog.fingerprint(connection.connection)
        ends = []
        for stop in ("CREATE UNIQUE INDEX", "DROP CONSTRAINT", "RENAME"):
            for backward in (True, False):

                def interrupt(execute: Any, sql: str, *rest: Any, at: str = stop) -> Any:
                    result = execute(sql, *rest)
                    if at in sql:
                        raise _Interrupted
                    return result

                with pytest.raises(_Interrupted), connection.execute_wrapper(interrupt):
                    apply(rehearsal.executor, before, use, backward=True)
                uniques = "SELECT count(*) FROM pg_index WHERE indisunique AND indexrelid::regclass::text ~ 'phased'"
                assert _all(rehearsal, uniques)[0][0] >= 1
                apply(rehearsal.executor, before, use, backward=backward)
                ends.append(
                    catalog.differences(indexed if backward else whole, catalog.fingerprint(connection.connection))
                )
                apply(rehearsal.executor, before, use)

    assert ends == [[]] * 6


def test_not_null_by_a_check_ends_in_the_same_column(database: str) -> None:
    """The way of PostgreSQL before 18, on whichever version this is."""
    operation = safe.SetNotNull("order", "paid_cents", models.IntegerField())
    with shop() as (rehearsal, before):
        after = _migration(operation).mutate_state(before)
        with rehearsal.connection.schema_editor(atomic=False) as editor:
            for _time in range(2):
                run(operation.by_check(after.apps.get_model("shop", "order"), editor), editor)
        found = catalog.fingerprint(rehearsal.connection.connection)

    assert found["column", "shop_order.paid_cents"] == "integer NOT NULL"
    assert not [name for kind, name in found if kind == "constraint" and "CHECK" in name]


def test_mirrored_columns_tell_the_same_whichever_is_written(database: str) -> None:
    mirror = safe.MirrorColumns("order", "quantity", "paid_cents", forward="NEW.quantity", backward="NEW.paid_cents")
    with shop() as (rehearsal, before):
        apply(rehearsal.executor, before, _migration(mirror))
        columns = "INSERT INTO shop_order (id, customer_id, code, status, at, quantity, paid_cents) VALUES"
        _run(rehearsal, "INSERT INTO shop_customer (id, name, email) VALUES (1, 'n', 'e')")
        _run(rehearsal, f"{columns} (1, 1, 'a', 'NEW', now(), 5, NULL), (2, 1, 'b', 'NEW', now(), NULL, 6)")
        inserted = _all(rehearsal, "SELECT quantity, paid_cents FROM shop_order ORDER BY id")
        _run(
            rehearsal,
            "UPDATE shop_order SET quantity = 7 WHERE id = 1; UPDATE shop_order SET paid_cents = 8 WHERE id = 2",
        )
        updated = _all(rehearsal, "SELECT quantity, paid_cents FROM shop_order ORDER BY id")

    assert inserted == [(5, 5), (6, 6)]
    assert updated == [(7, 7), (8, 8)]


def test_a_mirror_ends_when_its_release_is_over(database: str) -> None:
    mirror, end = (
        kind("order", "quantity", "paid_cents", forward="NEW.quantity", backward="NEW.paid_cents")
        for kind in (safe.MirrorColumns, safe.UnmirrorColumns)
    )
    with shop() as (rehearsal, before):
        connection = rehearsal.connection.connection
        untouched = catalog.fingerprint(connection)
        apply(rehearsal.executor, before, _migration(mirror))
        mirrored = catalog.fingerprint(connection)
        apply(rehearsal.executor, before, _migration(end))
        ended = catalog.fingerprint(connection)
        apply(rehearsal.executor, before, _migration(end), backward=True)
        again = catalog.fingerprint(connection)

    assert (ended, again) == (untouched, mirrored)
    assert ("trigger", "shop_order.shop_order_paid_cents_mirror") in mirrored


def test_a_backfill_goes_on_where_it_was_interrupted(database: str) -> None:
    fill = safe.Backfill("customer", "nickname = 'filled'", "nickname IS NULL", batch=10, pause=0)
    with shop() as (rehearsal, before):
        _run(rehearsal, "INSERT INTO shop_customer (name, email) SELECT 'n', 'e' FROM generate_series(1, 35)")
        _run(rehearsal, "UPDATE shop_customer SET nickname = 'before' WHERE id <= 12")
        batches = []

        def count(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            result = execute(sql, params, many, context)
            if "UPDATE" in sql:
                batches.append(sql)
            return result

        with rehearsal.connection.execute_wrapper(count):
            apply(rehearsal.executor, before, _migration(fill))
        names = _all(rehearsal, "SELECT nickname, count(*) FROM shop_customer GROUP BY 1 ORDER BY 1")

    assert names == [("before", 12), ("filled", 23)]
    assert len(batches) == 4  # 10, 10, 3 and one that finds nothing


def test_django_can_remove_a_unique_constraint_of_any_form(database: str) -> None:
    """As Django makes them: with INCLUDE or an operator class it is an index, not a constraint."""
    covering = models.UniqueConstraint(fields=["customer", "code"], include=["status"], name="shop_order_cover_uq")
    pattern = models.UniqueConstraint(fields=["code"], opclasses=["text_pattern_ops"], name="shop_order_pattern_uq")
    rules = [CODE, covering, pattern]
    with shop() as (rehearsal, before):
        untouched, definitions = catalog.fingerprint(rehearsal.connection.connection), []
        for kind in (safe.AddUnique, migrations.AddConstraint):
            after = apply(rehearsal.executor, before, _migration(*(kind("order", rule) for rule in rules)))
            definitions.append(catalog.fingerprint(rehearsal.connection.connection))
            removed = _migration(*(migrations.RemoveConstraint("order", rule.name) for rule in rules))
            apply(rehearsal.executor, after, removed)
            assert catalog.differences(untouched, catalog.fingerprint(rehearsal.connection.connection)) == []

        with pytest.raises(NotSupportedError, match="leave it as AddUniqueIndex made it"):
            apply(rehearsal.executor, before, _migration(safe.UseUniqueIndex("order", covering)))

    ours, djangos = definitions
    assert catalog.differences(ours, djangos) == []


@pytest.mark.parametrize(
    ("operation", "what"),
    [
        (safe.SetNotNull("order", "paid_cents", models.BigIntegerField()), "its type, from"),
        (safe.SetNotNull("order", "paid_cents", models.IntegerField(unique=True)), "its unique"),
        (safe.AddForeignKey("order", "courier", reference(db_index=False)), "its null"),
        (safe.AddForeignKey("order", "courier", reference(null=True)), "its db_index"),
    ],
)
def test_they_change_nothing_else_of_a_field(operation: Operation, what: str) -> None:
    migration, before, editor = _migration(operation), shop_state(), cast("BaseDatabaseSchemaEditor", None)

    with pytest.raises(NotSupportedError, match=what):
        operation.database_forwards("shop", editor, before, migration.mutate_state(before))


def test_inside_a_transaction_they_refuse(database: str) -> None:
    with shop() as (rehearsal, before):
        for operation in (ALL[0], ALL[-1]):
            with pytest.raises(NotSupportedError, match="set atomic = False"):
                apply(rehearsal.executor, before, _migration(operation, atomic=True))


def test_their_sql_can_be_read_before(database: str) -> None:
    with shop() as (rehearsal, before):
        text = "\n".join(collected(_migration(*ALL), before, rehearsal.connection))

    assert 'CREATE UNIQUE INDEX CONCURRENTLY "shop_order_code_uq"' in text
    assert 'BEGIN; SET LOCAL lock_timeout = 100; ALTER TABLE "shop_order" ADD CONSTRAINT' in text
    assert "FOR NO KEY UPDATE" in text


def test_a_lock_that_is_not_to_be_had_is_asked_for_again(database: str) -> None:
    with shop() as (rehearsal, before), psycopg.connect(rehearsal.scratch.owner) as other:
        other.execute("LOCK TABLE shop_order IN ACCESS SHARE MODE")
        waits: list[int] = []

        def on_wait(attempt: int) -> None:
            waits.append(attempt)
            other.rollback()

        column = migrations.AddField("order", "note", models.TextField(null=True))
        apply(rehearsal.executor, before, _migration(column, atomic=True), on_wait=on_wait)

        other.execute("LOCK TABLE shop_customer IN ACCESS EXCLUSIVE MODE")
        blocked = "SET LOCAL lock_timeout = 1; SELECT 1 FROM shop_customer"
        with pytest.raises(LocksNotToBeHad, match="Nothing is half done"), connections["owner"].cursor() as cursor:
            with_retries(lambda: cursor.execute(f"BEGIN; {blocked}"), attempts=1)
        connections["owner"].connection.execute("ROLLBACK")

    assert waits == [1]


@pytest.mark.parametrize("operation", ALL, ids=lambda operation: type(operation).__name__)
def test_each_can_be_written_into_a_file(operation: Operation) -> None:
    name, arguments, options = operation.deconstruct()

    again = getattr(safe, name)(*arguments, **options)
    assert again.deconstruct() == operation.deconstruct()
    assert operation.describe()


def _run(rehearsal: Rehearsal, text: str) -> None:
    rehearsal.connection.connection.execute(text)
