"""The container files, without a container engine: they are read, and what the entrypoint does is done for real."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx
import psycopg
import pytest
import yaml

from tests import server

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
ENTRYPOINT = DOCKER / "entrypoint.sh"
_EXACT_IMAGE = re.compile(r"[a-z]+:\d+\.\d+(?:\.\d+)?-[a-z-]+")


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


def addresses_of_nothing() -> dict[str, str]:
    """Addresses of a database that does not exist yet, on the test's own server."""
    server.prepare()
    name = server.database_name(f"docker_{uuid.uuid4().hex[:8]}")
    return {
        "DRIFTGRAPH_SUPERUSER_DATABASE_URL": server.url("postgres", "postgres"),
        "DRIFTGRAPH_OWNER_DATABASE_URL": server.url("owner", name),
        "DRIFTGRAPH_DATABASE_URL": server.url("app", name),
    }


@pytest.fixture
def addresses() -> dict[str, str]:
    return addresses_of_nothing()


@pytest.fixture(scope="module")
def migrated() -> dict[str, str]:
    """Addresses of a database that the entrypoint has made and migrated."""
    found = addresses_of_nothing()
    done = enter("migrate", **found)
    assert done.returncode == 0, done.stderr
    return found


def environment_of(**settings_of_container: str) -> dict[str, str]:
    """What a container has around the entrypoint: nothing of ours but what is given."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DRIFTGRAPH_", "COV_"))}
    path = f"{Path(sys.executable).parent}:{clean['PATH']}"
    return clean | {"DRIFTGRAPH_HOME": str(ROOT), "PATH": path} | settings_of_container


def enter(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ENTRYPOINT, command], env=environment_of(**environment), capture_output=True, text=True, check=False
    )


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, "the process ended"
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.1)


def test_the_image_runs_as_nobody_in_particular() -> None:
    instructions = (DOCKER / "Dockerfile").read_text().splitlines()
    last_stage = instructions[max(i for i, line in enumerate(instructions) if line.startswith("FROM")) :]

    users = [line.split()[1] for line in last_stage if line.startswith("USER")]
    assert users
    assert all(user.isdigit() and int(user) > 0 for user in users)
    assert last_stage.index(f"USER {users[-1]}") < last_stage.index('ENTRYPOINT ["driftgraph"]')


def test_every_image_is_an_exact_version(compose: dict) -> None:
    bases = re.findall(r"^FROM (\S+)", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)

    assert len(bases) == 2
    assert all(_EXACT_IMAGE.fullmatch(base) for base in [*bases, compose["services"]["postgres"]["image"]])
    assert compose["services"]["server"]["image"] == "driftgraph:0.1.0"


def test_the_image_installs_as_a_clone_does() -> None:
    instructions = (DOCKER / "Dockerfile").read_text()

    assert "make VENV=/opt/venv" in instructions
    assert "pip install" not in instructions
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", instructions, re.MULTILINE)
    assert all((ROOT / name).exists() for line in copied for name in line.split())


def test_what_is_copied_reaches_the_builder() -> None:
    ignored = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)

    assert ignored[0] == "**"
    assert {name for line in copied for name in line.split()} <= {line[1:] for line in ignored if line.startswith("!")}


def test_only_the_migration_knows_owner_and_superuser(compose: dict) -> None:
    privileged = {
        name
        for name, service in compose["services"].items()
        if {"DRIFTGRAPH_OWNER_DATABASE_URL", "DRIFTGRAPH_SUPERUSER_DATABASE_URL"} & set(service["environment"])
    }

    assert privileged == {"migrate"}
    for name in ("server", "worker"):
        assert compose["services"][name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


def test_server_and_worker_share_the_one_folder_that_can_be_written(compose: dict) -> None:
    instructions = (DOCKER / "Dockerfile").read_text()
    home = re.search(r"DRIFTGRAPH_DATA_DIR=(\S+)", instructions)[1]
    taken_in, imported = (compose["services"][name]["volumes"] for name in ("server", "worker"))

    assert taken_in == imported
    assert [volume.split(":")[1] for volume in taken_in] == [home]
    assert {volume.split(":")[0] for volume in taken_in} <= compose["volumes"].keys()
    # A new volume takes the owner of the folder that the image has there.
    assert f"--home-dir {home} --create-home" in instructions
    assert all(compose["services"][name]["read_only"] for name in ("server", "worker"))


def test_no_secret_stands_in_the_compose_file(compose: dict) -> None:
    for service in compose["services"].values():
        for name, value in service["environment"].items():
            if name.endswith(("KEY", "PASSWORD")):
                assert re.fullmatch(r"\$\{[A-Z_]+:\?\}", value)
            elif "://" in value:
                assert re.fullmatch(r"postgresql://[a-z]+:\$\{[A-Z_]+:\?\}@postgres:5432/[a-z]+", value)


def test_the_entrypoint_is_sound_and_knows_three_commands(compose: dict) -> None:
    assert os.access(ENTRYPOINT, os.X_OK)
    assert subprocess.run(["bash", "-n", ENTRYPOINT], check=False).returncode == 0

    refused = enter("shell")

    assert refused.returncode == 64
    commands = {service["command"][0] for service in compose["services"].values() if "command" in service}
    assert commands == {"migrate", "serve", "worker"}
    assert "migrate|serve|worker" in refused.stderr


def test_migrate_makes_roles_database_and_tables_and_may_run_again(migrated: dict[str, str]) -> None:
    again = enter("migrate", **migrated)

    assert again.returncode == 0, again.stderr
    assert "Nothing to apply." in again.stdout  # what migrate_safely says
    with psycopg.connect(migrated["DRIFTGRAPH_DATABASE_URL"]) as app:
        owned = app.execute(
            "SELECT pg_get_userbyid(relowner), relrowsecurity AND relforcerowsecurity FROM pg_class"
            " WHERE relname = 'api_token'"
        ).fetchone()
        assert owned == ("owner", True)
        assert app.execute("SELECT count(*) FROM api_token").fetchone() == (0,)


def test_migrate_without_the_owner_is_refused(addresses: dict[str, str]) -> None:
    refused = enter("migrate", DRIFTGRAPH_DATABASE_URL=addresses["DRIFTGRAPH_DATABASE_URL"])

    assert refused.returncode != 0
    assert "DRIFTGRAPH_OWNER_DATABASE_URL" in refused.stderr


def test_a_swapped_address_is_noticed(addresses: dict[str, str]) -> None:
    swapped = addresses | {"DRIFTGRAPH_DATABASE_URL": addresses["DRIFTGRAPH_OWNER_DATABASE_URL"]}

    refused = enter("migrate", **swapped)

    assert refused.returncode != 0
    assert "names another user" in refused.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_serve_answers_and_ends_when_told(migrated: dict[str, str], workers: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = {"DRIFTGRAPH_HOST": "127.0.0.1", "DRIFTGRAPH_PORT": str(port), "DRIFTGRAPH_WORKERS": workers}

    def answer(path: str) -> int:
        try:
            return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=5).status_code
        except httpx.TransportError:
            return 0

    with subprocess.Popen([ENTRYPOINT, "serve"], env=environment_of(**migrated, **given)) as server:
        try:
            wait_until(lambda: answer("/healthz") == 200, server)
            ready, admin, metrics = answer("/readyz"), answer("/admin/login/"), answer("/metrics")
            # The server keeps no address by which it could become the owner of the tables.
            known = Path(f"/proc/{server.pid}/environ")
            kept = known.read_bytes() if known.exists() else b""
        finally:
            server.send_signal(signal.SIGTERM)

    assert (ready, admin, metrics) == (200, 200, 200)
    # Several processes tell of each other what they have counted.
    assert not kept or (b"PROMETHEUS_MULTIPROC_DIR=" in kept) == (workers == "2")
    assert b"DRIFTGRAPH_OWNER_DATABASE_URL" not in kept
    assert b"DRIFTGRAPH_SUPERUSER_DATABASE_URL" not in kept


def test_worker_takes_jobs_and_ends_when_told(migrated: dict[str, str]) -> None:
    with psycopg.connect(migrated["DRIFTGRAPH_DATABASE_URL"], autocommit=True) as queue:
        queue.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, args)"
            " VALUES ('default', 'agents.reopen_findings', '{\"timestamp\": 0}')"
        )

        def is_done() -> bool:
            # A job that succeeded is deleted; one that failed stays.
            return queue.execute(
                "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'agents.reopen_findings'"
            ).fetchone() == (0,)

        with subprocess.Popen([ENTRYPOINT, "worker"], env=environment_of(**migrated)) as worker:
            try:
                wait_until(is_done, worker)
            finally:
                worker.send_signal(signal.SIGTERM)

    assert worker.returncode == 0
