"""What can go wrong with the embedded server: it heals itself, or it says what to do."""

import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from backend.db import embedded, embedded_cluster, embedded_errors, embedded_guard
from backend.db.embedded import EmbeddedServer
from tests.unit.conftest import FAST

NOBODY = 65534
MOUNT, UMOUNT = (shutil.which(name) or "" for name in ("mount", "umount"))
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused by PostgreSQL and may mount")


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedServer]:
    new = EmbeddedServer(folder / "data", options=FAST)
    yield new
    new.release()


@pytest.fixture
def stopped(made: Path, server: EmbeddedServer) -> EmbeddedServer:
    """A server with a data directory, that does not run."""
    subprocess.run(["/bin/cp", "-a", made, server.data_dir], check=True)
    return server


def answers(server: EmbeddedServer) -> bool:
    with psycopg.connect(server.url("postgres", "postgres")) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


def kill_postmaster(server: EmbeddedServer) -> Path:
    pid_file = server.cluster.folder / "postmaster.pid"
    os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)
    return pid_file


def test_a_killed_server_is_started_again_by_the_same_user(stopped: EmbeddedServer):
    stopped.acquire()
    kill_postmaster(stopped)

    stopped.acquire()

    assert answers(stopped)


def test_a_stale_pid_file_with_the_number_of_another_process_heals(stopped: EmbeddedServer, folder: Path):
    stopped.acquire()
    pid_file = kill_postmaster(stopped)
    lines = pid_file.read_text().splitlines()
    # One of the server's own account: PostgreSQL takes another's process for none.
    account = stopped.cluster.account
    with subprocess.Popen(["/bin/sleep", "60"], user=account.uid if account else None) as other:
        pid_file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")

        with EmbeddedServer(folder / "data", options=FAST) as second:
            healed = answers(second)
        other.kill()

    assert healed


def test_a_half_made_data_directory_is_made_anew(server: EmbeddedServer):
    unfinished = server.data_dir / "pg.new"
    unfinished.mkdir(parents=True)
    server.data_dir.chmod(0o711)
    (unfinished / "PG_VERSION").write_text("18\n")

    server.acquire()

    assert answers(server)
    assert not unfinished.exists()


def test_a_server_without_free_connections_counts_as_running(
    stopped: EmbeddedServer, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    stopped.acquire()
    address = stopped.url("postgres", "postgres")
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(psycopg.connect(address))
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            psycopg.connect(address)
        monkeypatch.setattr(embedded, "START_SECONDS", 0)  # who waits for its end is told that it is stuck

        with EmbeddedServer(folder / "data") as second:
            taken = second.cluster.answers()

    assert taken


def test_another_major_version_is_named_with_what_to_do(stopped: EmbeddedServer):
    (stopped.cluster.folder / "PG_VERSION").write_text("16\n")

    with pytest.raises(embedded_errors.OtherMajorVersion) as refused:
        stopped.acquire()

    assert "made by PostgreSQL 16; the embedded server is PostgreSQL 18" in refused.value.message
    assert "pg_dumpall" in refused.value.message


def test_other_files_are_not_taken_for_a_data_directory(server: EmbeddedServer):
    server.cluster.folder.mkdir(parents=True)
    (server.cluster.folder / "notes.txt").write_text("mine")

    with pytest.raises(embedded_errors.NotADataDirectory):
        server.acquire()

    assert (server.cluster.folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["d" * 120, "with, comma", """it's "$HOME" `x`"""])
def test_an_odd_path_gets_a_private_socket(folder: Path, name: str):
    with EmbeddedServer(folder / name, options=FAST) as server:
        sockets = server.socket_dir
        # Another process may have another temporary folder.
        joined = subprocess.run(
            [sys.executable, "-c", JOIN, str(folder / name)],
            env={**os.environ, "TMPDIR": str(folder)},
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
            text=True,
        )
        mode = sockets.stat().st_mode & 0o777

    assert joined.stdout.strip() == str(sockets)
    assert mode == 0o700
    assert sockets.exists() == (sockets == folder / name / "pg")


JOIN = """
import sys
from pathlib import Path
from backend.db.embedded import EmbeddedServer
with EmbeddedServer(Path(sys.argv[1])) as server:
    print(server.socket_dir)
"""


def test_a_path_too_long_even_in_the_temporary_folder_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(folder / ("t" * 100)))

    with pytest.raises(embedded_errors.SocketPathTooLong, match="TMPDIR"):
        EmbeddedServer(folder / ("d" * 120), options=FAST).acquire()


def test_a_server_in_a_socket_folder_that_is_not_ours_is_not_joined(stopped: EmbeddedServer, folder: Path):
    stopped.acquire()
    server = EmbeddedServer(folder / ("d" * 120), options=FAST)
    server.socket_dir.symlink_to(stopped.socket_dir)

    try:
        with pytest.raises(embedded_errors.FolderOfAnotherUser):
            server.acquire()
    finally:
        server.socket_dir.unlink()


