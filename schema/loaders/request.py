"""The dataloaders of one operation, made when first needed. They are never shared between operations or tenants."""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Generator, Hashable, Sequence
from itertools import chain
from typing import Any

from aiodataloader import DataLoader
from django.conf import settings
from django.db import models

from backend.core.futures import heard
from backend.db.snapshots import Snapshot
from backend.db.sql import STATEMENTS, Columns, Slot, Statement, compiled, narrowed, row_reader, uuid_array
from schema.relay.pages import Count, Note, Page, PageQuery, bounded

Key = uuid.UUID | None
BatchFunction = Callable[[list[uuid.UUID]], Coroutine[Any, Any, list[Any]]]


class First:
    """The first of a list to come. No coroutine: graphql-core leaves some unawaited, of which Python would complain."""

    def __init__(self, values: Awaitable[list[Any]]) -> None:
        self._values = values

    def __await__(self) -> Generator[Any, None, Any]:
        return (yield from self._values.__await__())[0]


class _Shared:
    """Values that several wait for; one of whom is cancelled, as graphql-core does beside an error, stops alone."""

    def __init__(self, values: asyncio.Future[list[Any]]) -> None:
        self._values = values
        values.add_done_callback(heard)

    def __await__(self) -> Generator[Any, None, list[Any]]:
        return asyncio.shield(self._values).__await__()


class _Groups:
    """Loads keys by groups, so that all rows of a level wait for one future; what is known is not asked for again."""

    def __init__(self, load: BatchFunction) -> None:
        self._load = load
        self._known: dict[Key, Any] = {None: None}

    async def values(self, groups: list[tuple[Key, ...]]) -> list[list[Any]]:
        known = self._known
        missing = [key for key in dict.fromkeys(chain.from_iterable(groups)) if key is not None and key not in known]
        if missing:
            known.update(zip(missing, await self._load(missing), strict=True))
        return [[known[key] for key in group] for group in groups]


def _cache_key(keys: tuple[Key, ...]) -> Hashable:
    """Rows that come one by one share what is on its way; those of a level come together, and are costly to hash."""
    return keys if len(keys) == 1 else object()


