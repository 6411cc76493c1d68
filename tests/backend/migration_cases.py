"""A small shop, and everyday changes of its tables: as one writes them first, and as they are safe."""

from dataclasses import dataclass, field
from typing import Any

from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

APP = "shop"

BASE: list[Operation] = [
    migrations.CreateModel(
        "Customer",
        [
            ("id", models.BigAutoField(primary_key=True)),
            ("name", models.TextField()),
            ("email", models.TextField()),
            ("nickname", models.TextField(null=True)),
        ],
    ),
    migrations.CreateModel(
        "Order",
        [
            ("id", models.BigAutoField(primary_key=True)),
            ("customer", models.ForeignKey("shop.Customer", models.PROTECT, related_name="+")),
            ("code", models.TextField()),
            ("status", models.TextField(choices=[("NEW", "New"), ("PAID", "Paid")])),
            ("quantity", models.IntegerField()),
            ("paid_cents", models.IntegerField(null=True)),
            ("courier_id", models.BigIntegerField(null=True)),
            ("at", models.DateTimeField()),
        ],
        options={
            "constraints": [
                models.CheckConstraint(condition=models.Q(status__in=["NEW", "PAID"]), name="shop_order_status_ck"),
                models.CheckConstraint(
                    condition=~models.Q(status="PAID") | models.Q(paid_cents__lte=models.F("quantity")),
                    name="shop_order_paid_ck",
                ),
            ],
            "indexes": [models.Index(fields=["at"], name="shop_order_at_idx")],
        },
    ),
]


@dataclass(frozen=True)
class Case:
    """A migration and the rules that a rehearsal must find broken, exactly these."""

    name: str
    operations: list[Operation]
    broken: frozenset[str] = frozenset()
    atomic: bool = True
    limit: int | None = 100
    attributes: dict[str, Any] = field(default_factory=dict)

    def migration(self) -> migrations.Migration:
        """As Django would have loaded it from a file."""
        body = {"operations": self.operations, "atomic": self.atomic, **self.attributes}
        return type("Migration", (migrations.Migration,), body)(self.name, APP)


def base_migration() -> migrations.Migration:
    """The tables before."""
    return type("Migration", (migrations.Migration,), {"operations": BASE, "initial": True})("0001_initial", APP)


def base_state() -> ProjectState:
    """The models before."""
    return base_migration().mutate_state(ProjectState())


def _backfill(apps: Any, schema_editor: Any) -> None:
    apps.get_model("shop", "Customer").objects.using(schema_editor.connection.alias).update(nickname="x")


NAIVE = [
    Case(
        "add_column_without_lock_timeout",
        [migrations.AddField("order", "note", models.TextField(null=True))],
        frozenset({"no-lock-timeout"}),
        limit=None,
    ),
    Case(
        "add_not_null_column_with_python_default",
        [migrations.AddField("order", "priority", models.IntegerField(default=0))],
        frozenset({"old-statement-fails"}),
    ),
    Case(
        "add_column_with_volatile_default",
        [
            migrations.RunSQL(
                "ALTER TABLE shop_order ADD token uuid DEFAULT gen_random_uuid() NOT NULL",
                "ALTER TABLE shop_order DROP token",
            )
        ],
        frozenset({"rewrite"}),
    ),
    Case(
        "enable_rls_without_policy",
        [
            migrations.RunSQL(
                "ALTER TABLE shop_order ENABLE ROW LEVEL SECURITY", "ALTER TABLE shop_order DISABLE ROW LEVEL SECURITY"
            )
        ],
        frozenset({"old-statement-fails"}),
    ),
    Case(
        "add_index",
        [migrations.AddIndex("order", models.Index(fields=["code"], name="c_idx"))],
        frozenset({"scan-under-lock"}),
    ),
    Case(
        "change_type",
        [migrations.AlterField("order", "quantity", models.BigIntegerField())],
        frozenset({"rewrite"}),
    ),
    Case(
        "set_not_null",
        [migrations.AlterField("order", "courier_id", models.BigIntegerField())],
        frozenset({"scan-under-lock"}),
    ),
    Case("backfill_in_one_update", [migrations.RunPython(_backfill)], frozenset({"many-rows-at-once", "irreversible"})),
]
