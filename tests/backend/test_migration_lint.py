"""What the linter says of migrations without running them."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections, migrations, models
from django.db.migrations.operations.base import Operation

from backend.agents.sarif import read_sarif
from backend.migration_safety import operations as safe
from backend.migration_safety.lint.lint import by_operations, by_sql
from backend.migration_safety.lint.presentation import as_json, as_text
from backend.migration_safety.lint.rules import rls_without_policy
from backend.migration_safety.sarif import Finding, Run
from backend.migration_safety.scratch import redirected, scratch_database
from benchmarks.migrations.shop import Case
from benchmarks.migrations.shop import state as shop_state

ORDER_TENANT = migrations.AddField("order", "organization", models.UUIDField(null=True))
CUSTOMER_TENANT = migrations.AddField("customer", "organization", models.UUIDField(null=True))


def _touch(_apps: Any, _editor: Any) -> None: ...


def rules(*operations: Operation, atomic: bool = True, **attributes: Any) -> list[str]:
    migration = Case("m", list(operations), atomic=atomic, attributes=attributes).migration()
    return [rule for rule, _message, _index in by_operations(migration, shop_state())]


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (migrations.RunPython(_touch), ["irreversible"]),
        (migrations.RunPython(_touch, migrations.RunPython.noop), []),
        (migrations.RunSQL("SELECT 1"), ["irreversible"]),
        (migrations.AddField("order", "n", models.IntegerField(default=0)), ["default-without-db-default"]),
        (migrations.AddField("order", "n", models.IntegerField(default=0, db_default=0)), []),
        (migrations.AddField("order", "n", models.IntegerField(default=0, null=True)), []),
    ],
)
def test_one_operation(operation: Operation, expected: list[str]) -> None:
    assert rules(operation) == expected


def test_a_new_table_may_have_any_column() -> None:
    made = migrations.CreateModel("Thing", [("id", models.BigAutoField(primary_key=True))])

    assert rules(made, migrations.AddField("thing", "n", models.IntegerField(default=0))) == []


def test_rows_are_not_changed_while_a_lock_of_the_schema_is_held() -> None:
    column = migrations.AddField("order", "note", models.TextField(null=True))
    fill = migrations.RunSQL("UPDATE shop_order SET note = ''", migrations.RunSQL.noop)

    assert rules(column, fill) == ["data-with-schema"]
    assert rules(fill) == []


def test_what_is_not_in_a_transaction_must_be_able_to_go_on() -> None:
    index = migrations.AddIndex("order", models.Index(fields=["code"], name="a_idx"))

    assert rules(index, ORDER_TENANT, atomic=False) == ["not-resumable", "not-resumable"]
    assert rules(index, atomic=False) == []


def test_keys_of_tenant_tables_carry_the_tenant() -> None:
    reference = migrations.AddField("order", "twin", models.ForeignKey("shop.Customer", models.PROTECT, null=True))
    held_by_pair = models.ForeignKey("shop.Customer", models.PROTECT, null=True, db_constraint=False)
    alone = models.UniqueConstraint(fields=["code"], name="code_uq")
    with_tenant = models.UniqueConstraint(fields=["organization", "code"], name="pair_uq")

    assert rules(ORDER_TENANT, CUSTOMER_TENANT, reference) == ["tenant-key"]
    assert rules(ORDER_TENANT, CUSTOMER_TENANT, migrations.AddField("order", "twin", held_by_pair)) == []
    assert rules(ORDER_TENANT, reference) == []
    assert rules(ORDER_TENANT, migrations.AddConstraint("order", alone)) == ["tenant-key"]
    assert rules(ORDER_TENANT, migrations.AddConstraint("order", with_tenant)) == []
    assert rules(ORDER_TENANT, migrations.AddField("order", "key", models.TextField(unique=True, null=True))) == [
        "tenant-key"
    ]


def test_an_exception_needs_a_reason() -> None:
    assert rules(safety_exceptions={"irreversible": ""}) == ["exception-without-reason"]


def test_row_level_security_is_enabled_after_its_policy() -> None:
    enable = 'ALTER TABLE "shop_order" ENABLE ROW LEVEL SECURITY;'
    policy = 'CREATE POLICY p ON "shop_order" USING (true);'

    assert len(list(rls_without_policy(enable))) == len(list(rls_without_policy(enable + policy))) == 1
    assert list(rls_without_policy(policy + enable)) == []
    assert list(rls_without_policy(enable, {"shop_order"})) == []


@pytest.mark.parametrize(
    "enable",
    [
        'ALTER TABLE "public"."shop_order" ENABLE ROW LEVEL SECURITY',
        "ALTER TABLE ONLY shop_order FORCE ROW LEVEL SECURITY, ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE IF EXISTS shop_order\n  ENABLE  ROW LEVEL SECURITY",
    ],
)
def test_row_level_security_is_seen_however_it_is_written(enable: str) -> None:
    (message,) = rls_without_policy(enable)

    assert "row-level security of shop_order" in message
    assert (
        list(rls_without_policy(f'CREATE POLICY "my policy"\n ON "public"."shop_order" USING (true); {enable}')) == []
    )


def test_a_policy_of_an_earlier_migration_counts(database: str) -> None:
    enable = migrations.RunSQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY", "")

    def messages(table: str) -> list[str]:
        enable.sql = f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
        found = by_sql(Case("m", [enable]).migration(), shop_state(), connections["owner"])
        return [message for rule, message, _index in found if rule == "rls-without-policy"]

    assert messages("membership") == []
    assert len(messages("django_content_type")) == 1


def test_operations_inside_of_others_are_read_too() -> None:
    column = migrations.AddField("order", "n", models.IntegerField(default=0))

    assert rules(
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(_touch), column], state_operations=[column]
        )
    ) == ["irreversible", "data-with-schema", "default-without-db-default"]


@pytest.mark.parametrize(
    "operation",
    [
        safe.Backfill("order", "quantity = 1", "quantity = 0"),
        safe.RemoveIndex("order", "shop_order_at_idx"),
        safe.AddIndex("order", models.Index(fields=["code"], name="a_idx")),
    ],
)
def test_a_safe_operation_wants_no_transaction_around_it(operation: Operation) -> None:
    assert rules(operation) == ["needs-atomic-false"]
    assert rules(operation, atomic=False) == []


def test_a_script_leaves_transactions_to_the_migration() -> None:
    block = "DO $$ BEGIN UPDATE t SET a = 1; COMMIT; END $$"

    assert rules(migrations.RunSQL("BEGIN; SELECT 1; COMMIT", ""), atomic=False) == ["own-transactions"]
    assert rules(migrations.RunSQL([("SELECT 1", None), "COMMIT"], ""), atomic=False) == ["own-transactions"]
    assert rules(migrations.RunSQL(block, ""), atomic=False) == []
    assert rules(migrations.RunSQL("SELECT 'a'; SELECT 2", ""), atomic=False) == []


def test_a_forgotten_column_that_is_not_null_has_a_default() -> None:
    forgets = [
        safe.ForgetField("customer", "email"),
        migrations.SeparateDatabaseAndState(state_operations=[migrations.RemoveField("customer", "email")]),
    ]
    fine = [safe.ForgetField("customer", "email", "''"), safe.ForgetField("customer", "nickname")]

    assert [rules(operation, atomic=False) for operation in forgets] == [["forgotten-without-default"]] * 2
    assert [rules(operation, atomic=False) for operation in fine] == [[], []]


def test_what_an_operation_refuses_is_a_finding(database: str) -> None:
    changed = safe.SetNotNull("order", "paid_cents", models.BigIntegerField())
    migration = Case("m", [changed], atomic=False).migration()

    ((rule, message, _index),) = by_sql(migration, shop_state(), connections["owner"])

    assert rule == "operation-refuses"
    assert "from django.db.models.IntegerField to django.db.models.BigIntegerField" in message


def test_findings_in_every_form() -> None:
    path = Path(__file__).resolve()
    findings = [Finding("shop.m", "irreversible", "no way back", path, 7), Finding("shop.m", "x", "y", path, 1, "tiny")]

    document = Run("lint_migrations", {"irreversible": "no way back"}, metrics={"migrations": (1, "")}).document(
        findings
    )
    (written,) = json.loads(document)["runs"]
    (read,) = read_sarif(document.encode())

    assert as_text(findings, 1).splitlines()[0].endswith("test_migration_lint.py:7: irreversible: no way back")
    assert as_text(findings, 1).splitlines()[-1] == "1 migrations, 1 findings, 1 accepted"
    assert [item["reason"] for item in json.loads(as_json(findings, 1))["findings"]] == [None, "tiny"]
    assert [item["ruleId"] for item in written["results"]] == ["irreversible", "x"]
    assert written["results"][1]["suppressions"] == [{"kind": "inSource", "justification": "tiny"}]
    assert written["results"][0]["locations"][0]["physicalLocation"]["region"] == {"startLine": 7}
    assert [(item.rule_id, item.path, item.suppressed) for item in read.findings] == [
        ("irreversible", "tests/backend/test_migration_lint.py", False),
        ("x", "tests/backend/test_migration_lint.py", True),
    ]
    assert [(metric.name, metric.value) for metric in read.metrics] == [("migrations", 1)]
    assert (read.conclusion, bool(read.branch)) == ("FAIL", True)


def test_a_tool_that_could_not_work_makes_a_run_inconclusive() -> None:
    worked, skipped = (Run("lint_migrations", tools=["squawk-cli"], skipped=names) for names in ([], ["squawk-cli"]))

    concluded = [read_sarif(run.document([]).encode())[0] for run in (worked, skipped)]

    assert [run.conclusion for run in concluded] == ["PASS", "INCONCLUSIVE"]
    assert concluded[0].tools[1].version


def test_without_squawk_the_command_says_what_to_install(
    database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(CommandError, match="install squawk-cli") as refused:
        call_command("lint_migrations", "drift.0003")

    assert refused.value.returncode == 2


def test_the_command_reads_the_sql_too(database: str, tmp_path: Path) -> None:
    """accounts.0003 drops and makes a function anew, contenttypes.0002 drops a column."""
    answer = tmp_path / "answer.json"

    call_command("lint_migrations", "drift.0003", format="json", output=answer)
    assert json.loads(answer.read_text()) == {"migrations": 1, "findings": []}

    with pytest.raises(SystemExit) as left:
        call_command("lint_migrations", "contenttypes.0002", format="json", output=answer)
    found = json.loads(answer.read_text())["findings"]
    assert left.value.code == 1
    (dropped,) = [item for item in found if item["rule"] == "ban-drop-column"]
    assert "RemoveField" in Path(dropped["path"]).read_text().splitlines()[dropped["line"] - 1]


def test_an_answer_in_sarif_names_every_rule(database: str, tmp_path: Path) -> None:
    answer = tmp_path / "answer.sarif"

    call_command("lint_migrations", "accounts.0003", format="sarif", output=answer)

    (read,) = read_sarif(answer.read_bytes())
    assert [(item.rule_id, item.suppressed) for item in read.findings] == [("ban-drop-function", True)]
    assert read.conclusion == "PASS"


def test_without_arguments_it_reads_what_the_database_lacks_of_the_project(database: str) -> None:
    with scratch_database() as scratch, redirected(scratch):
        call_command("migrate_safely", "accounts", "0001", verbosity=0)
        said = io.StringIO()
        call_command("lint_migrations", format="json", stdout=said)

    answer = json.loads(said.getvalue())
    accepted = {(item["migration"], item["rule"]) for item in answer["findings"] if item["reason"]}
    assert accepted == {
        ("accounts.0003_authentication_revoked", "ban-drop-function"),
        ("audit.0003_change_audit", "ban-drop-not-null"),
        ("audit.0006_security_events", "data-with-schema"),
        ("audit.0010_partitions", "ban-drop-function"),
        ("audit.0010_partitions", "renaming-object"),
        ("audit.0010_partitions", "renaming-table"),
    }
    assert answer["migrations"] > 30
