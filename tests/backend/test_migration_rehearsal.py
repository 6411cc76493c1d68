"""A rehearsal finds what a migration would do to the code that runs beside it."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import IntegrityError, connections, migrations, models

from backend.agents.sarif import read_sarif
from backend.migration_safety.rehearsal.verdict import Report
from backend.migration_safety.scratch import redirected, scratch_database
from benchmarks.migrations.cases import NAIVE, SAFE
from benchmarks.migrations.shop import Case, rehearsed, shop

# `python -m benchmarks migrations` rehearses the whole table.
QUICK = {
    "add a column, waiting for ever",
    "add a NOT NULL column with Python's default",
    "add a unique constraint",
    "set NOT NULL",
    "change a type",
    "enable row-level security without a policy",
    "backfill in one UPDATE",
}


def _case_id(case: Case) -> str:
    return f"{'naive' if case in NAIVE else 'safe'}: {case.name}"


@pytest.mark.parametrize("case", [case for case in (*NAIVE, *SAFE) if case.name in QUICK], ids=_case_id)
def test_a_migration_breaks_exactly_the_rules_that_it_breaks(database: str, case: Case) -> None:
    report = rehearsed(case)

    assert {finding.rule for finding in report.findings if not finding.reason} == case.broken
    assert report.notes == []
    assert report.passed == (not case.broken)


def test_locks_scans_and_rewrites_are_told_exactly(database: str) -> None:
    report = rehearsed(
        Case(
            "two_changes",
            [
                migrations.AddField("customer", "age", models.IntegerField(null=True)),
                migrations.AlterField("order", "quantity", models.BigIntegerField()),
            ],
        )
    )

    assert report.locks == {"shop_customer": "AccessExclusiveLock", "shop_order": "AccessExclusiveLock"}
    assert report.rewritten == ["shop_order"]
    added, rewritten, *_recorded = report.statements
    assert (added.acquired, added.work, added.lock_timeout) == (("shop_customer",), 0, 100)
    assert (rewritten.acquired, set(rewritten.locks)) == (("shop_order",), {"shop_customer", "shop_order"})


def test_what_goes_through_rows_while_an_earlier_lock_is_held_is_found(database: str) -> None:
    report = rehearsed(
        Case(
            "ddl_and_data_in_one_transaction",
            [
                migrations.AddField("customer", "age", models.IntegerField(null=True)),
                migrations.RunSQL("SELECT count(*) FROM shop_order WHERE quantity < 0", ""),
            ],
        )
    )

    assert [finding.rule for finding in report.findings] == ["scan-under-lock"]
    assert "AccessExclusiveLock on shop_customer" in report.findings[0].message


def test_a_reason_excuses_its_rule_and_an_empty_one_nothing(database: str) -> None:
    index = [migrations.AddIndex("order", models.Index(fields=["code"], name="c_idx"))]

    excused = rehearsed(Case("excused", index, attributes={"safety_exceptions": {"scan-under-lock": "12 rows"}}))
    unexcused = rehearsed(Case("unexcused", index, attributes={"safety_exceptions": {"scan-under-lock": " "}}))

    assert (excused.passed, [finding.reason for finding in excused.findings]) == (True, ["12 rows"])
    assert not unexcused.passed


def test_a_migration_that_fails_says_why_without_the_values_of_rows(database: str) -> None:
    with shop() as (rehearsal, before):
        unique = migrations.AddConstraint("order", models.UniqueConstraint(fields=["status"], name="status_uq"))
        report, state = rehearsal.rehearse(Case("fails", [unique]).migration(), before)

        assert state is None
        assert [(finding.rule, finding.message) for finding in report.findings] == [
            ("failed", '23505: could not create unique index "status_uq"')
        ]


def test_rows_that_do_not_come_back_are_found(database: str) -> None:
    report = rehearsed(
        Case(
            "loses_names",
            [migrations.RunSQL("UPDATE shop_customer SET name = 'x' WHERE id < 10", migrations.RunSQL.noop)],
        )
    )

    assert [(finding.rule, finding.message) for finding in report.findings] == [("rows-differ", "shop_customer")]


def _half_an_index(_apps: Any, schema_editor: Any) -> None:
    with suppress(IntegrityError):
        schema_editor.execute("CREATE UNIQUE INDEX CONCURRENTLY half_idx ON shop_order (status)")


def test_an_index_left_invalid_is_found(database: str) -> None:
    drop = migrations.RunSQL("", "DROP INDEX CONCURRENTLY half_idx")
    attempt = migrations.RunPython(_half_an_index, migrations.RunPython.noop)

    report = rehearsed(Case("half_an_index", [drop, attempt], atomic=False))

    assert [(finding.rule, finding.message) for finding in report.findings] == [("invalid-index", "half_idx")]


def test_every_alias_leads_to_the_scratch_database_and_back(database: str) -> None:
    with scratch_database() as scratch, redirected(scratch):
        inside = {alias: connections[alias].settings_dict["NAME"] for alias in connections}
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT current_database(), current_user")
            assert cursor.fetchone() == (inside["default"], "app")
    name = psycopg.conninfo.conninfo_to_dict(scratch.owner)["dbname"]

    assert set(inside.values()) == {name}
    assert {connections[alias].settings_dict["NAME"] for alias in connections} == {database}
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_database WHERE datname = %s", [name])
        assert cursor.fetchone() == (0,)


def test_the_command_exits_1_and_says_in_json_what_is_wrong(database: str, tmp_path: Path) -> None:
    """contenttypes.0002 drops a column that the code before it reads."""
    answer = tmp_path / "answer.json"

    with pytest.raises(SystemExit) as left:
        call_command("rehearse_migrations", "contenttypes.0002", rows=200, format="json", output=answer, verbosity=0)

    (report,) = json.loads(answer.read_text())["reports"]
    assert left.value.code == 1
    assert report["migration"] == "contenttypes.0002_remove_content_type_name"
    assert not report["passed"]
    assert "SELECT django_content_type: 42703" in str(report["findings"])


def test_the_command_refuses_what_it_cannot_rehearse() -> None:
    with pytest.raises(CommandError, match="not exactly one migration drift") as ambiguous:
        call_command("rehearse_migrations", "drift.0")
    with pytest.raises(CommandError, match="--rows must be at least 200") as few:
        call_command("rehearse_migrations", "drift.0001", rows=10)
    with pytest.raises(CommandError, match="has no revision no-such-revision") as unknown:
        call_command("rehearse_migrations", since="no-such-revision")

    assert {ambiguous.value.returncode, few.value.returncode, unknown.value.returncode} == {2}


def _found(report: Report) -> list[tuple[str, str]]:
    """Rule and beginning of the message of what has no reason."""
    return [(item.rule, item.message.split(":")[0]) for item in report.findings if not item.reason]


def _renamed(by: str) -> Callable[[Any, Any], None]:
    def rename(apps: Any, schema_editor: Any) -> None:
        customers = apps.get_model("shop", "Customer").objects.using(schema_editor.connection.alias)
        everybody = list(customers.order_by("id"))
        for customer in everybody:
            customer.name = customer.name[:-1] if by == "-" else customer.name + by
        for first in range(0, len(everybody), 200):
            customers.bulk_update(everybody[first : first + 200], ["name"])

    return rename


def test_a_transaction_that_changes_every_row_in_pieces_is_found(database: str) -> None:
    pieces = migrations.RunPython(_renamed("z"), _renamed("-"))

    together = rehearsed(Case("pieces", [pieces]))
    apart = rehearsed(Case("pieces", [pieces], atomic=False))

    ((rule, message),) = _found(together)
    assert rule == "many-rows-at-once"
    assert message.startswith("1000 rows of shop_customer in one transaction, by 5 statements such as UPDATE")
    assert apart.passed


_BATCHED = """
DO $$ DECLARE n int := 0;
BEGIN
  LOOP
    UPDATE shop_customer SET nickname = 'q' WHERE id > n AND id <= n + {size};
    n := n + {size}; COMMIT; EXIT WHEN n >= 1000;
  END LOOP;
