"""Which migrations the gate is about, in the repositories that there are: a branch, main, a shallow clone, none."""

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db.migrations.loader import MigrationLoader
from psycopg.conninfo import conninfo_to_dict

from backend.migration_safety.scratch import redirected, scratch_database
from backend.migration_safety.selection import changed_files, choose, path_of, released
from tests import server
from tests.backend.migration_files import migrations_of_sessions, write_migration
from tests.backend.workers import until

ROOT = Path(__file__).resolve().parents[2]
AUTHOR = ("-c", "user.name=t", "-c", "user.email=t@example.org")


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *AUTHOR, *words], cwd=folder, check=True, capture_output=True)


def commit(folder: Path, name: str) -> None:
    (folder / name).write_text(name)
    git(folder, "add", name)
    git(folder, "commit", "-qm", name)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit on main."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-qb", "main")
    commit(folder, "first")
    return folder


_HOLDS = """
import django
django.setup()
from backend.migration_safety.scratch import scratch_database
with scratch_database() as scratch:
    print(scratch.owner, flush=True)
    input()
"""


def test_what_a_killed_rehearsal_left_goes_with_the_next_and_what_another_uses_stays(database: str) -> None:
    variables = {f"DRIFTGRAPH_{name}": value for name, value in addresses(database).items()}
    environment = {**os.environ, **variables, "DJANGO_SETTINGS_MODULE": "backend.config.settings"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _HOLDS],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    killed, other = processes
    left, used = (conninfo_to_dict((process.stdout or io.StringIO()).readline())["dbname"] for process in processes)
    killed.kill()
    killed.communicate()

    with psycopg.connect(server.url("postgres", database), autocommit=True) as onlooker:

        def there() -> set[str]:
            found = onlooker.execute("SELECT datname FROM pg_database WHERE datname = ANY(%s)", [[left, used]])
            return {name for (name,) in found.fetchall()}

        before = there()
        pid = str(left).split("_")[1]
        until(lambda: onlooker.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone() is None)
        with scratch_database():
            during = there()
        other.communicate("\n")

        assert (before, during, there()) == ({left, used}, {used}, set())
    assert other.returncode == 0


