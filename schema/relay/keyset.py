"""Named orders, page arguments and cursors of keyset paging. Fetching a page is schema.relay.pages."""

import base64
import binascii
import datetime
import hashlib
import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.fields.tuple_lookups import TupleGreaterThan, TupleLessThan

from backend.core.errors import BadUserInput, InvalidCursor, LimitExceeded
from backend.db.sql import Slot

_FINGERPRINT = 4  # bytes
_EPOCH_DAY = datetime.date(2000, 1, 1)
_EPOCH = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)


class PageArgumentsConflict(BadUserInput):
    """Give first or last, not both."""


class NegativePage(BadUserInput):
    """{argument} is 0 or more."""


@dataclass(frozen=True, slots=True)
class Codec:
    """How one sort column stands in a cursor: as PostgreSQL's binary protocol sends it."""

    width: int  # bytes; 0: a length of 2 bytes goes before
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]
    sql: str  # the bytes of `pack` from the expression `{}`


def _number(form: str, send: str) -> Codec:
    layout = struct.Struct(form)
    return Codec(layout.size, layout.pack, lambda raw: layout.unpack(raw)[0], send)


def _text(raw: bytes) -> str:
    found = raw.decode()
    if "\0" in found:
        raise ValueError("no text of the database holds it")
    return found


_INT4, _INT8 = struct.Struct(">i"), struct.Struct(">q")
_CODECS: "dict[type[models.Field[Any, Any]], Codec]" = {
    models.SmallIntegerField: _number(">h", "int2send({})"),
    models.IntegerField: _number(">i", "int4send({})"),
    models.BigIntegerField: _number(">q", "int8send({})"),
    models.FloatField: _number(">d", "float8send({})"),
    models.DateField: Codec(
        4,
        lambda day: _INT4.pack((day - _EPOCH_DAY).days),
        lambda raw: _EPOCH_DAY + datetime.timedelta(days=_INT4.unpack(raw)[0]),
        "date_send({})",
    ),
    models.DateTimeField: Codec(
        8,
        lambda moment: _INT8.pack((moment - _EPOCH) // _MICROSECOND),
        lambda raw: _EPOCH + datetime.timedelta(microseconds=_INT8.unpack(raw)[0]),
        "timestamptz_send({})",
    ),
    models.UUIDField: Codec(16, lambda key: key.bytes, lambda raw: uuid.UUID(bytes=raw), "uuid_send({})"),
    models.TextField: Codec(0, str.encode, _text, "int2send(octet_length({0})::int2) || textsend({0})"),
}


def _codec(field: Any) -> Codec:
    kind: Any = type(field.output_field) if isinstance(field, models.GeneratedField) else type(field)
    return _CODECS[kind]


@dataclass(frozen=True, slots=True)
class Order:
    """One way to sort a table: columns and the id, all in one direction, with an index of that name."""

    name: str
    columns: tuple[str, ...]  # NOT NULL, without the id
    descending: bool
    description: str


class Keyset:
    """An order of one model: its SQL and its cursors."""

    def __init__(self, model: type[models.Model], order: Order) -> None:
        self.order = order
        self.columns = (*order.columns, "id")
        self._codecs = [_codec(model._meta.get_field(column)) for column in self.columns]
        name = f"{model._meta.db_table}.{order.name}".encode()
        self._fingerprint = hashlib.sha256(name).digest()[:_FINGERPRINT]

    def cursor(self, row: models.Model) -> str:
        """Where a row stands in this order; opaque text."""
        parts = [self._fingerprint]
        for column, codec in zip(self.columns, self._codecs, strict=True):
            raw = codec.pack(getattr(row, column))
            parts.append(raw if codec.width else len(raw).to_bytes(2, "big") + raw)
        return base64.b64encode(b"".join(parts)).decode()

    def cursor_sql(self, alias: str) -> str:
        """The same as `cursor`, made by PostgreSQL of the row with that alias."""
        sends = zip(self.columns, self._codecs, strict=True)
        parts = [codec.sql.format(f'{alias}."{column}"') for column, codec in sends]
        encoded = f"encode('\\x{self._fingerprint.hex()}'::bytea || {' || '.join(parts)}, 'base64')"
        # PostgreSQL breaks base64 into lines, of which fixed widths never need a second one.
        return encoded if all(codec.width for codec in self._codecs) else f"translate({encoded}, E'\\n', '')"

    def position(self, cursor: str) -> tuple[Any, ...]:
        """The sort key that a cursor holds.

        Raises:
            InvalidCursor: damaged, or of another list or order.
        """
        try:
            raw = base64.b64decode(cursor, validate=True)
            if raw[:_FINGERPRINT] != self._fingerprint:
                raise InvalidCursor
            return self._unpack(raw[_FINGERPRINT:])
        except (binascii.Error, struct.error, ValueError, OverflowError):
            raise InvalidCursor from None

    def _unpack(self, raw: bytes) -> tuple[Any, ...]:
        values = []
        for codec in self._codecs:
            width = codec.width
            if not width:
                width, raw = int.from_bytes(raw[:2], "big"), raw[2:]
            if len(raw) < width:
                raise InvalidCursor
            values.append(codec.unpack(raw[:width]))
            raw = raw[width:]
        if raw:
            raise InvalidCursor
        return tuple(values)

    def sorted(self, *, backward: bool) -> list[str]:
        """Django's order_by, read from the other end when `backward`."""
        sign = "-" if self.order.descending is not backward else ""
        return [sign + column for column in self.columns]

    def beyond(self, slot: str, *, after: bool) -> Q:
        """The condition that a row comes after (or before) the position in the slots `slot0`, `slot1`, ...

        A row comparison is one index range; the OR-expanded form would read every row before the cursor.
        """
        smaller = self.order.descending is after
        if len(self.columns) == 1:
            return Q(**{f"id__{'lt' if smaller else 'gt'}": Slot(f"{slot}0")})
        compare = TupleLessThan if smaller else TupleGreaterThan
        names = tuple(F(column) for column in self.columns)
        slots = tuple(Slot(f"{slot}{number}") for number in range(len(self.columns)))
        return Q(compare(names, slots))


@dataclass(frozen=True, slots=True)
class PageArguments:
    """`first`, `after`, `last` and `before` after their checks."""

    size: int
    backward: bool
    after: str | None
    before: str | None

    @classmethod
    def of(cls, *, first: int | None, after: str | None, last: int | None, before: str | None) -> "PageArguments":
        """Checks the arguments.

        Raises:
            PageArgumentsConflict: first and last.
            NegativePage: below 0.
            LimitExceeded: above DRIFTGRAPH_MAX_PAGE_SIZE.
        """
        if first is not None and last is not None:
            raise PageArgumentsConflict(path=("last",))
        name, size = ("last", last) if last is not None else ("first", first)
        if size is None:
            size = settings.ENVIRONMENT.usual_page_size
        limit = settings.ENVIRONMENT.max_page_size
        if size < 0:
            raise NegativePage(argument=name, path=(name,))
        if size > limit:
            raise LimitExceeded(what=name, actual=size, limit=limit, setting="DRIFTGRAPH_MAX_PAGE_SIZE", path=(name,))
        return cls(size=size, backward=last is not None, after=after, before=before)


def order_values(orders: type[Enum]) -> dict[str, Order]:
    """The orders of an enum by name."""
    return {member.name: member.value for member in orders}
