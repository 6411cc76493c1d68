"""The tables of a small shop, and migrations of them that stand in no file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from backend.migration_safety.applying import apply
from backend.migration_safety.rehearsal.demands import demands
from backend.migration_safety.rehearsal.engine import Rehearsal
from backend.migration_safety.rehearsal.verdict import Report
from backend.migration_safety.scratch import redirected, scratch_database

APP = "shop"
SAFELY = 100  # milliseconds: the lock_timeout of migrate_safely
ROWS = 1_000


def reference(**options: Any) -> "models.ForeignKey[Any, Any]":
    """A foreign key to the customer."""
    return models.ForeignKey("shop.Customer", models.PROTECT, related_name="+", **options)


TABLES: list[Operation] = [
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
            ("customer", reference()),
            ("courier", reference(null=True, db_constraint=False, db_index=False)),
            ("code", models.TextField()),
            ("status", models.TextField(choices=[("NEW", "New"), ("PAID", "Paid")])),
            ("quantity", models.IntegerField()),
            ("paid_cents", models.IntegerField(null=True)),
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
    migrations.CreateModel("Remark", [("id", models.BigAutoField(primary_key=True)), ("text", models.TextField())]),
]


@dataclass(frozen=True)
class Case:
    """A migration and the rules that a rehearsal must find broken: exactly these.

    `before` is what earlier releases did; `limit` the lock_timeout of the deployment, None that it uses Django's
    migrate.
    """

    name: str
    operations: Sequence[Operation]
    broken: frozenset[str] = frozenset()
    atomic: bool = True
    limit: int | None = SAFELY
    before: Sequence[Operation] = ()
    attributes: dict[str, Any] = field(default_factory=dict)

    def migration(self) -> migrations.Migration:
        """As Django would have loaded it from a file."""
        return _migration(self.name, operations=list(self.operations), atomic=self.atomic, **self.attributes)


def _migration(name: str, **body: Any) -> migrations.Migration:
    return type("Migration", (migrations.Migration,), {"__module__": __name__, **body})(name, APP)


def state() -> ProjectState:
    """The models of the shop."""
    return _migration("0001_initial", operations=TABLES).mutate_state(ProjectState())


@contextmanager
def shop(
    limit: int | None = SAFELY, before: Sequence[Operation] = (), to_come: Sequence[Operation] = ()
) -> Iterator[tuple[Rehearsal, ProjectState]]:
    """A rehearsal on a scratch database with the tables of the shop, and the models that belong to them.

    `to_come` are the operations that it will be asked to rehearse.
    """
    initial = _migration("0001_initial", operations=TABLES)
    earlier = _migration("0002_earlier", operations=list(before), atomic=False)
    end = state()
    for later in (earlier, _migration("0003_to_come", operations=list(to_come))):
        end = later.mutate_state(end)
    with scratch_database() as scratch, redirected(scratch) as connection:
        rehearsal = Rehearsal(connection, scratch, rows=ROWS, limit=limit, demands=demands(end, connection))
        models_before = apply(rehearsal.executor, ProjectState(), initial)
        yield rehearsal, apply(rehearsal.executor, models_before, earlier)


def rehearsed(case: Case) -> Report:
    """What a rehearsal says of a case."""
    with shop(case.limit, case.before, case.operations) as (rehearsal, before):
        report, _after = rehearsal.rehearse(case.migration(), before)
    return report