def ended(*words: str, cwd: Path = ROOT, **variables: str) -> tuple[int, str, str]:
    """Exit code, answer and messages of manage.py."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DRIFTGRAPH_")}
    done = subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=cwd,
        env={**kept, **{f"DRIFTGRAPH_{name}": value for name, value in variables.items()}},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def addresses(database: str) -> dict[str, str]:
    """The settings of a database."""
    return {"DATABASE_URL": server.url("app", database), "OWNER_DATABASE_URL": server.url("owner", database)}


def own_migrations() -> set[tuple[str, str]]:
    """Those of this checkout."""
    return {(path.parts[-3], path.stem) for path in ROOT.glob("backend/*/migrations/0*.py")}


def test_a_branch_is_compared_with_main_and_main_with_the_last_tag(repository: Path) -> None:
    nothing_released = released(repository)
    git(repository, "tag", "v1")
    commit(repository, "second")
    on_main = released(repository)
    git(repository, "checkout", "-q", "--detach")
    by_itself = released(repository)
    git(repository, "checkout", "-qb", "feature")
    begun = released(repository)
    commit(repository, "third")

    assert (nothing_released, on_main, by_itself, begun, released(repository)) == (None, "v1", "v1", "main", "main")


def test_a_clone_compares_with_main_of_its_origin_if_it_has_that(repository: Path, tmp_path: Path) -> None:
    git(repository, "checkout", "-qb", "feature")
    commit(repository, "second")
    whole, shallow = tmp_path / "whole", tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--branch", "feature", str(repository), str(whole))
    git(tmp_path, "clone", "-q", "--depth", "1", "--branch", "feature", f"file://{repository}", str(shallow))

    assert [released(folder) for folder in (whole, shallow, tmp_path)] == ["origin/main", None, None]


def test_what_is_not_committed_yet_counts(repository: Path) -> None:
    (repository / "first").write_text("changed")
    (repository / "new").write_text("new")
    commit(repository, "second")

    assert {path.name for path in changed_files("HEAD~1", repository)} == {"first", "new", "second"}
    assert {path.name for path in changed_files("HEAD", repository)} == {"first", "new"}


@pytest.mark.parametrize("reference", ["--output=written", "no_such_branch", "HEAD:first"])
def test_what_is_no_revision_is_refused(repository: Path, reference: str) -> None:
    with pytest.raises(CommandError, match=f"has no revision {reference}") as refused:
        changed_files(reference, repository)

    assert refused.value.returncode == 2
    assert not (repository / "written").exists()


def test_the_repository_is_that_of_the_migrations_wherever_the_command_is_called(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(repository, "tag", "of_another_project")
    monkeypatch.chdir(repository)

    with pytest.raises(CommandError, match="has no revision of_another_project"):
        choose([], "of_another_project", say=print)


def test_without_a_base_it_is_every_migration_of_the_project_and_none_of_a_library(
    database: str, tmp_path: Path
) -> None:
    """In a copy of the project that is no repository."""
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{ROOT}", str(clone))
    shutil.rmtree(clone / ".git")

    code, answer, said = ended("lint_migrations", "--since", "--format", "json", cwd=clone, **addresses(database))

    assert (code, json.loads(answer)["migrations"]) == (0, len(own_migrations()))
    assert "git knows neither main nor a tag here (a shallow clone, or no repository): all migrations" in said


@pytest.mark.parametrize("name", ["lint_migrations", "rehearse_migrations", "migrate_safely"])
def test_several_last_migrations_are_refused(
    database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    after = 'dependencies = [("sessions", "0001_initial")]'
    leaves = {"0001_initial": "pass", "0002_one": after, "0002_other": after}
    migrations_of_sessions(monkeypatch, tmp_path, leaves)

    with pytest.raises(CommandError, match="sessions has several last migrations: 0002_one, 0002_other") as refused:
        call_command(name)

    assert refused.value.returncode == 2


def test_of_a_squash_that_is_begun_the_rest_is_judged(
    database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What migrate_safely would execute; an original that is named is one too."""
    reads = 'operations = [migrations.RunSQL("SELECT 1", "SELECT 1")]'
    replaces = 'replaces = [("sessions", "0001_initial"), ("sessions", "0002_more")]'
    bodies = {
        "0001_initial": reads,
        "0001_squashed_0002_more": f"{replaces}\n    {reads}",
        "0002_more": f'dependencies = [("sessions", "0001_initial")]\n    {reads}',
    }
    with scratch_database() as scratch, redirected(scratch):
        call_command("migrate_safely", "agents", verbosity=0)
        package = migrations_of_sessions(monkeypatch, tmp_path, {"0001_initial": bodies.pop("0001_initial")})
        call_command("migrate_safely", "sessions", verbosity=0)
        for name, body in bodies.items():
            write_migration(package, name, body)

        chosen = {key for key in choose([], None, say=print) if key[0] == "sessions"}
        rehearsed, named = rehearsals(tmp_path, sorted(chosen)), rehearsals(tmp_path, [("sessions", "0002_more")])
        squash = rehearsals(tmp_path, [("sessions", "0001_squashed_0002_more")])
        with pytest.raises(CommandError, match="is a squash: choose it without") as refused:
            rehearsals(tmp_path, [("sessions", "0001_squashed_0002_more"), ("sessions", "0002_more")])

    assert (rehearsed, named) == ([("sessions.0002_more", True)],) * 2
    assert squash == [("sessions.0001_squashed_0002_more", True)]
    assert refused.value.returncode == 2


def rehearsals(folder: Path, chosen: Iterable[tuple[str, str]]) -> list[tuple[str, bool]]:
    """Migrations, and whether they pass."""
    answer, names = folder / "answer.json", [".".join(key) for key in chosen]
    call_command("rehearse_migrations", *names, rows=200, format="json", output=answer, verbosity=0)
    return [(report["migration"], report["passed"]) for report in json.loads(answer.read_text())["reports"]]


