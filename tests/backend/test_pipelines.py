"""Round trips through libpq's pipeline: results in order, what PostgreSQL keeps, and what an error leaves behind."""

from collections.abc import AsyncIterator

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from psycopg import AsyncConnection

from backend.db.pipeline import Pipelines, TextQuery
from backend.db.pools import ReadPool
from backend.db.reads import connection_url
from tests import server


@pytest.fixture
async def connection(database: str) -> AsyncIterator[AsyncConnection]:
    found = await AsyncConnection.connect(connection_url(), autocommit=True)
    yield found
    await found.close()


def _query(number: int, *parameters: str | None) -> TextQuery:
    return TextQuery(b"SELECT $1::text, %d" % number, parameters)


async def _kept(connection: AsyncConnection) -> list[str]:
    cursor = await connection.execute("SELECT statement FROM pg_prepared_statements ORDER BY prepare_time, name")
    return [statement for (statement,) in await cursor.fetchall()]


async def test_each_query_has_its_result_whatever_was_sent_beside_it(connection: AsyncConnection) -> None:
    pipelines = Pipelines(keep=2, after=1)

    for turn in range(4):
        trip = [_query(number, f"{turn}") for number in range(3)]
        results = await pipelines.run(connection, trip)
        found = [(result.get_value(0, 0), result.get_value(0, 1)) for result in results]
        assert found == [(b"%d" % turn, b"%d" % number) for number in range(3)]
    assert len(await _kept(connection)) == 2


async def test_a_statement_is_kept_when_it_comes_again(connection: AsyncConnection) -> None:
    pipelines = Pipelines(keep=10, after=2)

    await pipelines.run(connection, [_query(1, "a")])
    await pipelines.run(connection, [_query(1, None)])
    assert await _kept(connection) == []
    await pipelines.run(connection, [_query(1, "c")])
    await pipelines.run(connection, [_query(1, "d")])

    assert await _kept(connection) == ["SELECT $1::text, 1"]


async def test_the_oldest_make_room_for_a_statement_of_many_characters(connection: AsyncConnection) -> None:
    pipelines = Pipelines(keep=10, after=0, keep_bytes=100)
    short = [_query(number, "a") for number in range(1, 6)]
    long = TextQuery(b"SELECT $1::text, '%s'" % (b"x" * 60), ["a"])
    longest = TextQuery(b"SELECT $1::text, '%s'" % (b"x" * 100), ["a"])

    await pipelines.run(connection, short)
    assert len(await _kept(connection)) == 5
    results = await pipelines.run(connection, [*short, long, longest])

    assert [result.get_value(0, 0) for result in results] == [b"a"] * 7
    assert await _kept(connection) == ["SELECT $1::text, 5", long.text.decode()]

    await pipelines.run(connection, short)
    assert await _kept(connection) == [f"SELECT $1::text, {number}" for number in range(1, 6)]


async def test_texts_of_statements_that_were_sent_once_are_not_kept(connection: AsyncConnection) -> None:
    pipelines = Pipelines(keep=10, after=2)

    await pipelines.run(connection, [_query(number, "a") for number in range(20)])

    (names,) = pipelines._names.values()
    assert len(names.sent) == 20
    assert all(isinstance(key, int) for key in names.sent._values)


