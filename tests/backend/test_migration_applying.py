"""migrate_safely waits shortly, says for whom, and goes on where it was interrupted."""

import io
import threading
from collections.abc import Iterator

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from backend.migration_safety.scratch import Scratch, redirected, scratch_database


@pytest.fixture
def empty(database: str) -> Iterator[Scratch]:
    with scratch_database() as scratch, redirected(scratch):
        yield scratch


def _migrate(*arguments: str, **options: float) -> str:
    said = io.StringIO()
    call_command("migrate_safely", *arguments, stdout=said, **options)
    return said.getvalue()


def _applied() -> list[str]:
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT name FROM django_migrations WHERE app = 'contenttypes' ORDER BY name")
        return [name for (name,) in cursor.fetchall()]


def test_forward_backward_and_forward(empty: Scratch) -> None:
    first = _migrate("contenttypes", "0001")
    second = _migrate("contenttypes")
    nothing = _migrate("contenttypes")
    back = _migrate("contenttypes", "0001")

    assert first.splitlines() == ["applying contenttypes.0001_initial", "1 done"]
    assert second.splitlines() == ["applying contenttypes.0002_remove_content_type_name", "1 done"]
    assert nothing.splitlines() == ["Nothing to apply."]
    assert back.splitlines() == ["taking back contenttypes.0002_remove_content_type_name", "1 done"]
    assert _applied() == ["0001_initial"]


def test_it_gives_up_on_locks_with_nothing_done_and_runs_again(empty: Scratch) -> None:
    _migrate("contenttypes", "0001")
    with psycopg.connect(empty.owner, application_name="a long report") as other:
        other.execute("SELECT count(*) FROM django_content_type")
        said = io.StringIO()
        with pytest.raises(CommandError, match="run it again"):
            call_command("migrate_safely", "contenttypes", stdout=said, attempts=2, lock_timeout=10)
        assert _applied() == ["0001_initial"]

    assert "no lock at attempt 1; open transactions: pid" in said.getvalue()
    assert "(a long report)" in said.getvalue()
    assert _migrate("contenttypes").endswith("1 done\n")


def test_what_a_concurrent_index_left_invalid_goes_first(empty: Scratch) -> None:
    _migrate("contenttypes", "0001")
    with psycopg.connect(empty.owner, autocommit=True) as owner:
        owner.execute("CREATE TABLE twice AS SELECT 1 AS a UNION ALL SELECT 1")
        with pytest.raises(psycopg.errors.UniqueViolation):
            owner.execute("CREATE UNIQUE INDEX CONCURRENTLY twice_idx ON twice (a)")

        assert "dropped the index twice_idx" in _migrate("contenttypes")
        assert owner.execute("SELECT to_regclass('twice_idx')").fetchone() == (None,)


def test_one_at_a_time(empty: Scratch) -> None:
    with psycopg.connect(empty.owner) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [0x6D69_6772_7361_6665])
        with pytest.raises(CommandError, match="Another migrate_safely"):
            _migrate("contenttypes", wait=0)

    said = io.StringIO()
    call_command("migrate_safely", "contenttypes", stdout=said, verbosity=0)
    assert said.getvalue() == ""

    with pytest.raises(CommandError, match="not exactly one migration contenttypes"):
        _migrate("contenttypes", "00")
    assert _migrate("contenttypes", "zero").splitlines()[-1] == "2 done"
    assert _migrate("contenttypes", "zero").splitlines() == ["Nothing to apply."]


def test_it_waits_for_another_if_told_so(empty: Scratch) -> None:
    with psycopg.connect(empty.owner) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [0x6D69_6772_7361_6665])
        ending = threading.Timer(0.5, other.close)
        ending.start()

        assert _migrate("contenttypes", wait=60).endswith("2 done\n")
        ending.join()


def test_receivers_are_told_though_an_attempt_ended_before(empty: Scratch) -> None:
    """Killed after its last migration, an attempt leaves no content types: the next one has nothing to apply."""
    _migrate("accounts")
    with connections["owner"].cursor() as cursor:
        cursor.execute("DELETE FROM auth_permission; DELETE FROM django_content_type")

        assert _migrate("accounts").splitlines() == ["Nothing to apply."]
        cursor.execute("SELECT count(*) > 0 FROM django_content_type")
        assert cursor.fetchone() == (True,)


def test_without_the_owner_it_says_what_to_set(database: str) -> None:
    owner = connections.settings.pop("owner"), connections["owner"]
    del connections["owner"]
    try:
        with pytest.raises(CommandError, match="Set DRIFTGRAPH_OWNER_DATABASE_URL"):
            call_command("migrate_safely")
    finally:
        connections.settings["owner"], connections["owner"] = owner


class _Killed(BaseException):
    """The process ends here."""


def test_a_migration_is_taken_back_together_with_its_record(empty: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*_arguments: object) -> None:
        raise _Killed

    _migrate("contenttypes")
    with monkeypatch.context() as killed:
        killed.setattr(MigrationRecorder, "record_unapplied", end)
        with pytest.raises(_Killed):
            _migrate("contenttypes", "0001")

    assert _migrate("contenttypes", "0001").endswith("1 done\n")
    assert _applied() == ["0001_initial"]