def test_every_migration_of_the_project_passes_the_linter(database: str, tmp_path: Path) -> None:
    answer = tmp_path / "answer.json"
    names = [".".join(key) for key in sorted(own_migrations())]

    call_command("lint_migrations", *names, format="json", output=answer)

    findings = json.loads(answer.read_text())["findings"]
    assert {(item["migration"], item["rule"]) for item in findings} == {
        ("accounts.0001_initial", "tenant-key"),
        ("accounts.0003_authentication_revoked", "ban-drop-function"),
        ("audit.0003_change_audit", "ban-drop-not-null"),
        ("audit.0006_security_events", "data-with-schema"),
        ("audit.0010_partitions", "ban-drop-function"),
        ("audit.0010_partitions", "renaming-object"),
        ("audit.0010_partitions", "renaming-table"),
    }


def test_every_migration_of_the_project_passes_its_rehearsal(database: str, tmp_path: Path) -> None:
    answer = tmp_path / "answer.json"
    names = [".".join(key) for key in sorted(own_migrations())]

    call_command("rehearse_migrations", *names, rows=200, format="json", output=answer, verbosity=0)

    reports = json.loads(answer.read_text())["reports"]
    assert {report["migration"] for report in reports} == set(names)
    accepted = {(report["migration"], found["rule"]) for report in reports for found in report["findings"]}
    assert accepted == {("audit.0002_append_only", "old-statement-fails")}


@pytest.mark.parametrize("command", ["lint_migrations", "rehearse_migrations"])
def test_what_cannot_be_done_is_a_sentence_and_exit_code_2(database: str, tmp_path: Path, command: str) -> None:
    app = server.url("app", database)
    nowhere, no_database = "postgresql://owner@127.0.0.1:1/x", server.url("owner", "not_there")
    drift = "drift.0003"
    expected = {
        "Set DRIFTGRAPH_OWNER_DATABASE_URL": ended(command, drift, DATABASE_URL=app),
        "connection refused": ended(command, drift, DATABASE_URL=app, OWNER_DATABASE_URL=nowhere),
        '"not_there" does not exist': ended(command, drift, DATABASE_URL=app, OWNER_DATABASE_URL=no_database),
        "not_there/answer": ended(
            command,
            *(drift, "--output", str(tmp_path / "not_there/answer")),
            *(["--rows", "200"] if command == "rehearse_migrations" else []),
            **addresses(database),
        ),
    }
    if command == "rehearse_migrations":
        expected['The user "app" may not'] = ended(command, drift, DATABASE_URL=app, OWNER_DATABASE_URL=app)

    for reason, (code, _answer, said) in expected.items():
        assert (code, reason.lower() in said.lower(), "Traceback" in said) == (2, True, False), said


def test_a_changed_migration_is_read_though_others_depend_on_it(database: str, tmp_path: Path) -> None:
    """In a shallow clone, as CI makes it, in which a branch changes a migration in the middle."""
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{ROOT}", str(clone))
    git(clone, "checkout", "-qB", "main")
    git(clone, "checkout", "-qb", "feature")
    changed = clone / "backend/drift/migrations/0002_detection_run_what_if.py"
    changed.write_text(changed.read_text().replace("db_default=False", "null=False"))

    code, said, told = ended("lint_migrations", "--since", "--format", "json", cwd=clone, **addresses(database))

    assert (code, "migrations since main" in told) == (1, True)
    answer = json.loads(said)
    assert answer["migrations"] == 1
    assert {item["migration"] for item in answer["findings"]} == {"drift.0002_detection_run_what_if"}
    assert "default-without-db-default" in {item["rule"] for item in answer["findings"]}


def test_the_paths_of_migrations_are_those_of_their_files() -> None:
    graph = MigrationLoader(None).graph

    assert path_of(graph.nodes["drift", "0001_initial"]) == ROOT / "backend/drift/migrations/0001_initial.py"
