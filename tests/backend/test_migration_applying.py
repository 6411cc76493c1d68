"""migrate_safely waits shortly, says for whom, and goes on where it was interrupted."""

import io
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from django.contrib.postgres.operations import AddIndexConcurrently
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections, migrations, models
from django.db.migrations.recorder import MigrationRecorder

from backend.migration_safety.applying import apply
from backend.migration_safety.scratch import Scratch, redirected, scratch_database
from benchmarks.migrations.shop import Case, shop
from tests import server
from tests.backend.migration_files import migrations_of_sessions
from tests.backend.workers import until


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


@contextmanager
def _open_writer(address: str, table: str, *, then: str = "") -> Iterator[psycopg.Connection]:
    """A transaction that has written to a table and ends as soon as an index on it is in the making; `then` is its
    last statement. The connection looks on."""
    with psycopg.connect(address, autocommit=True) as onlooker, psycopg.connect(address) as writer:
        writer.execute("SET deadlock_timeout = '1min'")
        writer.execute(f"DELETE FROM {table} WHERE false")

        def end() -> None:
            until(lambda: onlooker.execute(_WAITS).fetchone() is not None)
            writer.execute(then or "SELECT 1")
            writer.commit()

        ending = threading.Thread(target=end)
        ending.start()
        yield onlooker
        ending.join()


_WAITS = (
    "SELECT FROM pg_stat_activity WHERE query LIKE '%CREATE INDEX%' AND wait_event_type = 'Lock'"
    " AND datname = current_database()"
)
_IS_VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"


@pytest.mark.parametrize("then", ["", "LOCK TABLE shop_order IN SHARE MODE"], ids=["waits", "deadlock"])
def test_any_concurrent_index_waits_for_writers_and_leaves_nothing_that_the_next_attempt_meets(
    database: str, then: str
) -> None:
    """Whether it is an operation of this project, of Django or SQL."""
    create = "-- by code\nCREATE INDEX CONCURRENTLY shop_code_idx ON shop_order (code)"
    index = models.Index(fields=["status"], name="shop_of_django_idx")
    for operation, name in (
        (migrations.RunSQL(create, "DROP INDEX CONCURRENTLY shop_code_idx"), "shop_code_idx"),
        (AddIndexConcurrently("order", index), "shop_of_django_idx"),
    ):
        migration = Case("m", [operation], atomic=False).migration()
        with shop() as (rehearsal, before):
            superuser = server.url("postgres", rehearsal.connection.settings_dict["NAME"])
            attempts: list[int] = []
            with _open_writer(superuser, "shop_order", then=then) as onlooker:
                apply(rehearsal.executor, before, migration, limit=1, on_wait=attempts.append)

                assert onlooker.execute(_IS_VALID, [name]).fetchone() == (True,)
            assert bool(attempts) is bool(then)


def test_an_index_that_another_role_is_making_is_left_alone(empty: Scratch) -> None:
    _migrate("contenttypes", "0001")
    superuser = server.url("postgres", connections["owner"].settings_dict["NAME"])
    with psycopg.connect(superuser, autocommit=True) as dba, psycopg.connect(superuser) as writer:
        dba.execute("CREATE TABLE busy AS SELECT 1 AS a")
        dba.execute("ALTER TABLE busy OWNER TO owner")
        writer.execute("DELETE FROM busy")
        create = "CREATE INDEX CONCURRENTLY busy_idx ON busy (a)"
        making = threading.Thread(target=dba.execute, args=[create])
        making.start()
        with connections["owner"].cursor() as cursor:
            cursor.execute(_IS_VALID, ["busy_idx"])
            while cursor.fetchone() != (False,):
                cursor.execute(_IS_VALID, ["busy_idx"])

        said = _migrate("contenttypes")
        writer.rollback()
        making.join()

        assert "dropped" not in said
        assert dba.execute(_IS_VALID, ["busy_idx"]).fetchone() == (True,)


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


def test_an_app_that_is_none_is_not_called_done(empty: Scratch) -> None:
    for app in ("nosuchapp", "core"):
        with pytest.raises(CommandError, match=f"There is no app {app} with migrations") as refused:
            _migrate(app)
        assert refused.value.returncode == 2


@pytest.mark.parametrize(
    "words", [["--attempts", "0"], ["--attempts", "some"], ["--lock-timeout", "-1"], ["--lock-timeout", "0"]]
)
def test_limits_that_are_none_are_refused(empty: Scratch, words: list[str]) -> None:
    with pytest.raises(CommandError, match=f"argument {words[0]}: it must be a whole number from 1"):
        _migrate(*words)


@pytest.fixture
def slow(empty: Scratch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[psycopg.Connection]:
    """A migration of sessions that makes an index which does not come to its end. The connection looks on."""
    operations = 'migrations.RunSQL("CREATE INDEX CONCURRENTLY busy_idx ON busy (a)", migrations.RunSQL.noop)'
    migrations_of_sessions(monkeypatch, tmp_path, {"0001_slow": f"atomic = False\n    operations = [{operations}]"})
    superuser = server.url("postgres", connections["owner"].settings_dict["NAME"])
    with psycopg.connect(superuser, autocommit=True) as onlooker, psycopg.connect(superuser) as writer:
        onlooker.execute("CREATE TABLE busy AS SELECT 1 AS a")
        onlooker.execute("ALTER TABLE busy OWNER TO owner")
        writer.execute("DELETE FROM busy")
        yield onlooker


def test_a_connection_that_is_lost_is_said_to_be_that_of_the_owner(slow: psycopg.Connection) -> None:
    def end() -> None:
        until(lambda: slow.execute(_WAITS).fetchone() is not None)
        slow.execute(_WAITS.replace("SELECT FROM", "SELECT pg_terminate_backend(pid) FROM"))

    ending = threading.Thread(target=end)
    ending.start()
    with pytest.raises(CommandError, match="The connection owner to the database failed: terminating connection"):
        _migrate("sessions")
    ending.join()


def test_an_interruption_is_a_sentence(slow: psycopg.Connection) -> None:
    def end() -> None:
        until(lambda: slow.execute(_WAITS).fetchone() is not None)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    ending = threading.Thread(target=end)
    ending.start()
    with pytest.raises(CommandError, match="Interrupted: run it again") as interrupted:
        _migrate("sessions")
    ending.join()

    assert interrupted.value.returncode == 130


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
