"""The generator of the benchmark's rows, on a small scale: sizes, the same rows every time, rules of the tables."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from backend.db.bootstrap import create_database
from benchmarks.peers.generation import (
    AGENTS,
    CROWDED,
    DETECTION_RUNS,
    FINDINGS_OF_CROWDED_RUN,
    FUNCTIONS,
    GROUPS,
    MEASURED,
    PAYERS,
    TABLES,
    Sizes,
    Step,
    steps,
)
from tests import server

SIZES = Sizes(events=200, runs=40)
_Connection = psycopg.Connection[tuple[Any, ...]]


def _of(number: int) -> list[Step]:
    return [step for step in steps(SIZES) if step.organization == number]


@pytest.fixture(scope="module")
def filled(database: str) -> Iterator[_Connection]:
    """A database of its own: the organizations' names must not meet those of other tests."""
    name = server.database_name("generated")
    superuser = server.url("postgres", "postgres")
    create_database(superuser, name, template=server.database_name("template"))
    with psycopg.connect(server.url("owner", name), autocommit=True) as connection:
        for text in FUNCTIONS:
            connection.execute(text.encode())
        for number in (MEASURED, CROWDED):
            for step in _of(number):
                connection.execute(step.text.encode(), step.values)
        yield connection
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _count(connection: _Connection, table: str, organization: int) -> int:
    condition = sql.SQL("id" if table == "organization" else "organization_id")
    text = sql.SQL("SELECT count(*) FROM {} WHERE {} = pg_temp.row_id('organization', 0, %s)")
    row = connection.execute(text.format(sql.Identifier(table), condition), (organization,)).fetchone()
    return row[0] if row else 0


def test_an_organization_has_the_rows_that_its_sizes_say(filled: _Connection) -> None:
    assert {table: _count(filled, table, MEASURED) for table in TABLES} == {
        "organization": 1,
        "payer": PAYERS,
        "procedure_group": GROUPS,
        "detection_run": DETECTION_RUNS,
        "drift_event": SIZES.events,
        "agent": AGENTS,
        "agent_run": SIZES.runs,
        "finding": 10 * SIZES.runs,
    }


def test_the_newest_runs_of_the_crowded_organization_have_all_its_findings(filled: _Connection) -> None:
    found = filled.execute(
        "SELECT count(f.id) FROM agent_run r LEFT JOIN finding f ON f.run_id = r.id"
        " WHERE r.organization_id = pg_temp.row_id('organization', 0, %s) GROUP BY r.id ORDER BY r.started_at DESC",
        (CROWDED,),
    ).fetchall()

    newest, older = SIZES.crowded_runs, SIZES.runs - SIZES.crowded_runs
    assert [count for (count,) in found] == [FINDINGS_OF_CROWDED_RUN] * newest + [0] * older


def test_the_rows_are_the_same_every_time(filled: _Connection) -> None:
    digest = "SELECT md5(string_agg(e::text, '' ORDER BY id)) FROM drift_event e"
    before = filled.execute(digest.encode()).fetchone()

    with filled.transaction(force_rollback=True):
        filled.execute("DELETE FROM drift_event")
        for number in (MEASURED, CROWDED):
            for step in _of(number):
                if step.table == "drift_event":
                    filled.execute(step.text.encode(), step.values)
        again = filled.execute(digest.encode()).fetchone()

    assert before == again != (None,)


def test_factor_one_is_a_million_events_and_as_many_findings() -> None:
    numbers = {step.organization for step in steps(Sizes.of(1))}

    assert dataclasses.asdict(Sizes.of(1)) == {"events": 1_000_000 // len(numbers), "runs": 100_000 // len(numbers)}
