"""The dataloaders of one operation, made when first needed. They are never shared between operations or tenants."""

import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from typing import Any

from aiodataloader import DataLoader
from django.conf import settings
from django.db import models

from backend.db.reads import Snapshot
from backend.db.sql import STATEMENTS, Slot, Statement, compiled, row_reader
from schema.relay.pages import Count, Page, PageQuery, bounded

BatchFunction = Callable[[list[uuid.UUID]], Coroutine[Any, Any, list[Any]]]


class Loaders:
    """The four shapes: one row by key, many rows by key, one page per parent, one aggregate per parent.

    A loader is keyed by the relation and its arguments, so one relation under two aliases with different arguments is
    two statements, whatever the number of parents.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._loaders: dict[Hashable, DataLoader[uuid.UUID, Any]] = {}

    def _loader(self, key: Hashable, batch: Callable[[], BatchFunction]) -> "DataLoader[uuid.UUID, Any]":
        loader = self._loaders.get(key)
        if loader is None:
            loader = self._loaders[key] = DataLoader(batch_load_fn=batch())
        return loader

    def row(self, model: type[models.Model], key: uuid.UUID) -> Awaitable[Any]:
        """A row by its id; None where the organization has no such row.

        SQL: 1 for all keys of a tick.
        """
        return self._loader(("row", model), lambda: self._rows_by_key(model)).load(key)

    def many(
        self, name: str, queryset: Callable[[], models.QuerySet[Any]], parent: str, key: uuid.UUID
    ) -> Awaitable[Any]:
        """All rows of a capped list of one parent, in the queryset's order.

        SQL: 1 for all parents of a tick.
        """
        return self._loader(("many", name), lambda: self._rows_by_parent(name, queryset, parent)).load(key)

    def page(self, query: PageQuery, parent: uuid.UUID) -> Awaitable[Page]:
        """A page of one parent's list.

        SQL: 1 for all parents of a tick.
        """
        values = query.values()
        key = ("page", query.shape, _frozen(values))
        return self._loader(key, lambda: self._pages(query, values)).load(parent)

    def aggregate(self, name: str, text: str, key: uuid.UUID) -> Awaitable[Any]:
        """The values of one parent's row of a grouped statement, None where it has no row for the parent.

        The text takes a list of keys and gives (key, value...) rows.

        SQL: 1 for all parents of a tick.
        """
        return self._loader(("aggregate", name), lambda: self._aggregates(text)).load(key)

    def _rows_by_key(self, model: type[models.Model]) -> BatchFunction:
        read = row_reader(model)

        async def load(keys: list[uuid.UUID]) -> list[Any]:
            statement = STATEMENTS.get(
                ("row", model), lambda: compiled(models.QuerySet(model).filter(id__any_of=Slot("keys")).order_by())
            )
            found = await self.snapshot.rows(statement.text, statement.bind({"keys": list(keys)}))
            rows = {row.pk: row for row in map(read, found)}
            return [rows.get(key) for key in keys]

        return load

    def _rows_by_parent(self, name: str, queryset: Callable[[], models.QuerySet[Any]], parent: str) -> BatchFunction:
        async def load(keys: list[uuid.UUID]) -> list[Any]:
            statement = STATEMENTS.get(
                ("many", name), lambda: compiled(queryset().filter(**{f"{parent}__any_of": Slot("keys")}))
            )
            read = row_reader(queryset().model)
            groups: defaultdict[uuid.UUID, list[Any]] = defaultdict(list)
            for row in await self.snapshot.rows(statement.text, statement.bind({"keys": list(keys)})):
                instance = read(row)
                groups[getattr(instance, parent)].append(instance)
            return [groups[key] for key in keys]

        return load

    def _pages(self, query: PageQuery, values: dict[str, Any]) -> BatchFunction:
        read = row_reader(query.source.model)

        async def load(parents: list[uuid.UUID]) -> list[Any]:
            pages: list[list[models.Model]] = [[] for _ in parents]
            if query.arguments.size:
                for ordinal, *row in await self._lateral(query.statement(), parents, values):
                    pages[ordinal - 1].append(read(row))
            return [
                Page(query, rows, self._counter(query, parent)) for parent, rows in zip(parents, pages, strict=True)
            ]

        return load

    def _counter(self, query: PageQuery, parent: uuid.UUID) -> Callable[[], Awaitable[Count]]:
        values = {**query.filter.values, "limit": settings.ENVIRONMENT.count_cap + 1}
        key = ("count", query.source.key, query.filter.shape, _frozen(values))

        async def load(parents: list[uuid.UUID]) -> list[Any]:
            rows = await self._lateral(query.count_statement(), parents, values)
            return [bounded(count) for _, count in rows]

        return lambda: self._loader(key, lambda: load).load(parent)

    async def _lateral(
        self, statement: Statement, parents: Sequence[uuid.UUID], values: dict[str, Any]
    ) -> list[tuple[Any, ...]]:
        return await self.snapshot.rows(statement.text, statement.bind({**values, "parents": list(parents)}))

    def _aggregates(self, text: str) -> BatchFunction:
        async def load(keys: list[uuid.UUID]) -> list[Any]:
            found = {key: values for key, *values in await self.snapshot.rows(text, [list(keys)])}
            return [found.get(key) for key in keys]

        return load


def _frozen(values: dict[str, Any]) -> Hashable:
    return tuple(sorted((name, tuple(value) if isinstance(value, list) else value) for name, value in values.items()))