@needs_root
def test_a_full_disk_is_named_and_freeing_it_is_enough(folder: Path):
    if not MOUNT:
        pytest.skip("this machine has no mount command")
    mounted = subprocess.run(
        [MOUNT, "-t", "tmpfs", "-o", "size=120m,mode=711", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount")
    server = EmbeddedServer(folder / "data", options=FAST)
    try:
        fill(folder, leave=20 * 1024 * 1024)
        with pytest.raises(embedded_errors.DiskFull, match="is full"):
            server.acquire()
        (folder / "filler").unlink()
        server.acquire().release()
        fill(folder, leave=0)

        with pytest.raises(embedded_errors.DiskFull):
            server.acquire()
        (folder / "filler").unlink()

        assert answers(server.acquire())
    finally:
        server.release()
        subprocess.run([UMOUNT, "-l", folder], check=True)


def fill(folder: Path, *, leave: int) -> None:
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_bsize
    with (folder / "filler").open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, free - leave)


@needs_root
def test_a_private_parent_folder_is_named_when_root_asks(folder: Path):
    home = folder / "home"
    home.mkdir(mode=0o700)

    with pytest.raises(embedded_errors.FolderNotTraversable) as refused:
        EmbeddedServer(home / "project" / ".data").acquire()

    assert f"may not enter {home}." in refused.value.message
    assert "DRIFTGRAPH_DATA_DIR" in refused.value.message
    assert home.stat().st_mode & 0o777 == 0o700


@needs_root
def test_root_keeps_the_account_of_an_existing_data_directory(stopped: EmbeddedServer):
    for path in [stopped.cluster.folder, *stopped.cluster.folder.rglob("*")]:
        os.chown(path, 4321, 4321)

    stopped.acquire()

    assert answers(stopped)
    assert stopped.cluster.account.name == "4321"


@needs_root
def test_root_without_an_account_for_the_server_is_told(server, monkeypatch: pytest.MonkeyPatch):
    def unknown(name: str) -> None:
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", unknown)

    with pytest.raises(embedded_errors.NoServerAccount, match="refuses to run as root"):
        server.acquire()


def as_nobody(data_dir: Path) -> str:
    """Returns what a child process without any privilege says after it tried to take the server."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        try:
            with EmbeddedServer(data_dir, options=FAST) as server:
                os.write(writing, str(answers(server)).encode())
        except embedded_errors.EmbeddedServerError as error:
            os.write(writing, error.message.encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


@needs_root
def test_an_ordinary_user_runs_the_server_as_itself(folder: Path):
    home = folder / "home"
    home.mkdir(mode=0o700)
    os.chown(home, NOBODY, NOBODY)

    said = as_nobody(home / "data")

    assert said == "True"
    assert (home / "data" / "pg" / "PG_VERSION").stat().st_uid == NOBODY


@needs_root
def test_an_ordinary_user_is_told_that_the_folder_is_roots(stopped: EmbeddedServer):
    stopped.acquire().release()

    said = as_nobody(stopped.data_dir)

    assert "cannot be used by this user: " in said
    assert "Permission denied" in said


def test_a_platform_without_binaries_is_told(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)

    with pytest.raises(embedded_errors.NoBinaries, match="DRIFTGRAPH_DATABASE_URL"):
        server.acquire()


def test_a_refused_option_is_quoted_from_the_log(folder: Path):
    server = EmbeddedServer(folder / "data", options={"no_such_setting": "1"})

    with pytest.raises(embedded_errors.CommandFailed, match='"no_such_setting"'):
        server.acquire()

    with EmbeddedServer(folder / "data", options=FAST) as right:
        assert answers(right)


def test_a_process_that_neither_answers_nor_ends_is_named(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedded, "START_SECONDS", 0.2)
    server.data_dir.mkdir(parents=True)

    with (server.data_dir / "server.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(embedded_errors.ServerStuck, match=r"after 0\.2 seconds"):
            server.acquire()


def test_a_long_log_is_put_aside_at_the_start(stopped: EmbeddedServer, monkeypatch: pytest.MonkeyPatch):
    first = stopped.cluster.log.read_text()
    monkeypatch.setattr(embedded_cluster, "LOG_LIMIT", len(first) - 1)

    stopped.acquire()

    assert stopped.cluster.log.with_name("log.1").read_text() == first
    assert first not in stopped.cluster.log.read_text()


def test_a_user_whose_data_directory_was_deleted_leaves_in_peace(stopped: EmbeddedServer):
    stopped.acquire()
    kill_postmaster(stopped)
    shutil.rmtree(stopped.data_dir)

    stopped.release()

    assert not stopped.data_dir.exists()


def test_the_guard_leaves_a_used_server_alone_and_ends_with_an_unused_one(stopped: EmbeddedServer):
    stopped.acquire()
    first, second = os.dup(0), os.dup(0)
    stop = stopped.cluster.stop_command()
    account = stopped.cluster.account
    uid, gid = (account.uid, account.gid) if account else (None, None)

    used = embedded_guard._stop_if_unused(stopped.data_dir, first, stop, uid, gid)
    served = answers(stopped)
    # As a killed process leaves it: nobody counts as a user, and the server runs on.
    stopped._leave()
    embedded_guard.watch(stopped.data_dir, second, stop, uid, gid)

    assert (used, served) == (False, True)
    assert not (stopped.cluster.folder / "postmaster.pid").exists()
    os.close(first)
