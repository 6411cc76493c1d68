"""What `manage.py` says when the installation is not in order: one sentence and exit code 1, never a traceback."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from backend.db.bootstrap import create_database
from benchmarks.serving import free_port
from tests import server
from tests.backend.workers import until

ROOT = Path(__file__).resolve().parents[2]
UNREACHABLE = "postgresql://app@127.0.0.1:1/driftgraph"


def refused(*words: str, cwd: Path = ROOT, **variables: str) -> str:
    """The one line that the command says; nothing is announced before it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DRIFTGRAPH_")}
    ended = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *words],
        cwd=cwd,
        env={**kept, **{f"DRIFTGRAPH_{name}": value for name, value in variables.items()}},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_a_data_directory_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    said = refused("check", DATA_DIR=str(tmp_path / "file"))

    assert "file cannot be used by this user" in said
    assert "Set DRIFTGRAPH_DATA_DIR" in said


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"PORT": "99999"}, "DRIFTGRAPH_PORT is not valid: it must be at most 65535."),
        ({"PORT": "eighty"}, "DRIFTGRAPH_PORT is not valid: it must be a whole number."),
        ({"ENVIRONMENT": "production"}, "DRIFTGRAPH_SECRET_KEY has its development value."),
        ({"REPORT_URL": "file:///etc/passwd"}, "DRIFTGRAPH_REPORT_URL is not valid: it must be http://"),
        ({"REPORT_URL": "http://[::1/graphql"}, "DRIFTGRAPH_REPORT_URL is not valid: it must be http://"),
        ({"REPORT_URL": "http://h\N{EURO SIGN}/graphql"}, "DRIFTGRAPH_REPORT_URL is not valid: it must be http://"),
    ],
    ids=["range", "type", "default-key", "scheme", "address", "characters"],
)
def test_a_setting_that_is_not_valid_is_named(variables: dict[str, str], message: str) -> None:
    assert refused("serve", **variables).startswith(message)


def test_an_address_of_another_machine_is_not_called_taken() -> None:
    said = refused("serve", DATABASE_URL=UNREACHABLE, HOST="192.0.2.1")

    assert "Nothing can listen on 192.0.2.1:8000" in said
    assert "taken" not in said


def test_a_taken_port_is_called_so() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]

        assert f"127.0.0.1:{port} is taken" in refused("serve", DATABASE_URL=UNREACHABLE, PORT=str(port))


def test_nothing_is_announced_where_no_database_answers() -> None:
    said = refused("serve", DATABASE_URL=UNREACHABLE, PORT=str(free_port()))

    assert said.startswith("The database cannot be reached (DRIFTGRAPH_DATABASE_URL)")


def test_a_worker_without_a_database_says_so() -> None:
    said = refused("worker", DATABASE_URL=UNREACHABLE)

    assert said.startswith("The database cannot be reached (DRIFTGRAPH_DATABASE_URL)")
    assert said.count("\n") == 1


def _empty_database() -> str:
    """The address of a migrated database without rows."""
    name = server.database_name("empty")
    create_database(server.url("postgres", "postgres"), name, template=server.database_name("template"))
    return server.url("app", name)


def test_a_data_directory_beside_a_database_elsewhere_is_made(database: str, tmp_path: Path) -> None:
    data_dir = tmp_path / "new" / "folder"
    variables = {"DATABASE_URL": _empty_database(), "DATA_DIR": str(data_dir), "PORT": str(free_port())}

    serve = subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "serve"],
        env={**os.environ, **{f"DRIFTGRAPH_{name}": value for name, value in variables.items()}},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert until(lambda: serve.poll() is not None or (data_dir / "demo-loading").exists())
        assert serve.poll() is None
    finally:
        serve.kill()
        serve.wait()


def test_a_data_directory_beside_a_database_elsewhere_that_is_a_file_is_named(database: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    said = refused("serve", DATABASE_URL=_empty_database(), DATA_DIR=str(tmp_path / "file"), PORT=str(free_port()))

    assert "file cannot be used by this user" in said
    assert "Set DRIFTGRAPH_DATA_DIR" in said


@pytest.mark.parametrize(
    "words",
    [
        ("worker",),
        ("organization_create", "Clinic"),
        ("token_create", "--organization", "Clinic", "--name", "n", "--scope", "read"),
        ("import_claims", "x.csv", "--organization", "Clinic"),
        ("detect", "--organization", "Clinic"),
    ],
    ids=lambda words: words[0],
)
def test_a_database_without_tables_is_to_be_migrated(words: tuple[str, ...]) -> None:
    said = refused(*words, DATABASE_URL=server.url("app", "postgres"))

    assert said == "The database lacks tables. Make them with: python manage.py migrate\n"


def test_a_worker_without_jobs_at_a_time_is_refused() -> None:
    said = refused("worker", "--concurrency", "0", DATABASE_URL=UNREACHABLE)

    assert "--concurrency must be at least 1." in said
