"""The table: NAIVE and SAFE hold the same names in the same order."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from django.db import IntegrityError, migrations, models
from django.db.migrations.operations.base import Operation
from django.db.models.functions import Length
from django.db.models.lookups import LessThanOrEqual

from backend.migration_safety import operations as safe
from benchmarks.migrations.shop import Case, reference

Q = models.Q
OLD_FAILS, LEAST_FAILS, ROWS_DIFFER = "old-statement-fails", "least-insert-fails", "rows-differ"


def _nicknames(apps: Any, schema_editor: Any) -> None:
    apps.get_model("shop", "Customer").objects.using(schema_editor.connection.alias).update(nickname="x")


def _one_by_one(apps: Any, schema_editor: Any) -> None:
    for customer in apps.get_model("shop", "Customer").objects.using(schema_editor.connection.alias).all():
        customer.nickname = "x"
        customer.save()


def _nothing(_apps: Any, _schema_editor: Any) -> None: ...


def _half_an_index(_apps: Any, schema_editor: Any) -> None:
    with suppress(IntegrityError):
        schema_editor.execute("CREATE UNIQUE INDEX CONCURRENTLY half_idx ON shop_remark (text)")


def _sql(forward: str, backward: str = migrations.RunSQL.noop) -> migrations.RunSQL:
    return migrations.RunSQL(forward, backward)


def _naive(name: str, *operations: Operation, broken: str, **options: Any) -> Case:
    return Case(name, operations, frozenset(broken.split()), **options)


def _safe(name: str, *operations: Operation, **options: Any) -> Case:
    """Safe operations set their own timeouts: they pass under Django's migrate too, unless `limit` says otherwise."""
    return Case(name, operations, atomic=False, **{"limit": None, **options})


_SAME_TWICE = _sql("INSERT INTO shop_remark (id, text) VALUES (900001, 'same'), (900002, 'same')")
_FORGOTTEN = (
    _sql("INSERT INTO shop_customer (id, name, email) VALUES (900001, 'known', 'known@example.org')"),
    safe.ForgetField("customer", "email", "''"),
)
_HALF = migrations.RunPython(_half_an_index, migrations.RunPython.noop)
_INDEX = models.Index(fields=["code"], name="shop_order_code_idx")
_UNIQUE = models.UniqueConstraint(fields=["customer", "code"], name="shop_order_code_uq")
_PARTIAL = models.UniqueConstraint(fields=["code"], condition=Q(status="NEW"), name="shop_order_new_uq")
_POSITIVE = models.CheckConstraint(condition=Q(quantity__gt=0), name="shop_order_quantity_ck")
_SHORT = models.CheckConstraint(condition=Q(LessThanOrEqual(Length("name"), 100)), name="shop_customer_name_ck")
_PAID = models.IntegerField()
_FILLED = (
    safe.Backfill("order", "paid_cents = 0", "paid_cents IS NULL", batch=200),
    safe.SetNotNull("order", "paid_cents", _PAID),
)
_ALWAYS_WRITTEN = {"safety_exceptions": {"least-insert-fails": "the code before writes paid_cents in every row"}}
_WITH_AT = models.CheckConstraint(condition=Q(email__contains="@"), name="shop_customer_email_ck")
_RANKED = [migrations.AddField("remark", "rank", models.IntegerField(default=1, db_default=1))]
_TENANT = "current_setting('app.organization_id', true) <> ''"
_PARTITIONED: Sequence[Operation] = (
    migrations.SeparateDatabaseAndState(
        [
            _sql(
                "CREATE TABLE shop_event (id bigint, on_day date, PRIMARY KEY (id, on_day)) PARTITION BY RANGE (on_day)"
            )
        ],
        [
            migrations.CreateModel(
                "Event", [("id", models.BigIntegerField(primary_key=True)), ("on_day", models.DateField())]
            )
        ],
    ),
    _sql("CREATE TABLE shop_event_old PARTITION OF shop_event FOR VALUES FROM ('2010-01-01') TO ('2030-01-01')"),
)
_BOUND = "FROM ('2030-01-01') TO ('2030-02-01')"

