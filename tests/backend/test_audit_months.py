"""Partitions of the audit trail: each month has one, no entry is refused for want of one, and none is a way around."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import OperationalError, connection

from backend.audit.months import months_make
from backend.core.isolation import check
from backend.migration_safety.scratch import Scratch, redirected
from tests import server
from tests.scratch import scratch_database
from tests.trail import FIRST, SECOND, Trail

_TABLES = "SELECT relkind::text FROM pg_class WHERE relname = 'audit_entry'"


@pytest.fixture
def name(database: str) -> Iterator[str]:
    with scratch_database() as made:
        yield made


@pytest.fixture
def trail(name: str) -> Iterator[Trail]:
    """In January 2020, for which nothing is there yet."""
    found = Trail(name)
    found.without_what_was_there()
    now = found.rows("SELECT clock_timestamp() - '2020-01-20 12:00+00'::timestamptz")[0][0]
    found.at(f"-{now.total_seconds()} seconds")
    try:
        yield found
    finally:
        found.close()


def _later(trail: Trail, days: int) -> None:
    [[shift]] = trail.rows(f"SELECT (current_setting('test.shift')::interval + interval '{days} days')::text")
    trail.at(shift)


def test_the_months_to_come_are_made_once_and_each_takes_its_entries(trail: Trail) -> None:
    first = trail.months()
    again = trail.months()
    trail.act(FIRST, "january")
    _later(trail, 20)
    trail.act(FIRST, "february")
    later = trail.months()

    assert list(first) == [f"audit_entry_2020_0{month}" for month in (1, 2, 3, 4)] + ["audit_entry_default"]
    assert again == {"audit_entry_default": 0}
    assert later == {"audit_entry_2020_05": 0, "audit_entry_default": 0}
    held = trail.partitions()
    assert (held["audit_entry_2020_01"], held["audit_entry_2020_02"], held["audit_entry_default"]) == (1, 1, 0)


def test_an_entry_before_its_month_is_taken_and_moves_as_it_is(trail: Trail) -> None:
    trail.act(FIRST, "a", "b")
    trail.seal()
    trail.act(SECOND, "c")
    before = trail.rows("SELECT e::text FROM audit_entry e ORDER BY id")
    held = trail.partitions()

    made = trail.months()

    assert held["audit_entry_default"] == len(before)
    assert (made["audit_entry_2020_01"], made["audit_entry_default"]) == (len(before), 0)
    assert trail.rows("SELECT e::text FROM audit_entry e ORDER BY id") == before
    trail.seal()
    assert (trail.verify().entries, trail.verify().damages) == (len(before), [])
    trail.act(FIRST, "d")
    assert trail.partitions()["audit_entry_2020_01"] == len(before) + 1


def test_months_that_passed_while_nobody_made_any_are_made_where_entries_wait(trail: Trail) -> None:
    trail.act(FIRST, "a")
    _later(trail, 200)  # in August
    trail.act(FIRST, "b")

    made = trail.months()

    months = ["01", "08", "09", "10", "11"]
    assert list(made) == [f"audit_entry_2020_{month}" for month in months] + ["audit_entry_default"]
    assert (made["audit_entry_2020_08"], made["audit_entry_default"]) == (1, 0)


def test_a_page_reads_each_partition_by_its_index_in_its_order(trail: Trail) -> None:
    trail.months()
    trail.act(FIRST, "a", "b")
    _later(trail, 20)
    trail.act(FIRST, "c")
    trail.app.execute("SET enable_seqscan = off")
    with trail.app.transaction():
        trail.app.execute("SELECT set_config('app.organization_id', %s, true)", [str(FIRST)])
        newest = "SELECT at, id FROM audit_entry {} ORDER BY at DESC, id DESC LIMIT 2"
        first = trail.app.execute(newest.format("")).fetchall()
        beyond = newest.format("WHERE (at, id) < (%s, %s)")
        second = trail.app.execute(beyond.encode(), first[-1]).fetchall()
        explained = trail.app.execute(f"EXPLAIN {beyond}".encode(), first[-1]).fetchall()
        plan = "\n".join(line for (line,) in explained)

    assert trail.rows("SELECT at, id FROM audit_entry ORDER BY 1 DESC, 2 DESC")[:2] == first
    assert len({*first, *second}) == len(first) + len(second) > 2
    assert "Merge Append" in plan
    assert plan.count("Index Scan using") + plan.count("Index Only Scan using") == len(trail.partitions())
    assert "Sort  (" not in plan


def test_the_time_of_an_entry_is_the_servers_in_every_partition(trail: Trail) -> None:
    trail.months()
    with trail.app.transaction():
        trail.app.execute("SELECT set_config('app.organization_id', %s, true)", [str(FIRST)])
        for moment in ("2020-02-10", "1999-01-01"):
            trail.app.execute(
                "INSERT INTO audit_entry (id, organization_id, at, action, object_type, object_ids, object_count,"
                " operation_name, fields_phi, outcome, purpose, request_id)"
                " VALUES (audit_id_floor(%s::timestamptz), %s, '1999-01-01', 'x', 'payer', '{}', 0, '', false, 'OK',"
                " '', '')",
                [moment, FIRST],
            )

    own = "SELECT tableoid::regclass::text, at::date::text FROM audit_entry WHERE action = 'x' ORDER BY id"
    assert trail.rows(own) == [("audit_entry_default", "2020-01-20"), ("audit_entry_2020_02", "2020-01-20")]
    assert trail.months()["audit_entry_default"] == 1  # what has an id of no month is told of


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT FROM {}",
        "INSERT INTO {} SELECT * FROM audit_entry",
        "UPDATE {} SET action = 'x'",
        "DELETE FROM {}",
        "TRUNCATE {}",
        "DO 'BEGIN LOCK TABLE {} IN ACCESS EXCLUSIVE MODE; END'",
        "ALTER TABLE audit_entry DETACH PARTITION {}",
        "DROP TABLE {}",
        "SELECT audit_partition_close('{}')",
    ],
)
def test_the_server_has_no_way_to_a_partition_but_by_its_table(trail: Trail, statement: str) -> None:
    trail.months()
    trail.act(FIRST, "a")

    trail.app.execute("SELECT set_config('app.organization_id', %s, false)", [str(FIRST)])
    for part in trail.partitions():
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            trail.app.execute(statement.format(part).encode())
    with trail.app.transaction():
        trail.app.execute("SELECT set_config('app.organization_id', %s, true)", [str(SECOND)])
        assert trail.app.execute("SELECT count(*) FROM audit_entry").fetchone() == (0,)


def test_a_new_partition_keeps_organizations_apart(trail: Trail) -> None:
    trail.months()

    def ask(text: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        return trail.app.execute(text.encode(), values or None).fetchall()

    assert check(ask, "app").violations == []


def test_two_makers_at_once_make_each_month_once(trail: Trail) -> None:
    with trail.owner.transaction():
        trail.owner.execute("SELECT audit_months_make()")
        assert trail.months() == {}

    assert trail.months() == {"audit_entry_default": 0}


def test_the_maker_waits_for_no_long_reader_and_leaves_nothing_half_done(
    name: str, trail: Trail, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "driftgraph.audit")
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "NAME", name)
    before = trail.partitions()
    try:
        with trail.owner.transaction():
            trail.rows("SELECT count(*) FROM audit_entry")
            with pytest.raises(OperationalError, match="lock timeout"):
                months_make()
        halfway = trail.partitions()
        made = months_make()
    finally:
        connection.close()

    assert halfway == before
    assert len(made) == len(trail.partitions()) - len(before) > 0
    assert f"partition {made[0]} is there (0 entries came before it)" in caplog.text


def test_a_trail_with_entries_is_partitioned_and_back_while_others_are_written(name: str) -> None:
    """A table of before the migration, sealed in part; nothing is refused, and the seals hold afterwards."""
    trail, stop = Trail(name), threading.Event()
    failures: list[Exception] = []
    with redirected(Scratch(owner=server.url("owner", name), app=server.url("app", name))):
        trail.act(FIRST, "a", "b")
        call_command("migrate_safely", "audit", "0007", verbosity=0)
        kinds = trail.rows(_TABLES)
        trail.act(SECOND, "c")
        trail.seal()

        def write() -> None:
            other, number = Trail.__new__(Trail), 0
            other.app = psycopg.connect(server.url("app", name), autocommit=True)
            while not stop.is_set():
                try:
                    other.act(FIRST, f"n{(number := number + 1)}")
                except psycopg.Error as error:
                    failures.append(error)
            other.app.close()

        writer = threading.Thread(target=write)
        writer.start()
        try:
            call_command("migrate_safely", "audit", verbosity=0)
        finally:
            stop.set()
            writer.join()
    kinds += trail.rows(_TABLES)
    trail.seal()

    assert (failures, kinds) == ([], [("r",), ("p",)])
    written = trail.rows("SELECT count(*) FROM payer")[0][0]
    assert written > 3
    assert trail.partitions()["audit_entry_before"] == trail.verify().entries >= written
    assert trail.verify().damages == []
    trail.close()
