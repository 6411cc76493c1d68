"""From an outline and the shape of its arguments to SQL. One instance compiles one root field."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from backend.db.sql import STATEMENTS, ParentKey, Slot, Statement, beneath, compiled
from schema.execution.sqljson.leaves import Leaf
from schema.execution.sqljson.outline import (
    Bound,
    Connection,
    First,
    Grouped,
    Id,
    Items,
    Many,
    Neighbours,
    One,
    Page,
    Part,
    Row,
    Text,
    Total,
    Use,
)
from schema.execution.sqljson.parameters import NumberedText, Parameter
from schema.execution.sqljson.texts import MISFIT, Cell, Parts, concat, json_text, literal, object_of


@dataclass(frozen=True, slots=True)
class PageText:
    """The JSON text of a page around what its rows say: literals and `PageCell`s."""

    pieces: tuple["str | PageCell", ...]
    lists: tuple[str, ...]  # SQL of the JSON text of a row, for each list of the page
    cursor: str | None  # SQL of a row's cursor, where pageInfo needs it
    counted: bool


@dataclass(frozen=True, slots=True)
class PageCell:
    """What the rows of a page say: a list by its number, `more`, `start`, `end`, `total` or `precision`."""

    name: str
    number: int = 0


class Compiler:
    """Compiles parts of one root field; `parameters` are those of the whole statement."""

    def __init__(self, bounds: Sequence[Bound]) -> None:
        self._bounds = bounds
        self._aliases = 0
        self.parameters: list[Parameter] = []

    def alias(self) -> str:
        """A name for a row that no other part of the statement has."""
        self._aliases += 1
        return f"t{self._aliases}"

    def placed(self, statement: Statement, use: Use | None = None) -> str:
        """The text of a statement with numbered placeholders; its slots take the values of the use's arguments."""
        found = NumberedText.of(statement, len(self.parameters), use.number if use else 0)
        self.parameters.extend(found.parameters)
        return found.text

    def bound(self, use: Use) -> Bound:
        """The arguments of a use."""
        return self._bounds[use.number]

    def row(self, row: Row, alias: str) -> Parts:
        """The JSON object of a row."""
        return object_of((key, self._part(part, alias)) for key, part in row.fields)

    def _part(self, part: Part, alias: str) -> Parts:
        if isinstance(part, Leaf):
            return part.parts(alias)
        if isinstance(part, Text):
            return [part.json]
        if isinstance(part, Id):
            return ['"', Cell(f"encode({literal(part.tag)}::bytea || uuid_send({alias}.\"id\"), 'base64')"), '"']
        return _RELATIONS[type(part)](self, part, alias)

    def one(self, part: One, outer: str) -> Parts:
        """A row that this row points at."""
        alias, missing = self.alias(), MISFIT if part.required else "'null'"
        rows = f'{part.row.model._meta.db_table} {alias} WHERE {alias}."id" = {outer}."{part.declaration.attribute}"'
        return [Cell(f"coalesce((SELECT {concat(self.row(part.row, alias))} FROM {rows}), {missing})")]

    def first(self, part: First, outer: str) -> Parts:
        """The first rows of a child page as a plain list, or the very first one."""
        query, alias = self.bound(part.use).page, self.alias()
        statement = query.rows_beneath(_key(outer))
        rows = f"({self.placed(statement, part.use)} LIMIT {query.arguments.size}) {alias}"
        cell = f"SELECT {concat(self.row(part.row, alias))} FROM {rows}"
        if part.single:
            return [Cell(f"coalesce(({cell}), 'null')")]
        return ["[", Cell(f"array_to_string(array({cell}), ',')"), "]"]

    def many(self, part: Many, outer: str) -> Parts:
        """All rows of a short list."""
        alias, declared = self.alias(), part.declaration
        rows = STATEMENTS.get(
            ("many of one", declared.name), lambda: compiled(declared.rows().filter(**{declared.parent: ParentKey()}))
        )
        cell = f"SELECT {concat(self.row(part.row, alias))} FROM ({self.placed(beneath(rows, _key(outer)))}) {alias}"
        return ["[", Cell(f"array_to_string(array({cell}), ',')"), "]"]

    def grouped(self, part: Grouped, outer: str) -> Parts:
        """An object of grouped values; its defaults where the statement has no row."""
        alias, declared = self.alias(), part.declaration
        found: list[tuple[str, Parts]] = []
        default: list[tuple[str, Parts]] = []
        for key, value in part.fields:
            known: Parts | None = [value.json] if isinstance(value, Text) else None
            found.append((key, known or [Cell(f'{alias}."{value}"')]))
            default.append((key, known or [str(declared.default)]))
        statement = declared.text.replace("%s", f'ARRAY[{outer}."id"]')
        known_row = f"SELECT {concat(object_of(found))} FROM ({statement}) {alias}"
        return [Cell(f"coalesce(({known_row}), {concat(object_of(default))})")]

    def page(self, connection: Connection, use: Use, alias: str) -> PageText:
        """The text of a page whose rows have that alias."""
        arguments, keyset = self.bound(use).page.arguments, self.bound(use).page.keyset
        lists: list[str] = []
        pieces: list[str | PageCell] = ["{"]
        for number, (key, value) in enumerate(connection.fields):
            pieces.append(("," if number else "") + json_text(key) + ":")
            match value:
                case Text():
                    pieces.append(value.json)
                case Items():
                    pieces.extend(["[", PageCell("list", len(lists)), "]"])
                    lists.append(concat(self._item(value, alias, keyset.cursor_sql(alias))))
                case Neighbours():
                    pieces.extend(_neighbours(value, arguments))
                case Total():
                    pieces.append(PageCell("precision" if value.precision else "total"))
        pieces.append("}")
        wanted = {piece.name for piece in pieces if isinstance(piece, PageCell)}
        cursor = keyset.cursor_sql(alias) if wanted & {"start", "end"} else None
        return PageText(tuple(_joined(pieces)), tuple(lists), cursor, counted=bool(wanted & {"total", "precision"}))

    def _item(self, items: Items, alias: str, cursor: str) -> Parts:
        if items.row is not None:
            return self.row(items.row, alias)
        fields: list[tuple[str, Parts]] = []
        for key, value in items.edge:
            if isinstance(value, Row):
                fields.append((key, self.row(value, alias)))
            else:
                fields.append((key, ['"', Cell(cursor), '"'] if value is None else [value.json]))
        return object_of(fields)

    def rows_of(self, use: Use, outer: str | None, alias: str) -> str:
        """The rows of a page and one more, as an item of FROM; of a root page without an `outer` row."""
        query = self.bound(use).page
        size = query.arguments.size
        rows = query.rows_beneath(_key(outer) if outer else None)
        # The size stands in the text, because the planner has to know that only a few rows are wanted.
        return f"({self.placed(rows, use)} LIMIT {size + 1 if size else 0}) {alias}"

    def count_of(self, use: Use, outer: str | None) -> str:
        """The statement that counts the rows of a page's list, up to one more than the cap."""
        statement = self.bound(use).page.count_beneath(_key(outer) if outer else None)
        limit = settings.ENVIRONMENT.count_cap + 1
        filled = (limit if isinstance(item, Slot) and item.name == "limit" else item for item in statement.parameters)
        return self.placed(Statement(statement.text, tuple(filled)), use)

    def child_page(self, part: Page, outer: str) -> Parts:
        """A page of rows that point at this row."""
        query, alias = self.bound(part.use).page, self.alias()
        size, page = query.arguments.size, self.page(part.connection, part.use, alias)
        gathered, source = self.alias(), self.rows_of(part.use, outer, alias)
        rows = _backward(page, source, size) if query.arguments.backward else _forward(page, source, size)
        counted = ""
        if page.counted:
            counted = f" CROSS JOIN LATERAL ({self.count_of(part.use, outer)}) counted(n)"
        cells = [piece if isinstance(piece, str) else Cell(_page_cell(piece, gathered)) for piece in page.pieces]
        return [Cell(f"(SELECT {concat(cells)} FROM ({rows}) {gathered}{counted})")]


