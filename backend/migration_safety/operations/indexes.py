"""Indexes, made and dropped while their table is read and written."""

from collections.abc import Sequence
from typing import ClassVar

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from backend.migration_safety.operations.steps import Model, Step, Stepwise, index_is


def making_index(name: str, create: str, editor: BaseDatabaseSchemaEditor, *, unless: str = "false") -> list[Step]:
    """The steps to an index; what an interrupted CREATE left INVALID goes first."""
    quoted = editor.quote_name(name)
    return [
        Step(f"DROP INDEX CONCURRENTLY {quoted}", index_is(name, valid=False), concurrently=True),
        Step(create, f"NOT ({index_is(name, valid=True)} OR {unless})", concurrently=True),
    ]


def dropping_index(name: str, editor: BaseDatabaseSchemaEditor) -> list[Step]:
    """The step that drops an index, valid or not."""
    there = f"{index_is(name, valid=True)} OR {index_is(name, valid=False)}"
    return [Step(f"DROP INDEX CONCURRENTLY {editor.quote_name(name)}", there, concurrently=True)]


class AddIndex(Stepwise, migrations.AddIndex):
    """An index.

    SQL:
        DROP INDEX CONCURRENTLY name;  -- what an interrupted attempt left INVALID
        CREATE INDEX CONCURRENTLY name ON table (...);  -- SHARE UPDATE EXCLUSIVE; lock_timeout 0
    """

    def making(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """CREATE INDEX CONCURRENTLY."""
        create = str(self.index.create_sql(model, editor, concurrently=True))
        return making_index(self.index.name, create, editor)

    def removing(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:  # noqa: ARG002 - the base class's signature
        """DROP INDEX CONCURRENTLY."""
        return dropping_index(self.index.name, editor)


class RemoveIndex(Stepwise, migrations.RemoveIndex):
    """No index any more.

    SQL:
        DROP INDEX CONCURRENTLY name;  -- lock_timeout 0
    """

    adds: ClassVar[bool] = False

    def making(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:
        """CREATE INDEX CONCURRENTLY."""
        (index,) = [index for index in model._meta.indexes if index.name == self.name]
        return making_index(index.name, str(index.create_sql(model, editor, concurrently=True)), editor)

    def removing(self, model: Model, editor: BaseDatabaseSchemaEditor) -> Sequence[Step]:  # noqa: ARG002 - the base class's signature
        """DROP INDEX CONCURRENTLY."""
        return dropping_index(self.name, editor)