class Loaders:
    """The four shapes: one row by key, many rows by key, one page per parent, one aggregate per parent.

    Each takes the keys of all rows that ask. A loader is keyed by the relation and its arguments, so one relation under
    two aliases with different arguments is two statements, whatever the number of parents. It is keyed by the columns
    too (None: all), so that nobody gets a row that was read for somebody who needed less of it.
    """

    def __init__(self, snapshot: Snapshot, note: Note) -> None:
        self.snapshot = snapshot
        self._note = note
        self._loaders: dict[Hashable, DataLoader[tuple[Key, ...], list[Any]]] = {}

    def _load(self, name: Hashable, keys: Sequence[Key], batch: Callable[[], BatchFunction]) -> Awaitable[list[Any]]:
        loader = self._loaders.get(name)
        if loader is None:
            loader = self._loaders[name] = DataLoader(batch_load_fn=_Groups(batch()).values, get_cache_key=_cache_key)
        return _Shared(loader.load(tuple(keys)))

    def rows(
        self, model: type[models.Model], keys: Sequence[Key], columns: Columns | None = None
    ) -> Awaitable[list[Any]]:
        """Rows by their ids; None where the organization has no such row, or there is no id.

        SQL: 1 for all keys of a tick.
        """
        return self._load(("row", model, columns), keys, lambda: self._rows_by_key(model, columns))

    def row(self, model: type[models.Model], key: uuid.UUID, columns: Columns | None = None) -> Awaitable[Any]:
        """A row by its id; None where the organization has no such row.

        SQL: 1 for all keys of a tick.
        """
        return First(self.rows(model, [key], columns))

    def many(
        self,
        name: str,
        queryset: Callable[[], models.QuerySet[Any]],
        parent: str,
        keys: Sequence[uuid.UUID],
        columns: Columns | None = None,
    ) -> Awaitable[list[Any]]:
        """All rows of a capped list of each parent, in the queryset's order.

        SQL: 1 for all parents of a tick.
        """
        if columns is not None and parent not in columns:
            columns = (*columns, parent)
        return self._load(("many", name, columns), keys, lambda: self._rows_by_parent(name, queryset, parent, columns))

    def pages(self, query: PageQuery, parents: Sequence[uuid.UUID]) -> Awaitable[list[Page]]:
        """A page of each parent's list.

        SQL: 1 for all parents of a tick.
        """
        values = query.values()
        return self._load(("page", query.shape, _frozen(values)), parents, lambda: self._pages(query, values))

    def aggregates(self, name: str, text: str, keys: Sequence[uuid.UUID]) -> Awaitable[list[Any]]:
        """The values of each parent's row of a grouped statement, None where it has no row for the parent.

        The text takes a list of keys and gives (key, value...) rows.

        SQL: 1 for all parents of a tick.
        """
        return self._load(("aggregate", name), keys, lambda: self._aggregates(text))

    def _rows_by_key(self, model: type[models.Model], columns: Columns | None) -> BatchFunction:
        read: Callable[[Sequence[Any]], Any] = row_reader(model, columns)

        def statement_of_rows() -> Statement:
            return compiled(narrowed(models.QuerySet(model).filter(id__any_of=Slot("keys")).order_by(), columns))

        async def load(keys: list[uuid.UUID]) -> list[Any]:
            statement = STATEMENTS.get(("row", model, columns), statement_of_rows)
            found = await self.snapshot.rows(statement.text, statement.bind({"keys": uuid_array(keys)}))
            rows = {row.id: row for row in map(read, found)}
            self._note(model, rows)
            return [rows.get(key) for key in keys]

        return load

    def _rows_by_parent(
        self, name: str, queryset: Callable[[], models.QuerySet[Any]], parent: str, columns: Columns | None
    ) -> BatchFunction:
        def statement_of_rows() -> Statement:
            return compiled(narrowed(queryset().filter(**{f"{parent}__any_of": Slot("keys")}), columns))

        async def load(keys: list[uuid.UUID]) -> list[Any]:
            statement = STATEMENTS.get(("many", name, columns), statement_of_rows)
            model = queryset().model
            read = row_reader(model, columns)
            groups: defaultdict[uuid.UUID, list[Any]] = defaultdict(list)
            for row in await self.snapshot.rows(statement.text, statement.bind({"keys": uuid_array(keys)})):
                instance = read(row)
                groups[getattr(instance, parent)].append(instance)
            self._note(model, [row.pk for rows in groups.values() for row in rows])
            return [groups[key] for key in keys]

        return load

    def _pages(self, query: PageQuery, values: dict[str, Any]) -> BatchFunction:
        read = row_reader(query.source.model, query.columns)

        async def load(parents: list[uuid.UUID]) -> list[Any]:
            pages: list[list[models.Model]] = [[] for _ in parents]
            if query.arguments.size:
                for ordinal, *row in await self._lateral(query.statement(), parents, values):
                    pages[ordinal - 1].append(read(row))
            return [
                Page(query, rows, self._counter(query, parent), self._note)
                for parent, rows in zip(parents, pages, strict=True)
            ]

        return load

    def _counter(self, query: PageQuery, parent: uuid.UUID) -> Callable[[], Awaitable[Count]]:
        values = {**query.filter.values, "limit": settings.ENVIRONMENT.count_cap + 1}
        key = ("count", query.source.key, query.filter.shape, _frozen(values))

        async def load(parents: list[uuid.UUID]) -> list[Any]:
            rows = await self._lateral(query.count_statement(), parents, values)
            return [bounded(count) for _, count in rows]

        return lambda: First(self._load(key, [parent], lambda: load))

    async def _lateral(
        self, statement: Statement, parents: Sequence[uuid.UUID], values: dict[str, Any]
    ) -> list[tuple[Any, ...]]:
        return await self.snapshot.rows(statement.text, statement.bind({**values, "parents": uuid_array(parents)}))

    def _aggregates(self, text: str) -> BatchFunction:
        async def load(keys: list[uuid.UUID]) -> list[Any]:
            found = {key: values for key, *values in await self.snapshot.rows(text, [uuid_array(keys)])}
            return [found.get(key) for key in keys]

        return load


def _frozen(values: dict[str, Any]) -> Hashable:
    return tuple(sorted((name, tuple(value) if isinstance(value, list) else value) for name, value in values.items()))
