"""Values for rows that are there already."""

import time
from typing import Any

from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.utils import NotSupportedError

from backend.migration_safety.operations.steps import in_short


class Backfill(Operation):
    """UPDATE in batches by key, each with its own commit; `where` must no longer hold for a row that is done.

    That is how it goes on where it was interrupted, and why it may run again at any time. After a batch it rests as
    long as the batch took, and at least `pause` seconds: for live statements, replicas and autovacuum. Backwards
    nothing is done: the code before does not read what was filled in.

    SQL:
        WITH batch AS (SELECT id FROM table WHERE id > last AND (where) ORDER BY id LIMIT batch FOR NO KEY UPDATE),
        done AS (UPDATE table SET assignments FROM batch WHERE table.id = batch.id RETURNING table.id)
        SELECT id FROM done ORDER BY id DESC LIMIT 1;  -- until it gives nothing
    """

    resumable = True
    outside_transactions = True
    safety_exceptions = {"rows-differ": "the code before a backfill does not read what it fills in"}

    def __init__(
        self, model_name: str, assignments: str, where: str, *, batch: int = 1_000, pause: float = 0.01
    ) -> None:
        self.model_name, self.assignments, self.where = model_name, assignments, where
        self.batch, self.pause = batch, pause

    def describe(self) -> str:
        """What sqlmigrate says."""
        return f"Backfill {self.model_name} in batches: {self.assignments}"

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Nothing."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: Any,
        from_state: ProjectState,  # noqa: ARG002 - Django's signature
        to_state: ProjectState,
    ) -> None:
        """Batch after batch.

        Raises:
            NotSupportedError: inside of a transaction, which would make one batch of all.
        """
        model = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        quote = schema_editor.quote_name
        table, keys = quote(model._meta.db_table), [quote(field.column) for field in model._meta.pk_fields]
        if schema_editor.collect_sql:
            schema_editor.execute(self._sql(table, keys, "true"), None)
            return
        if schema_editor.connection.in_atomic_block:
            raise NotSupportedError("Backfill cannot be executed inside a transaction: set atomic = False.")
        beyond, last = "true", list[Any]()
        while True:
            begin = time.monotonic()
            done = in_short(self._sql(table, keys, beyond), schema_editor, last)
            if not done:
                return
            beyond, last = f"({', '.join(keys)}) > ({', '.join(['%s'] * len(keys))})", list(done[0])
            time.sleep(max(self.pause, time.monotonic() - begin))

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Nothing."""

    def _sql(self, table: str, keys: list[str], beyond: str) -> str:
        key, same = ", ".join(keys), " AND ".join(f"{table}.{key} = batch.{key}" for key in keys)
        found, last = ", ".join(f"{table}.{key}" for key in keys), ", ".join(f"{key} DESC" for key in keys)
        where, assignments = (text.replace("%", "%%") for text in (self.where, self.assignments))
        return (
            f"WITH batch AS (SELECT {key} FROM {table} WHERE {beyond} AND ({where})"
            f" ORDER BY {key} LIMIT {self.batch} FOR NO KEY UPDATE),"
            f" done AS (UPDATE {table} SET {assignments} FROM batch WHERE {same}"
            f" RETURNING {found}) SELECT {key} FROM done ORDER BY {last} LIMIT 1"
        )
