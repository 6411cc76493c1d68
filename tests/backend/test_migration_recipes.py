"""Every recipe of docs/migrations.md, executed: each of its migrations passes the linter's rules and the rehearsal."""

import ast
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from backend.core.constraints import TenantReference
from backend.core.tenant_models import TenantForeignKey
from backend.migration_safety import operations as safe
from backend.migration_safety.exceptions import given
from backend.migration_safety.lint.lint import by_operations
from benchmarks.migrations.cases import _BOUND, _PARTITIONED
from benchmarks.migrations.shop import Case, reference, shop

TEXT = (Path(__file__).resolve().parents[2] / "docs/migrations.md").read_text()
NEXT_RELEASE: Sequence[Operation] = ()  # the code before is that of the phases before; only then is it gone
Phases = Sequence[Sequence[Operation] | Case]

CODE = models.UniqueConstraint(fields=["customer", "code"], name="shop_order_code_uq")


def _tenant_table(name: str) -> Operation:
    key = models.UniqueConstraint(fields=["organization_id", "id"], name=f"shop_{name.lower()}_organization_id_uq")
    fields = [("id", models.BigAutoField(primary_key=True)), ("organization_id", models.BigIntegerField())]
    return migrations.CreateModel(name, fields, options={"constraints": [key]})


BEFORE: dict[str, Sequence[Operation]] = {
    "add a reference to a tenant's row": [_tenant_table("Account"), _tenant_table("Bill")],
    "add or detach a partition": _PARTITIONED,
}
ALWAYS_WRITTEN = {"safety_exceptions": {"least-insert-fails": "the code before writes it in every row"}}
ACCOUNT = TenantForeignKey("shop.Account", null=True)

# The words of the first column of the table, and the migrations of the second.
RECIPES: dict[str, Phases] = {
    "add a column that may be null": [[migrations.AddField("order", "note", models.TextField(null=True))]],
    "add a NOT NULL column with a constant": [
        [migrations.AddField("order", "priority", models.IntegerField(default=3, db_default=3))]
    ],
    "add a NOT NULL column with a computed value": [
        [migrations.AddField("order", "double", models.IntegerField(null=True))],
        NEXT_RELEASE,
        [safe.Backfill("order", "double = quantity * 2", "double IS NULL", batch=200, pause=0)],
        Case("not_null", [safe.SetNotNull("order", "double", models.IntegerField())], attributes=ALWAYS_WRITTEN),
    ],
    "make a column NOT NULL": [
        [safe.Backfill("order", "paid_cents = 0", "paid_cents IS NULL", batch=200, pause=0)],
        Case("not_null", [safe.SetNotNull("order", "paid_cents", models.IntegerField())], attributes=ALWAYS_WRITTEN),
    ],
    "add or drop an index": [
        [safe.AddIndex("order", models.Index(fields=["code"], name="shop_order_code_idx"))],
        [safe.RemoveIndex("order", "shop_order_code_idx")],
    ],
    "add a unique constraint": [[safe.AddUnique("order", CODE)]],
    "add a unique constraint, phase by phase": [
        [safe.AddUniqueIndex("order", CODE)],
        [safe.UseUniqueIndex("order", CODE)],
        [migrations.SeparateDatabaseAndState(state_operations=[migrations.AddConstraint("order", CODE)])],
    ],
    "add a check": [
        [safe.AddConstraint("order", models.CheckConstraint(condition=models.Q(quantity__gt=0), name="shop_q_ck"))]
    ],
    "add a reference to a tenant's row": [
        [migrations.AddField("bill", "account", ACCOUNT)],
        [safe.AddConstraint("bill", TenantReference(field="account", name="shop_bill_account_fk"))],
    ],
    "add a reference to another table": [
        [migrations.AddField("order", "payer", reference(null=True, db_constraint=False, db_index=False))],
        [safe.AddForeignKey("order", "payer", reference(null=True, db_index=False))],
    ],
    "rename a field": [[safe.RenameFieldOnly("order", "code", "reference")]],
    "rename a model": [
        [migrations.AlterModelTable("remark", "shop_remark")],
        [migrations.RenameModel("Remark", "Note")],
    ],
    "drop a table": [
        [migrations.SeparateDatabaseAndState(state_operations=[migrations.DeleteModel("Remark")])],
        Case(
            "drop",
            [migrations.RunSQL("DROP TABLE shop_remark")],
            attributes={"safety_exceptions": {"irreversible": "nothing has read it since 1.4"}},
        ),
    ],
    "fill in or correct rows": [
        [safe.Backfill("customer", "nickname = name", "nickname IS DISTINCT FROM name", batch=200, pause=0)]
    ],
    "enable row-level security": [
        [safe.EnableRowLevelSecurity("order", "shop_order_p", "current_setting('app.organization_id', true) <> ''")]
    ],
    "add or detach a partition": [
        [safe.AttachPartition("event", "shop_event_2030", _BOUND)],
        [safe.DetachPartition("event", "shop_event_2030", _BOUND)],
    ],
}