_RELATIONS: dict[type, Callable[[Compiler, Any, str], Parts]] = {
    One: Compiler.one,
    First: Compiler.first,
    Many: Compiler.many,
    Grouped: Compiler.grouped,
    Page: Compiler.child_page,
}


def _key(alias: str) -> str:
    return f'{alias}."id"'


def _joined(pieces: list[str | PageCell]) -> list[str | PageCell]:
    found: list[str | PageCell] = []
    for piece in pieces:
        if isinstance(piece, str) and found and isinstance(found[-1], str):
            found[-1] += piece
        else:
            found.append(piece)
    return found


def _neighbours(value: Neighbours, arguments: Any) -> list[str | PageCell]:
    """What pageInfo says: at the end where reading began, only whether a cursor was given is known."""
    constant = {
        "hasNextPage": arguments.before is not None if arguments.backward else None,
        "hasPreviousPage": None if arguments.backward else arguments.after is not None,
    }
    pieces: list[str | PageCell] = ["{"]
    for number, (key, name) in enumerate(value.fields):
        pieces.append(("," if number else "") + json_text(key) + ":")
        if isinstance(name, Text):
            pieces.append(name.json)
        elif name in constant:
            known = constant[name]
            pieces.append(PageCell("more") if known is None else "true" if known else "false")
        else:
            pieces.append(PageCell(name.removesuffix("Cursor")))
    pieces.append("}")
    return pieces