NAIVE: list[Case] = [
    _naive(
        "add a column, waiting for ever",
        migrations.AddField("order", "note", models.TextField(null=True)),
        broken="no-lock-timeout",
        limit=None,
    ),
    _naive(
        "add a NOT NULL column with Python's default",
        migrations.AddField("order", "priority", models.IntegerField(default=0)),
        broken=OLD_FAILS,
    ),
    _naive(
        "add a column with a volatile default",
        migrations.AddField("order", "token", models.UUIDField(db_default=models.Func(function="gen_random_uuid"))),
        broken="rewrite",
    ),
    _naive(
        "add a stored generated column",
        migrations.AddField(
            "order",
            "double",
            models.GeneratedField(
                expression=models.F("quantity") * 2, output_field=models.IntegerField(), db_persist=True
            ),
        ),
        broken="rewrite",
    ),
    _naive("add an index", migrations.AddIndex("order", _INDEX), broken="scan-under-lock"),
    _naive(
        "add an index, with an INVALID one of an earlier attempt",
        migrations.AddIndex("remark", models.Index(fields=["text"], name="half_idx")),
        broken="failed",
        before=[_SAME_TWICE, _HALF],
    ),
    _naive(
        "an index that stays INVALID",
        _sql("", "DROP INDEX half_idx"),
        _HALF,
        broken="invalid-index",
        atomic=False,
        before=[_SAME_TWICE],
    ),
    _naive(
        "drop an index, waiting for ever",
        migrations.RemoveIndex("order", "shop_order_at_idx"),
        broken="no-lock-timeout",
        limit=None,
    ),
    _naive("add a unique constraint", migrations.AddConstraint("order", _UNIQUE), broken="scan-under-lock"),
    _naive(
        "add a unique constraint with a condition",
        migrations.AddConstraint("order", _PARTIAL),
        broken="scan-under-lock",
    ),
    _naive(
        "set NOT NULL",
        _sql("UPDATE shop_order SET paid_cents = 0 WHERE paid_cents IS NULL"),
        migrations.AlterField("order", "paid_cents", _PAID),
        broken=f"scan-under-lock {LEAST_FAILS} {ROWS_DIFFER}",
    ),
    _naive(
        "add a foreign key",
        migrations.AlterField("order", "courier", reference(null=True, db_index=False)),
        broken="scan-under-lock",
    ),
    _naive("add a check", migrations.AddConstraint("order", _POSITIVE), broken="scan-under-lock"),
    _naive(
        "validate in the transaction that adds",
        _sql(
            "ALTER TABLE shop_order ADD CONSTRAINT q_ck CHECK (quantity > 0) NOT VALID",
            "ALTER TABLE shop_order DROP CONSTRAINT q_ck",
        ),
        _sql("ALTER TABLE shop_order VALIDATE CONSTRAINT q_ck"),
        broken="scan-under-lock",
    ),
    _naive("change a type", migrations.AlterField("order", "quantity", models.BigIntegerField()), broken="rewrite"),
    _naive(
        "shorten a text", migrations.AlterField("customer", "name", models.CharField(max_length=100)), broken="rewrite"
    ),
    _naive("rename a column", migrations.RenameField("order", "code", "reference"), broken=OLD_FAILS),
    _naive("rename a table", migrations.RenameModel("Remark", "Comment"), broken=OLD_FAILS),
    _naive("drop a column", migrations.RemoveField("customer", "nickname"), broken=f"{OLD_FAILS} {ROWS_DIFFER}"),
    _naive(
        "drop a column that is forgotten, in silence",
        safe.DropColumn("customer", "email", "text DEFAULT '' NOT NULL"),
        broken=ROWS_DIFFER,
        before=_FORGOTTEN,
        atomic=False,
    ),
    _naive("drop a table", migrations.DeleteModel("Remark"), broken=f"{OLD_FAILS} {ROWS_DIFFER}"),
    _naive(
        "backfill in one UPDATE",
        migrations.RunPython(_nicknames, migrations.RunPython.noop),
        broken=f"many-rows-at-once {ROWS_DIFFER}",
    ),
    _naive("RunPython without a way back", migrations.RunPython(_nothing), broken="irreversible"),
    _naive(
        "enable row-level security without a policy",
        _sql("ALTER TABLE shop_order ENABLE ROW LEVEL SECURITY", "ALTER TABLE shop_order DISABLE ROW LEVEL SECURITY"),
        broken=OLD_FAILS,
    ),
    _naive(
        "column and backfill in one transaction",
        migrations.AddField("order", "note", models.TextField(null=True)),
        _sql("UPDATE shop_order SET note = code"),
        broken="many-rows-at-once scan-under-lock",
    ),
    _naive(
        "a lock_timeout that is none",
        _sql("SET LOCAL lock_timeout = '10s'"),
        migrations.AddField("order", "note", models.TextField(null=True)),
        broken="no-lock-timeout",
    ),
    _naive(
        "make a partition, waiting for ever",
        _sql(f"CREATE TABLE shop_event_2030 PARTITION OF shop_event FOR VALUES {_BOUND}", "DROP TABLE shop_event_2030"),
        broken="no-lock-timeout",
        before=_PARTITIONED,
        limit=None,
    ),
    _naive(
        "set NOT NULL where rows hold NULL",
        safe.SetNotNull("order", "paid_cents", _PAID),
        broken="failed",
        atomic=False,
    ),
    _naive(
        "drop the default of a NOT NULL column",
        migrations.AlterField("remark", "rank", models.IntegerField(default=1)),
        broken=LEAST_FAILS,
        before=_RANKED,
    ),
    _naive("add a check of a text", migrations.AddConstraint("customer", _WITH_AT), broken="scan-under-lock"),
    _naive(
        "backfill row by row, in one transaction",
        migrations.RunPython(_one_by_one, migrations.RunPython.noop),
        broken=f"many-rows-at-once {ROWS_DIFFER}",
    ),
    _naive(
        "a lock_timeout that is put back in the same script",
        _sql(
            "SET lock_timeout = 0; ALTER TABLE shop_order ADD COLUMN n int; SET lock_timeout = '100ms'",
            "ALTER TABLE shop_order DROP COLUMN n",
        ),
        broken="no-lock-timeout",
    ),
]

