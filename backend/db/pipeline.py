"""Several statements in one round trip, straight through libpq's pipeline mode. What they mean is said in snapshots.py.

psycopg's own pipeline sends after each statement and makes a cursor for each. Here everything is sent at once, and the
event loop wakes when the answers are there: half of the processor time of a small operation.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import Buffer, PGconn, PGresult
from psycopg.waiting import Ready, Wait

from backend.core.errors import AnswerTooLarge
from backend.core.least_recent import LeastRecent
from backend.db.failures import is_outdated_plan

TextRow = tuple[bytes | None, ...]
_ROWS, _DONE, _SYNC = ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK, ExecStatus.PIPELINE_SYNC
_SOME = ExecStatus.TUPLES_CHUNK
_SEEN = 1_000  # statements of a connection whose executions are counted
_KEPT_BYTES = 500_000  # of the texts that a connection keeps; PostgreSQL takes about 100 bytes for each


@dataclass(slots=True)
class Room:
    """How many bytes several statements may bring in all."""

    limit: int
    taken: int = 0

    def take(self, size: int) -> None:
        """Takes so many bytes of it.

        Raises:
            AnswerTooLarge: there are not so many left.
        """
        self.taken += size
        if self.taken > self.limit:
            raise AnswerTooLarge(limit=self.limit)


@dataclass(slots=True, eq=False)
class Parts:
    """The rows of a statement, taken over while they come, so that libpq never has more than a few of them."""

    at_once: int
    room: Room
    rows: list[TextRow] = field(default_factory=list)
    _size: int = 0

    def begin(self) -> None:
        """Forgets what came of an earlier attempt."""
        self.room.taken -= self._size
        self._size = 0
        self.rows.clear()

    def take(self, result: PGresult) -> None:
        """Takes some rows.

        Raises:
            AnswerTooLarge: there is no room for them.
        """
        for row in text_rows(result):
            size = sum(map(len, filter(None, row)))
            self._size += size
            self.room.take(size)
            self.rows.append(row)


@dataclass(frozen=True, slots=True)
class TextQuery:
    """A statement whose columns are text, with $1, $2, ... for parameters as PostgreSQL reads them.

    Without `types` and `formats` PostgreSQL finds the types by itself, and parameters are text. With `parts` its rows
    go there, and its result has none.
    """

    text: bytes
    parameters: Sequence[str | Buffer | None] = ()
    types: tuple[int, ...] | None = None
    formats: Sequence[Format] | None = None
    parts: Parts | None = None

    def rows(self, result: PGresult) -> list[TextRow]:
        """The rows that came of it, those of `parts` as well."""
        return self.parts.rows if self.parts else text_rows(result)


def text_rows(result: PGresult) -> list[TextRow]:
    """The cells as PostgreSQL sent them: they are parts of an answer, never looked at in Python."""
    value, columns = result.get_value, range(result.nfields)
    return [tuple([value(row, column) for column in columns]) for row in range(result.ntuples)]


_Key = tuple[bytes, tuple[int, ...] | None]


@dataclass(slots=True)
class _Names:
    """The statements that PostgreSQL keeps for one connection, by text and types; how often others were sent."""

    generation: int
    kept: dict[_Key, bytes] = field(default_factory=dict)
    kept_bytes: int = 0
    # By the hash of the key, for texts can be long: one that two share has them kept a little sooner.
    sent: LeastRecent[int, list[int]] = field(default_factory=lambda: LeastRecent(_SEEN))


class Pipelines:
    """Sends statements over connections, and has PostgreSQL keep those that come again.

    `keep` is the number of statements kept per connection, the oldest making room; 0 where a pooler stands between.
    """

    def __init__(self, *, keep: int, after: int, keep_bytes: int = _KEPT_BYTES) -> None:
        """`after` executions of a statement on a connection it is kept, if all have at most `keep_bytes` of text."""
        self._keep, self._after, self._keep_bytes = keep, after, keep_bytes
        self._names: WeakKeyDictionary[AsyncConnection[Any], _Names] = WeakKeyDictionary()
        self._generation = 0  # statements of an earlier one are not used any more

    async def run(self, connection: "AsyncConnection[Any]", queries: Sequence[TextQuery]) -> list[PGresult]:
        """One result per query, all of one implicit transaction unless they begin one.

        After an error or a cancellation the connection is closed: nobody knows which statements PostgreSQL kept. Where
        a kept one gives other columns than it did, every connection gives up its own before it is used again.

        Raises:
            psycopg.Error: of the first statement that failed; of the connection.
            AnswerTooLarge: the parts of a query have no room; the rest was not read.
        """
        names = self._names.get(connection)
        if names is None:
            names = self._names[connection] = _Names(self._generation)
        pgconn = connection.pgconn
        try:
            pgconn.enter_pipeline_mode()
            given_up = self._give_up_earlier(pgconn, names)
            asides = [self._send(pgconn, names, query) for query in queries]
            asides[0] += given_up
            pgconn.pipeline_sync()
            results = await connection.wait(_exchange(pgconn, _parts(queries, asides)))
            for result in results:
                if result.status not in (_ROWS, _DONE):
                    raise psycopg.errors.error_from_result(result)
            pgconn.exit_pipeline_mode()
        except BaseException as error:
            if is_outdated_plan(error) and names.generation == self._generation:
                self._generation += 1
            await connection.close()
            raise
        return _answers(results, asides)

    def _send(self, pgconn: PGconn, names: _Names, query: TextQuery) -> int:
        """The number of results that come before the query's own."""
        parameters = [value.encode() if isinstance(value, str) else value for value in query.parameters]
        key = (query.text, query.types)
        name, asides = names.kept.get(key), 0
        if name is None and self._is_due(names, key):
            asides += self._make_room(pgconn, names, len(query.text))
            names.kept_bytes += len(query.text)
            name = names.kept[key] = _name(key)
            pgconn.send_prepare(name, query.text, query.types)
            asides += 1
        if name is None:
            pgconn.send_query_params(query.text, parameters, query.types, query.formats)
        else:
            pgconn.send_query_prepared(name, parameters, query.formats)
        return asides

    def _is_due(self, names: _Names, key: _Key) -> bool:
        if not self._keep or len(key[0]) > self._keep_bytes:
            return False
        count = names.sent.get(hash(key), lambda: [0])
        count[0] += 1
        return count[0] > self._after

    def _make_room(self, pgconn: PGconn, names: _Names, length: int) -> int:
        """How many statements PostgreSQL is to forget, so that it can keep one more with a text so long."""
        count = 0
        # Not by DEALLOCATE: a transaction that begins behind a statement of the same trip cannot choose its isolation.
        while len(names.kept) >= self._keep or names.kept_bytes + length > self._keep_bytes:
            oldest = next(iter(names.kept))
            names.kept_bytes -= len(oldest[0])
            pgconn.send_close_prepared(names.kept.pop(oldest))
            count += 1
        return count

    def _give_up_earlier(self, pgconn: PGconn, names: _Names) -> int:
        """The number of statements of an earlier generation, which PostgreSQL no longer keeps."""
        if names.generation == self._generation:
            return 0
        earlier, names.kept, names.generation = names.kept, {}, self._generation
        names.kept_bytes = 0
        for name in earlier.values():
            pgconn.send_close_prepared(name)
        return len(earlier)


