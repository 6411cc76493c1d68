"""The life of the embedded server: started by the first user process, shared, stopped with the last."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from backend.db.embedded import EmbeddedServer
from tests.unit.conftest import FAST

ROOT = Path(__file__).parents[2]
PATIENCE = 60  # seconds; only a process that never ends takes them

# A user process: takes the server, says so, and goes on until its input ends.
USER = """
import os, sys
from pathlib import Path
from backend.db.embedded import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]), options={"fsync": "off"})
if "die" in sys.argv:
    start = server.cluster.start
    server.cluster.start = lambda lock: (start(lock), os.kill(os.getpid(), 9))
server.acquire()
child = os.fork() if "fork" in sys.argv else 1
if child:
    print("ready", child, flush=True)
    sys.stdin.read()
    if "leave" in sys.argv:
        server.release()
else:
    os.close(1)
    import time; time.sleep(120)
"""


@pytest.fixture
def data_dir(made: Path, folder: Path) -> Path:
    subprocess.run(["/bin/cp", "-a", made, folder / "data"], check=True)
    return folder / "data"


@pytest.fixture
def start_user(folder: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    users: list[subprocess.Popen[str]] = []

    def start(data_dir: Path, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", USER, str(data_dir), *words]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        users.append(subprocess.Popen(command, cwd=ROOT, text=True, **pipes))
        return users[-1]

    yield start
    for user in users:
        leave(user)


def ready(user: subprocess.Popen[str]) -> int:
    word, child = user.stdout.readline().split()
    assert word == "ready"
    return int(child)


def leave(user: subprocess.Popen[str]) -> int:
    user.stdin.close()
    code = user.wait(timeout=PATIENCE)
    user.stdout.close()
    return code


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "pg" / "postmaster.pid").read_text().split()[0])


def runs(process: int) -> bool:
    try:
        # A killed process of which nobody has taken notice still has a number.
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(process: int) -> bool:
    until = time.monotonic() + PATIENCE
    while runs(process) and time.monotonic() < until:
        time.sleep(0.02)
    return not runs(process)


def gone(path: Path) -> bool:
    until = time.monotonic() + PATIENCE
    while path.exists() and time.monotonic() < until:
        time.sleep(0.02)
    return not path.exists()


def setting(server: EmbeddedServer, name: str) -> str:
    with psycopg.connect(server.url("postgres", "postgres")) as connection:
        return connection.execute("SELECT current_setting(%s)", (name,)).fetchone()[0]


def test_the_first_user_starts_the_server_and_the_last_stops_it(folder: Path):
    data_dir = folder / "new"
    server = EmbeddedServer(data_dir, options=FAST)

    with server as entered:
        process = postmaster(data_dir)
        again = server.acquire()
        version = setting(server, "server_version_num")

    assert entered is server
    assert again is server
    assert version.startswith("18")
    assert ends(process)
    server.release()
    assert not (data_dir / "pg" / "postmaster.pid").exists()


def test_the_server_is_private_and_off_the_network(data_dir: Path):
    with EmbeddedServer(data_dir, options=FAST) as server:
        values = {name: setting(server, name) for name in ("fsync", "listen_addresses", "TimeZone")}
        socket_mode = (server.socket_dir / ".s.PGSQL.5432").stat().st_mode & 0o777
        folder_mode = server.socket_dir.stat().st_mode & 0o777

    assert values == {"fsync": "off", "listen_addresses": "", "TimeZone": "UTC"}
    assert (socket_mode, folder_mode) == (0o700, 0o700)


def test_the_log_of_the_server_holds_no_value_of_a_row(data_dir: Path):
    with EmbeddedServer(data_dir, options=FAST) as server:
        with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as connection:
            connection.execute("CREATE TABLE claim (number text PRIMARY KEY)")
            connection.execute("INSERT INTO claim VALUES ('SECRET-1')")
            with pytest.raises(psycopg.errors.UniqueViolation):
                connection.execute("INSERT INTO claim VALUES ('SECRET-1')")
        log = (data_dir / "pg" / "log").read_text()

    assert "claim_pkey" in log
    assert "SECRET-1" not in log


def test_two_starters_at_once_make_and_share_one_server(folder: Path, start_user):
    data_dir = folder / "new"
    users = [start_user(data_dir), start_user(data_dir)]

    for user in users:
        ready(user)

    log = (data_dir / "pg" / "log").read_text()
    assert log.count("database system is ready to accept connections") == 1


def test_a_user_that_joined_leaves_the_server_to_the_others(data_dir: Path, start_user):
    with EmbeddedServer(data_dir, options=FAST) as server:
        process = postmaster(data_dir)
        joined = start_user(data_dir, "leave")
        ready(joined)

        code = leave(joined)

        assert code == 0
        assert postmaster(data_dir) == process
        assert setting(server, "fsync") == "off"
    assert ends(process)


def test_a_process_that_just_ends_stops_the_server_itself(data_dir: Path, start_user):
    with (data_dir / "guard.lock").open("w") as no_guard:
        fcntl.flock(no_guard, fcntl.LOCK_EX)
        user = start_user(data_dir)
        ready(user)
        process = postmaster(data_dir)

        code = leave(user)

    assert code == 0
    assert ends(process)


def test_a_killed_user_does_not_count(data_dir: Path, start_user):
    killed, last = start_user(data_dir), start_user(data_dir, "leave")
    ready(killed)
    ready(last)
    process = postmaster(data_dir)

    killed.kill()
    killed.wait()
    served = runs(process)
    leave(last)

    assert served
    assert ends(process)


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_the_guard_stops_the_server_when_its_last_user_is_killed(data_dir: Path, start_user, signal_number: int):
    user = start_user(data_dir)
    ready(user)
    process = postmaster(data_dir)

    user.send_signal(signal_number)
    user.wait()

    assert ends(process)


def test_the_guard_stops_the_server_of_a_starter_that_was_killed_at_it(data_dir: Path, start_user):
    user = start_user(data_dir, "die")

    code = user.wait()
    log = (data_dir / "pg" / "log").read_text()

    assert code == -signal.SIGKILL
    assert "database system is ready" in log.rpartition("starting PostgreSQL")[2]
    assert gone(data_dir / "pg" / "postmaster.pid")


def test_the_server_has_a_guard_again_after_a_restart(data_dir: Path, start_user):
    with EmbeddedServer(data_dir, options=FAST):
        pass
    user = start_user(data_dir)
    ready(user)
    process = postmaster(data_dir)

    user.kill()
    user.wait()

    assert ends(process)


def test_a_forked_child_does_not_count_for_its_dead_parent(data_dir: Path, start_user):
    user = start_user(data_dir, "fork")
    child = ready(user)
    process = postmaster(data_dir)

    user.kill()
    user.wait()

    assert ends(process)
    assert runs(child)
    os.kill(child, signal.SIGKILL)


def test_a_child_that_takes_the_server_itself_outlives_its_parents_use(data_dir: Path):
    server = EmbeddedServer(data_dir, options=FAST).acquire()
    reading, writing = os.pipe()
    go_reading, go_writing = os.pipe()
    process = postmaster(data_dir)

    child = os.fork()
    if child == 0:
        server.acquire()
        os.write(writing, b"taken")
        os.read(go_reading, 1)
        server.release()
        os._exit(0)
    os.read(reading, 5)
    server.release()
    served = runs(process)
    os.write(go_writing, b"!")
    _, status = os.waitpid(child, 0)
    for descriptor in (reading, writing, go_reading, go_writing):
        os.close(descriptor)

    assert served
    assert status == 0
    assert ends(process)