async def test_room_is_made_before_a_transaction_chooses_its_isolation(connection: AsyncConnection) -> None:
    pipelines = Pipelines(keep=2, after=0)
    begin, commit = TextQuery(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"), TextQuery(b"COMMIT")

    for number in range(3):  # each time BEGIN has made room for the other two, and makes room for itself
        _, result, _ = await pipelines.run(connection, [begin, _query(number, "a"), commit])
        assert result.get_value(0, 1) == b"%d" % number

    assert await _kept(connection) == ["SELECT $1::text, 2", "COMMIT"]


async def test_what_one_connection_finds_outdated_every_other_gives_up(
    connection: AsyncConnection, database: str
) -> None:
    pipelines = Pipelines(keep=10, after=0)
    other = await AsyncConnection.connect(server.url("postgres", database), autocommit=True)
    await other.execute("CREATE TEMPORARY TABLE changing (n integer)")
    changing = TextQuery(b"SELECT n FROM changing")
    for one, query in ((connection, _query(1, "a")), (connection, _query(2, "a")), (other, changing)):
        await pipelines.run(one, [query])
    await other.execute("ALTER TABLE changing ALTER n TYPE bigint")

    with pytest.raises(psycopg.errors.FeatureNotSupported):
        await pipelines.run(other, [changing])
    [result] = await pipelines.run(connection, [_query(1, "b")])

    assert result.get_value(0, 0) == b"b"
    assert await _kept(connection) == ["SELECT $1::text, 1"]
    assert other.closed


async def test_what_postgresql_does_not_support_makes_nobody_give_up_anything(connection: AsyncConnection) -> None:
    pipelines = Pipelines(keep=10, after=0)
    other = await AsyncConnection.connect(connection_url(), autocommit=True)
    await pipelines.run(connection, [_query(1, "a")])
    await pipelines.run(connection, [_query(2, "a")])

    with pytest.raises(psycopg.errors.FeatureNotSupported):
        await pipelines.run(other, [TextQuery(b"SELECT 1 FROM pg_class GROUP BY relname FOR UPDATE")])
    await pipelines.run(connection, [_query(2, "b")])

    assert await _kept(connection) == ["SELECT $1::text, 1", "SELECT $1::text, 2"]


async def test_nothing_is_kept_behind_a_pooler(connection: AsyncConnection) -> None:
    pipelines = Pipelines(keep=0, after=0)

    for _ in range(3):
        await pipelines.run(connection, [_query(1, "a")])

    assert await _kept(connection) == []


async def test_a_failed_statement_is_raised_and_ends_the_connection(connection: AsyncConnection) -> None:
    pipelines = Pipelines(keep=10, after=0)
    broken = TextQuery(b"SELECT 1 / $1::int", ["0"])

    with pytest.raises(psycopg.errors.DivisionByZero):
        await pipelines.run(connection, [_query(1, "a"), broken, _query(2, "b")])

    assert connection.closed


async def test_more_text_than_a_socket_takes_at_once(connection: AsyncConnection) -> None:
    pipelines = Pipelines(keep=10, after=0)
    text = "x" * 5_000_000

    (result, echo) = await pipelines.run(connection, [_query(1, text), TextQuery(b"SELECT repeat('y', 5000000)")])

    assert result.get_value(0, 0) == text.encode()
    assert echo.get_value(0, 0) == b"y" * 5_000_000


async def test_a_lost_connection_is_said_to_be_lost(connection: AsyncConnection) -> None:
    pipelines = Pipelines(keep=10, after=0)

    with pytest.raises(psycopg.OperationalError):
        await pipelines.run(connection, [TextQuery(b"SELECT pg_terminate_backend(pg_backend_pid())"), _query(1, "a")])


async def test_a_libpq_that_cannot_close_statements_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psycopg.capabilities, "has_send_close_prepared", lambda: False)

    with pytest.raises(ImproperlyConfigured, match="libpq 17"):
        ReadPool(connection_url(), size=1, name="reads")


async def test_a_name_belongs_to_one_statement_on_every_connection(connection: AsyncConnection) -> None:
    """A pooler may hand a connection on with what another client had PostgreSQL keep."""
    other = await AsyncConnection.connect(connection_url(), autocommit=True)
    typed = TextQuery(b"SELECT $1, 1", ["1"], (20,))

    await Pipelines(keep=10, after=0).run(connection, [_query(1, "a"), _query(2, "a"), typed])
    await Pipelines(keep=10, after=0).run(other, [_query(2, "a"), TextQuery(b"SELECT $1, 1", ["1"], (25,))])

    kept = "SELECT name, statement || parameter_types::text FROM pg_prepared_statements"
    both = [dict(await (await one.execute(kept)).fetchall()) for one in (connection, other)]
    [shared] = both[0].keys() & both[1].keys()
    assert both[0][shared] == both[1][shared] == "SELECT $1::text, 2{text}"
    await other.close()
