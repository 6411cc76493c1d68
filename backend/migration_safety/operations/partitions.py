"""Partitions, come and gone without a lock on their parent that anybody waits for."""

from collections.abc import Sequence
from typing import ClassVar

from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from backend.migration_safety.operations.constraints import dropping
from backend.migration_safety.operations.steps import (
    Model,
    StateUnchanged,
    Step,
    constraint,
    literal,
    relation,
    validated,
)


class AddKeyBound(StateUnchanged):
    """A CHECK that the key of every row lies below a bound: a table with one is attached without a scan.

    `bound` is SQL, evaluated once. It must be beyond all that is written until the table is attached: what is not is
    refused.

    SQL:
        ALTER TABLE table ADD CONSTRAINT name CHECK (id < 'bound') NOT VALID;
        ALTER TABLE table VALIDATE CONSTRAINT name;  -- SHARE UPDATE EXCLUSIVE while all rows are read
    """

    def __init__(self, model_name: str, name: str, bound: str) -> None:
        self.model_name, self.name, self.bound = model_name, name, bound

    def describe(self) -> str:
        """What sqlmigrate says."""
        return f"Bound the key of {self.model_name} by {self.name}"

    def making(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """NOT VALID, then VALIDATE."""
        table, name = editor.quote_name(model._meta.db_table), editor.quote_name(self.name)
        [key] = [editor.quote_name(str(field.column)) for field in model._meta.pk_fields]
        oid = relation(model, editor)
        add = literal(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({key} < %L) NOT VALID")
        return [
            Step(
                f"DO $bound$BEGIN EXECUTE format({add}, {self.bound}); END$bound$", f"NOT {constraint(oid, self.name)}"
            ),
            validated(table, oid, self.name, name),
        ]

    def removing(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """DROP CONSTRAINT."""
        return dropping(model, self.name, editor)


class AttachPartition(StateUnchanged):
    """A new partition of a partitioned table. `bound` is SQL: "FROM ('2027-01-01') TO ('2027-02-01')".

    SQL:
        CREATE TABLE partition (LIKE table INCLUDING ALL);  -- a table of its own: no lock on the parent that matters
        ALTER TABLE table ATTACH PARTITION partition FOR VALUES bound;  -- SHARE UPDATE EXCLUSIVE on the parent
        ALTER TABLE partition DROP CONSTRAINT copy;  -- where it was detached before
    """

    def __init__(self, model_name: str, partition: str, bound: str) -> None:
        self.model_name, self.partition, self.bound = model_name, partition, bound

    def describe(self) -> str:
        """What sqlmigrate says."""
        return f"{type(self).__name__} {self.partition} of {self.model_name}"

    def making(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """CREATE TABLE LIKE, then ATTACH."""
        table, partition = editor.quote_name(model._meta.db_table), editor.quote_name(self.partition)
        there = f"to_regclass({literal(partition)}) IS NOT NULL"
        attach = f"ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES {self.bound}"
        return [
            Step(f"CREATE TABLE {partition} (LIKE {table} INCLUDING ALL)", f"NOT {there}"),
            Step(attach, f"NOT {self._attached(model, editor)}"),
            self._without_copy(partition),
        ]

    def removing(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """DETACH CONCURRENTLY, then DROP TABLE if it never had a row; one that had stays as a table of its own."""
        partition = editor.quote_name(self.partition)
        never_used = f"pg_relation_size(to_regclass({literal(partition)})) = 0"
        return [*self.detaching(model, editor), Step(f"DROP TABLE {partition}", never_used)]

    def detaching(self, model: Model, editor: BaseDatabaseSchemaEditor) -> list[Step]:
        """DETACH CONCURRENTLY; an interrupted one is finished."""
        table, partition = editor.quote_name(model._meta.db_table), editor.quote_name(self.partition)
        detach, pending = f"ALTER TABLE {table} DETACH PARTITION {partition}", "inhdetachpending"
        return [
            Step(f"{detach} FINALIZE", self._attached(model, editor, pending), concurrently=True),
            Step(f"{detach} CONCURRENTLY", self._attached(model, editor), concurrently=True),
        ]

    def _without_copy(self, partition: str) -> Step:
        """DETACH CONCURRENTLY leaves the bound as a CHECK; for a partition that says the same once more."""
        table = f"{literal(partition)}::regclass"
        copies = (
            f"FROM pg_constraint WHERE conrelid = {table} AND contype = 'c'"
            f" AND pg_get_expr(conbin, conrelid) = pg_get_partition_constraintdef({table})"
        )
        drop = "format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname)"
        block = f"DECLARE command text; BEGIN FOR command IN SELECT {drop} {copies} LOOP EXECUTE command; END LOOP; END"
        return Step(f"DO $copy${block}$copy$", f"EXISTS (SELECT 1 {copies})")

    def _attached(self, model: Model, editor: BaseDatabaseSchemaEditor, condition: str = "true") -> str:
        child = f"to_regclass({literal(editor.quote_name(self.partition))})"
        return (
            f"EXISTS (SELECT 1 FROM pg_inherits WHERE inhparent = {relation(model, editor)}"
            f" AND inhrelid = {child} AND {condition})"
        )


class DetachPartition(AttachPartition):
    """A partition becomes a table of its own, with its rows. `bound` is what it was.

    SQL:
        ALTER TABLE table DETACH PARTITION partition CONCURRENTLY;  -- SHARE UPDATE EXCLUSIVE on the parent
    """

    adds: ClassVar[bool] = False

    def removing(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """DETACH CONCURRENTLY."""
        return self.detaching(model, editor)