def _name(key: _Key) -> bytes:
    """The name of a statement, which says what it is.

    Behind a pooler that does not track statements, whose setting somebody forgot, another client's statement may be
    there: then it is the right one, or there is none of that name, which is an error and no wrong answer.
    """
    text, types = key
    return b"p" + blake2b(b"%d %s " % (len(text), repr(types).encode()) + text, digest_size=16).hexdigest().encode()


def _exchange(pgconn: PGconn, parts: Mapping[int, Parts]) -> Generator[Wait, Ready | int, list[PGresult]]:
    """Sends what is waiting to be sent, and takes every result up to the pipeline's end; `parts` by its place."""
    while pgconn.flush():
        if (yield Wait.RW) & Ready.R:
            pgconn.consume_input()
    found: list[PGresult] = []
    ended = False  # a statement's results end with none
    if parts:
        _take_in_parts(pgconn, parts.get(0))
    while True:
        while pgconn.is_busy():
            yield Wait.R
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            if ended:
                raise psycopg.OperationalError("the connection was lost in a pipeline")
            ended = True
            if parts:
                _take_in_parts(pgconn, parts.get(len(found)))
            continue
        ended = False
        if result.status == _SYNC:
            return found
        if result.status == _SOME:
            parts[len(found)].take(result)
        else:
            found.append(result)


def _take_in_parts(pgconn: PGconn, parts: Parts | None) -> None:
    """To be said before libpq has read any of a statement's rows."""
    if parts is not None:
        parts.begin()
        pgconn.set_chunked_rows_mode(parts.at_once)


def _parts(queries: Sequence[TextQuery], asides: Sequence[int]) -> dict[int, Parts]:
    """The parts of the queries that have some, by the place of their results."""
    found, place = {}, 0
    for query, before in zip(queries, asides, strict=True):
        place += before
        if query.parts is not None:
            found[place] = query.parts
        place += 1
    return found


def _answers(results: Sequence[PGresult], asides: Sequence[int]) -> list[PGresult]:
    """The results of the queries themselves, without those of preparing and making room."""
    found, place = [], 0
    for before in asides:
        place += before
        found.append(results[place])
        place += 1
    return found