def _passes(phases: Phases, before: Sequence[Operation] = ()) -> None:
    release: list[Sequence[Operation] | Case] = []
    for phase in [*phases, NEXT_RELEASE]:
        if phase != NEXT_RELEASE:
            release.append(phase)
            continue
        _passes_in_one_release(release, before)
        before = [*before, *(operation for one in release for operation in _operations(one))]
        release = []


def _passes_in_one_release(phases: Phases, before: Sequence[Operation]) -> None:
    with shop(before=before) as (rehearsal, models_before):
        state: ProjectState | None = models_before
        for number, phase in enumerate(phases):
            safely = any(type(operation).__module__.startswith(safe.__name__) for operation in _operations(phase))
            case = phase if isinstance(phase, Case) else Case(f"phase_{number}", phase)
            migration = dataclasses.replace(case, atomic=not safely).migration()
            assert state is not None
            broken = [found for found in by_operations(migration, state) if found[0] not in given(migration)]
            report, state = rehearsal.rehearse(migration, state)
            assert (broken, [found for found in report.findings if not found.reason]) == ([], [])


def _operations(phase: Sequence[Operation] | Case) -> Sequence[Operation]:
    return phase.operations if isinstance(phase, Case) else phase


def test_every_recipe_of_the_table_is_here() -> None:
    table = re.findall(r"^\| ([a-z][^|]+?) \| ([^|]+) \|$", TEXT.split("## Recipes")[1].split("###")[0], re.MULTILINE)
    rows = {to: how for to, how in table if to != "to"}

    assert rows.keys() - RECIPES.keys() == {to for to, how in rows.items() if how == "below"}
    assert RECIPES.keys() <= rows.keys()
    for to, phases in RECIPES.items():
        used = {
            type(operation).__name__
            for phase in phases
            for operation in _operations(phase)
            if type(operation).__module__.startswith("backend.")
        }
        assert {name for name in used if f"`{name}`" not in rows[to]} == set(), to


@pytest.mark.parametrize("to", RECIPES)
def test_a_recipe_passes(database: str, to: str) -> None:
    _passes(RECIPES[to], BEFORE.get(to, ()))


CLAIM = [
    migrations.CreateModel(
        "Claim",
        [
            ("id", models.BigAutoField(primary_key=True)),
            ("billed", models.IntegerField()),
            ("colour", models.TextField()),
        ],
    )
]


def _blocks(heading: str) -> list[Case]:
    """The migrations of the code below a heading, as they stand there."""
    code = re.search(rf"### {heading}\n.*?```python\n(.*?)```", TEXT, re.DOTALL)
    assert code is not None
    names: dict[str, Any] = {"migrations": migrations, "models": models}
    names |= {name: getattr(safe, name) for name in safe.__all__}
    found = []
    for node in ast.parse(code[1]).body:
        body = node.body if isinstance(node, ast.ClassDef) else [node]
        values: dict[str, Any] = {}
        exec(compile(ast.Module(body, []), "docs/migrations.md", "exec"), names, values)  # noqa: S102 - our own page
        operations = values.pop("operations")
        for fill in operations:
            if isinstance(fill, safe.Backfill):
                fill.batch = 200  # the shop has fewer rows than a batch of a real table
        values.pop("atomic", None)
        found.append(Case(f"block_{len(found)}", operations, attributes=values))
    return found


def test_the_change_of_a_type_passes_release_by_release(database: str) -> None:
    blocks = _blocks("Change a type")
    mirror = blocks[1].operations[0]
    name, arguments, options = mirror.deconstruct()
    reason = {"rows-differ": "billed_big tells the same"}

    assert name == "MirrorColumns"
    _passes(
        [
            *blocks,
            NEXT_RELEASE,
            [safe.SetNotNull("claim", "billed_big", models.BigIntegerField())],
            [migrations.AlterField("claim", "billed", models.IntegerField(null=True))],
            [safe.ForgetField("claim", "billed")],
            NEXT_RELEASE,
            [safe.UnmirrorColumns(*arguments, **options)],
            Case("drop", [safe.DropColumn("claim", "billed", "integer")], attributes={"safety_exceptions": reason}),
        ],
        CLAIM,
    )


def test_the_drop_of_a_column_passes_release_by_release(database: str) -> None:
    forget, drop = _blocks("Drop a column")

    _passes([forget, NEXT_RELEASE, drop], CLAIM)