def _forward(page: PageText, source: str, size: int) -> str:
    """The lists l0, l1, ... and the cursors c as arrays, and whether there is more; from rows in order."""
    if len(page.lists) == 1 and page.cursor is None:
        # The commonest form has the cheapest one: an array straight from the ordered rows.
        return (
            f"SELECT r.l0[1:{size}] AS l0, cardinality(r.l0) > {size} AS more"
            f" FROM (SELECT array(SELECT {page.lists[0]} FROM {source}) AS l0 OFFSET 0) r"
        )
    columns, arrays = _columns(page)
    sliced = ", ".join(f"(array_agg(r.{name}))[1:{size}] AS {name}" for name in arrays)
    return f"SELECT {sliced}{', ' if sliced else ''}count(*) > {size} AS more FROM (SELECT {columns} FROM {source}) r"


def _backward(page: PageText, source: str, size: int) -> str:
    """The same from rows in reverse order."""
    columns, arrays = _columns(page)
    kept = ", ".join(f"array_agg(r.{name} ORDER BY r.n DESC) FILTER (WHERE r.n <= {size}) AS {name}" for name in arrays)
    return (
        f"SELECT {kept}{', ' if kept else ''}count(*) > {size} AS more"
        f" FROM (SELECT {columns}, row_number() OVER () AS n FROM {source}) r"
    )


def _columns(page: PageText) -> tuple[str, list[str]]:
    named = {f"l{number}": sql for number, sql in enumerate(page.lists)}
    if page.cursor is not None:
        named["c"] = page.cursor
    return ", ".join(f"{sql} AS {name}" for name, sql in named.items()) or "1", list(named)


def _page_cell(piece: PageCell, alias: str) -> str:
    cap = settings.ENVIRONMENT.count_cap
    match piece.name:
        case "list":
            return f"array_to_string({alias}.l{piece.number}, ',')"
        case "more":
            return f"CASE WHEN {alias}.more THEN 'true' ELSE 'false' END"
        case "start":
            return f"coalesce('\"' || {alias}.c[1] || '\"', 'null')"
        case "end":
            return f"coalesce('\"' || {alias}.c[cardinality({alias}.c)] || '\"', 'null')"
        case "total":
            return f"least(counted.n, {cap})"
        case _:
            return f"CASE WHEN counted.n <= {cap} THEN '\"EXACT\"' ELSE '\"AT_LEAST\"' END"
