"""What answers one plain root field: its statements, and how their rows become the JSON text of its value."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from django.conf import settings
from django.db.models import Model

from backend.db.pipeline import TextRow
from backend.db.sql import Slot, Statement
from schema.execution.sqljson.compiler import Compiler, PageCell, PageText
from schema.execution.sqljson.outline import Bound, Page, Row
from schema.execution.sqljson.parameters import Parameter
from schema.execution.sqljson.sizes import values_of_item, values_of_row
from schema.execution.sqljson.texts import MISFIT_BYTE, concat
from schema.protection import Protection


@dataclass(frozen=True, slots=True)
class Query:
    """One statement with numbered parameters."""

    text: bytes
    parameters: tuple[Parameter, ...]


class Plan(Protocol):
    """The statements of a root field and their rendering; one plan serves every request of its shape."""

    @property
    def queries(self) -> tuple[Query, ...]:
        """The statements, in the order in which `render` takes their rows."""

    @property
    def model(self) -> type[Model]:
        """What the rows are of."""

    @property
    def values(self) -> tuple[int, int]:
        """How many rows the first statement may have, and how many values of the answer each."""

    def render(self, results: Sequence[Sequence[TextRow]]) -> bytes:
        """The JSON text of the field's value; with MISFIT_BYTE in it where the executor has to make an error."""

    def rows(self, results: Sequence[Sequence[TextRow]]) -> int:
        """How many rows the field's list has."""

    def shown(self, results: Sequence[Sequence[TextRow]]) -> list[uuid.UUID]:
        """The ids of its rows, where the model is protected; they stand in the last column."""


def _key(model: type[Model], alias: str) -> list[str]:
    return [f'{alias}."id"'] if model in Protection.models else []


def _ids(rows: Sequence[TextRow]) -> list[uuid.UUID]:
    return [uuid.UUID(row[-1].decode()) for row in rows if row[-1] is not None]


def _query(compiler: Compiler, text: str) -> Query:
    return Query(text.encode(), tuple(compiler.parameters))


@dataclass(frozen=True, slots=True)
class RowPlan:
    """One row by its id."""

    queries: tuple[Query, ...]
    required: bool
    model: type[Model]
    values: tuple[int, int]

    @classmethod
    def of(cls, row: Row, bounds: Sequence[Bound], *, required: bool) -> "RowPlan":
        """Compiles it; the first bound has the slot `id`."""
        compiler = Compiler(bounds)
        alias = compiler.alias()
        cells = ", ".join([concat(compiler.row(row, alias)), *_key(row.model, alias)])
        key = compiler.placed(Statement("%s", (Slot("id"),)))
        text = f'SELECT {cells} FROM {row.model._meta.db_table} {alias} WHERE {alias}."id" = {key}'
        return cls((_query(compiler, text),), required, row.model, (1, values_of_row(row, bounds)))

    def render(self, results: Sequence[Sequence[TextRow]]) -> bytes:
        """The object, or null."""
        rows = results[0]
        if rows:
            return rows[0][0] or MISFIT_BYTE
        return MISFIT_BYTE if self.required else b"null"

    def rows(self, results: Sequence[Sequence[TextRow]]) -> int:
        """One or none."""
        return len(results[0])

    def shown(self, results: Sequence[Sequence[TextRow]]) -> list[uuid.UUID]:
        """The row's id."""
        return _ids(results[0]) if self.model in Protection.models else []


@dataclass(frozen=True, slots=True)
class PagePlan:
    """A page: one text row per row of the list, joined here; and the count, if it is wanted."""

    queries: tuple[Query, ...]
    pieces: tuple[bytes | PageCell, ...]
    size: int
    backward: bool
    listed: bool  # whether the first statement reads the rows
    cursor: int  # column of the cursor; there is none, and no id either, where rows only have to be there
    model: type[Model]
    keyed: bool
    values: tuple[int, int]

    @classmethod
    def of(cls, page: Page, bounds: Sequence[Bound]) -> "PagePlan":
        """Compiles it; the first bound is the page's."""
        query = bounds[page.use.number].page
        compiler = Compiler(bounds)
        alias = compiler.alias()
        text = compiler.page(page.connection, page.use, alias)
        queries = []
        keyed = page.connection.model in Protection.models and bool(text.lists or text.cursor)
        listed = bool(text.lists or text.cursor) or any(piece == PageCell("more") for piece in text.pieces)
        if listed:
            columns = _columns(text, _key(page.connection.model, alias) if keyed else [])
            queries.append(_query(compiler, f"SELECT {columns} FROM {compiler.rows_of(page.use, None, alias)}"))
        if text.counted:
            counting = Compiler(bounds)
            queries.append(_query(counting, counting.count_of(page.use, None)))
        pieces = tuple(piece.encode() if isinstance(piece, str) else piece for piece in text.pieces)
        arguments = query.arguments
        size, backward = arguments.size, arguments.backward
        values = (size + 1, values_of_item(page.connection, bounds))
        model = page.connection.model
        return cls(tuple(queries), pieces, size, backward, listed, len(text.lists), model, keyed, values)

    def render(self, results: Sequence[Sequence[TextRow]]) -> bytes:
        """The connection."""
        rows = results[0] if self.listed else ()
        more = len(rows) > self.size
        rows = rows[: self.size]
        if self.backward:
            rows = rows[::-1]
        count = int(results[-1][0][0] or 0) if len(results) > self.listed else 0
        return b"".join(
            piece if isinstance(piece, bytes) else self._cell(piece, rows, count, more=more) for piece in self.pieces
        )

    def rows(self, results: Sequence[Sequence[TextRow]]) -> int:
        """Those of the page; the one more that was read says only that there are others."""
        return min(len(results[0]), self.size) if self.listed else 0

    def shown(self, results: Sequence[Sequence[TextRow]]) -> list[uuid.UUID]:
        """The ids of the page's rows."""
        return _ids(results[0][: self.size]) if self.keyed else []

    def _cell(self, piece: PageCell, rows: Sequence[TextRow], count: int, *, more: bool) -> bytes:
        cap = settings.ENVIRONMENT.count_cap
        match piece.name:
            case "list":
                number = piece.number
                return b",".join([row[number] or MISFIT_BYTE for row in rows])
            case "more":
                return b"true" if more else b"false"
            case "start" | "end":
                cursor = rows[0 if piece.name == "start" else -1][self.cursor] if rows else None
                return b"null" if cursor is None else b'"' + cursor + b'"'
            case "total":
                return str(min(count, cap)).encode()
            case _:
                return b'"EXACT"' if count <= cap else b'"AT_LEAST"'


def _columns(text: PageText, key: Sequence[str]) -> str:
    return ", ".join([*text.lists, *([text.cursor] if text.cursor else []), *key] or ["''"])