SAFE: list[Case] = [
    Case(NAIVE[0].name, [migrations.AddField("order", "note", models.TextField(null=True))]),
    Case(NAIVE[1].name, [migrations.AddField("order", "priority", models.IntegerField(default=0, db_default=0))]),
    _safe(
        NAIVE[2].name,
        migrations.AddField("order", "token", models.UUIDField(null=True)),
        safe.Backfill("order", "token = gen_random_uuid()", "token IS NULL", batch=200),
        limit=100,
    ),
    _safe(
        NAIVE[3].name,
        migrations.AddField("order", "double", models.IntegerField(null=True)),
        safe.MirrorColumns("order", "quantity", "double", forward="NEW.quantity * 2", backward="NEW.double / 2"),
        safe.Backfill("order", "double = quantity * 2", "double IS NULL", batch=200),
        limit=100,
    ),
    _safe(NAIVE[4].name, safe.AddIndex("order", _INDEX)),
    _safe(
        NAIVE[5].name,
        safe.AddIndex("remark", models.Index(fields=["text"], name="half_idx")),
        before=[_SAME_TWICE, _HALF],
    ),
    _safe(NAIVE[6].name, safe.AddIndex("remark", models.Index(fields=["text"], name="half_idx")), before=[_SAME_TWICE]),
    _safe(NAIVE[7].name, safe.RemoveIndex("order", "shop_order_at_idx")),
    _safe(NAIVE[8].name, safe.AddUnique("order", _UNIQUE)),
    _safe(NAIVE[9].name, safe.AddUnique("order", _PARTIAL)),
    _safe(NAIVE[10].name, *_FILLED, attributes=_ALWAYS_WRITTEN, limit=100),
    _safe(NAIVE[11].name, safe.AddForeignKey("order", "courier", reference(null=True, db_index=False))),
    _safe(NAIVE[12].name, safe.AddConstraint("order", _POSITIVE)),
    _safe(NAIVE[13].name, safe.AddConstraint("order", _POSITIVE)),
    _safe(
        NAIVE[14].name,
        migrations.AddField("order", "quantity_big", models.BigIntegerField(null=True)),
        safe.MirrorColumns(
            "order", "quantity", "quantity_big", forward="NEW.quantity", backward="NEW.quantity_big::integer"
        ),
        safe.Backfill("order", "quantity_big = quantity", "quantity_big IS NULL", batch=200),
        limit=100,
    ),
    _safe(NAIVE[15].name, safe.AddConstraint("customer", _SHORT)),
    _safe(NAIVE[16].name, safe.RenameFieldOnly("order", "code", "reference")),
    Case(
        NAIVE[17].name,
        [migrations.AlterModelTable("Remark", "shop_remark"), migrations.RenameModel("Remark", "Comment")],
    ),
    _safe(NAIVE[18].name, safe.ForgetField("customer", "nickname")),
    _safe(
        NAIVE[19].name,
        safe.DropColumn("customer", "email", "text DEFAULT '' NOT NULL"),
        before=_FORGOTTEN,
        attributes={"safety_exceptions": {ROWS_DIFFER: "no release reads the column any more"}},
    ),
    Case(NAIVE[20].name, [migrations.SeparateDatabaseAndState(state_operations=[migrations.DeleteModel("Remark")])]),
    _safe(NAIVE[21].name, safe.Backfill("customer", "nickname = 'x'", "nickname <> 'x'", batch=200)),
    Case(NAIVE[22].name, [migrations.RunPython(_nothing, migrations.RunPython.noop)]),
    _safe(NAIVE[23].name, safe.EnableRowLevelSecurity("order", "shop_order_tenant", _TENANT)),
    _safe(
        NAIVE[24].name,
        migrations.AddField("order", "note", models.TextField(null=True)),
        safe.Backfill("order", "note = code", "note IS NULL", batch=200),
        limit=100,
    ),
    Case(
        NAIVE[25].name,
        [_sql("SET LOCAL lock_timeout = '50ms'"), migrations.AddField("order", "note", models.TextField(null=True))],
    ),
    _safe(NAIVE[26].name, safe.AttachPartition("event", "shop_event_2030", _BOUND), before=_PARTITIONED),
    _safe(NAIVE[27].name, *_FILLED, attributes=_ALWAYS_WRITTEN, limit=100),
    _safe(
        NAIVE[28].name,
        migrations.AlterField("remark", "rank", models.IntegerField(default=2, db_default=2)),
        before=_RANKED,
        limit=100,
    ),
    _safe(NAIVE[29].name, safe.AddConstraint("customer", _WITH_AT)),
    _safe(NAIVE[30].name, safe.Backfill("customer", "nickname = 'x'", "nickname IS DISTINCT FROM 'x'", batch=200)),
    _safe(
        NAIVE[31].name,
        _sql("ALTER TABLE shop_order ADD COLUMN n int", "ALTER TABLE shop_order DROP COLUMN n"),
        limit=100,
    ),
]
