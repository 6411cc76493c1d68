"""How many values a part of an outline may put into the answer, by the sizes of its pages."""

from collections.abc import Sequence

from schema.execution.sqljson.outline import Bound, Connection, First, Grouped, Items, Many, One, Page, Part, Row

_SHORT = 10  # rows of a short list, as its price has it


def values_of_row(row: Row, bounds: Sequence[Bound]) -> int:
    """Those of one row, with all below it."""
    return sum(_values(part, bounds) for _, part in row.fields)


def values_of_item(connection: Connection, bounds: Sequence[Bound]) -> int:
    """Those that a page has for each of its rows, in all of its lists."""
    lists = [part for _, part in connection.fields if isinstance(part, Items)]
    rows = [one.row for one in lists if one.row is not None]
    edges = [part for one in lists for _, part in one.edge]
    rows += [part for part in edges if isinstance(part, Row)]
    return len(edges) + sum(values_of_row(row, bounds) for row in rows)


def _values(part: Part, bounds: Sequence[Bound]) -> int:
    match part:
        case One():
            return values_of_row(part.row, bounds)
        case Many():
            return _SHORT * values_of_row(part.row, bounds)
        case First():
            return bounds[part.use.number].page.arguments.size * values_of_row(part.row, bounds)
        case Page():
            return bounds[part.use.number].page.arguments.size * values_of_item(part.connection, bounds)
        case Grouped():
            return len(part.fields)
        case _:
            return 1
