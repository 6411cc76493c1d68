"""Two releases at once: while the next one's migrations run, servers of both answer every request."""

from collections.abc import Iterator

import psycopg
import pytest

from backend.migration_safety.applying import INVALID_INDEXES
from backend.migration_safety.rehearsal import catalog
from benchmarks.faults.place import Place, Template, place
from benchmarks.next_release.killing import killed
from benchmarks.next_release.release import EXPANDED, LAST, SELECTION, Migrator, Release, migrator, next_release
from benchmarks.serving import served
from benchmarks.traffic import Target, Traffic

ROWS = 3_000  # several batches of a backfill
FILL = """
WITH auditor AS (
  INSERT INTO agent (id, organization_id, kind, name, version) VALUES (gen_random_uuid(), %s, 'EXTERNAL', 'old', '')
  RETURNING id, organization_id)
INSERT INTO agent_run (id, organization_id, agent_id, trigger, status, commit, branch, tools, critical_count,
                       high_count, medium_count, low_count, info_count, external_trace_url)
SELECT gen_random_uuid(), organization_id, auditor.id, 'CI', 'RUNNING', md5(n::text), 'main', '[]', 0, 0, 0, 0, n, ''
FROM auditor, generate_series(1, %s) n
"""
# Rows that were there before; the older code goes on writing some without a note.
UNFILLED = """
SELECT id FROM agent_run WHERE info_total IS DISTINCT FROM info_count OR branch = 'main' AND review_note IS NULL
"""


@pytest.fixture(scope="module")
def release() -> Iterator[Release]:
    with next_release() as found:
        yield found


@pytest.fixture
def there(made: Template) -> Iterator[Place]:
    with place(made, settings={}) as found:
        with psycopg.connect(found.url("owner")) as owner:
            owner.execute(FILL, [made.organization, ROWS])
        yield found


def _led(traffic: Traffic, migrator: Migrator, *targets: str) -> None:
    """Every client gets answers before, while and after the database is led to the migrations, and none fails."""
    traffic.each_hears(2)
    for target in targets:
        before = [client.heard.answers for client in traffic.clients]
        migrator.to(target)
        assert all(client.heard.answers > count for client, count in zip(traffic.clients, before, strict=True))
        traffic.each_hears(2)


def test_both_releases_answer_while_migrations_run_forward_and_back(there: Place, release: Release) -> None:
    older = Target(there.served.url)
    with psycopg.connect(there.url("owner"), autocommit=True) as owner, migrator(release, there) as migrations:
        untouched, heard = catalog.fingerprint(owner), []

        with Traffic([older], there.token, clients=2) as traffic:
            _led(traffic, migrations, LAST)
        heard.append(traffic)
        whole = catalog.fingerprint(owner)
        late = owner.execute(UNFILLED).fetchall()

        with (
            served(there.variables, code=release.folder) as newer,
            Traffic([older, Target(newer.url, SELECTION)], there.token, clients=4) as traffic,
        ):
            _led(traffic, migrations, EXPANDED, LAST)
        heard.append(traffic)

        with Traffic([older], there.token, clients=2) as traffic:
            _led(traffic, migrations, release.before)
        heard.append(traffic)
        back = catalog.fingerprint(owner)

    assert [dict(traffic.heard.failures) for traffic in heard] == [{}, {}, {}]
    assert [traffic.kept(there.url("postgres")) for traffic in heard] == [(0, 0)] * 3
    assert catalog.differences(untouched, back) == []
    assert late == []
    assert whole["column", "agent_run.info_total"] == "bigint NOT NULL"
    assert {("constraint", "agent_run.agent_run_commit_uq"), ("column", "agent_run.priority")} <= whole.keys()


def test_a_run_after_a_kill_ends_as_if_there_had_been_none(there: Place, release: Release) -> None:
    with psycopg.connect(there.url("owner"), autocommit=True) as owner, migrator(release, there) as migrations:
        found = killed(migrations, owner, release.before, times=10, seed=20)
        migrations.to(LAST)
        late = owner.execute(UNFILLED).fetchall()
        invalid = owner.execute(INVALID_INDEXES).fetchall()

    assert [run.differences for run in found] == [()] * 10
    assert (late, invalid) == ([], [])
    assert len({run.applied for run in found}) > 3  # they were killed in different places