END $$
"""


def test_a_script_with_transactions_of_its_own_is_observed_statement_by_statement(database: str) -> None:
    nothing, back = migrations.RunSQL.noop, "ALTER TABLE shop_order DROP COLUMN n"
    locked = "BEGIN; LOCK TABLE shop_order IN ACCESS EXCLUSIVE MODE; UPDATE shop_order SET quantity = quantity; COMMIT"
    waits = "SET lock_timeout = 0; ALTER TABLE shop_order ADD COLUMN n int; SET lock_timeout = '100ms'"
    meant = {"safety_exceptions": {"rows-differ": "meant"}}

    def rules(script: str, reverse: str = nothing, *, atomic: bool = False) -> set[str]:
        report = rehearsed(Case("script", [migrations.RunSQL(script, reverse)], atomic=atomic, attributes=meant))
        return {rule for rule, _message in _found(report)}

    # At the second time another transaction holds the table: the script leaves its own aborted, and no retry helps.
    assert rules(locked) == {"many-rows-at-once", "scan-under-lock", "failed"}
    assert rules(waits, back, atomic=True) == {"no-lock-timeout"}
    assert rules(_BATCHED.format(size=100)) == set()
    assert rules(_BATCHED.format(size=1000)) == {"many-rows-at-once"}


def test_a_view_that_is_filled_anew_is_found(database: str) -> None:
    view = migrations.RunSQL("CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM shop_order", "")

    report = rehearsed(Case("view", [migrations.RunSQL("REFRESH MATERIALIZED VIEW totals", "")], before=[view]))

    assert (_found(report), report.rewritten) == ([("rewrite", "totals")], ["totals"])


def test_results_can_be_had_in_sarif(database: str, tmp_path: Path) -> None:
    answer = tmp_path / "answer.sarif"

    call_command("rehearse_migrations", "audit.0002", rows=200, format="sarif", output=answer, verbosity=0)

    (read,) = read_sarif(answer.read_bytes())
    assert {(item.rule_id, item.path, item.suppressed) for item in read.findings} == {
        ("old-statement-fails", "backend/audit/migrations/0002_append_only.py", True)
    }
    assert {metric.name for metric in read.metrics} == {"migrations", "longest_statement", "longest_rehearsal"}
    assert read.conclusion == "PASS"
