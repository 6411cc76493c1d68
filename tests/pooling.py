"""PgBouncer in transaction mode before the database of the tests."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import psycopg
import pytest
from django.conf import settings

from benchmarks.serving import free_port
from tests import server
from tests.environment import ROLE_PASSWORD

_PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
_START_SECONDS = 60
NEEDS_PGBOUNCER = pytest.mark.skipif(
    _PGBOUNCER is None and not os.environ.get("CI"), reason="no PgBouncer: apt-get install pgbouncer"
)


@contextmanager
def pooled(database: str, *, connections: int = 1) -> Iterator[dict[str, str]]:
    """The settings of a server that knows a database by a pooler alone, which has few connections to it."""
    straight = urlsplit(server.url("app", database))
    options = dict(parse_qsl(straight.query))
    host, server_port = options.get("host") or straight.hostname or "localhost", options.get("port") or straight.port
    port, folder = free_port(), settings.ENVIRONMENT.data_dir
    users, configuration = folder / f"pgbouncer-{port}.users", folder / f"pgbouncer-{port}.ini"
    users.write_text(f'"app" "{ROLE_PASSWORD}"\n')
    configuration.write_text(
        f"[databases]\n{database} = host={host} port={server_port or 5432}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\n"
        f"auth_file = {users}\npool_mode = transaction\ndefault_pool_size = {connections}\nserver_reset_query =\n"
    )
    # It refuses to run as root; the folder of a socket is open to its owner alone.
    user = ["--user", Path(host).owner() if Path(host).is_dir() else "nobody"] if os.geteuid() == 0 else []
    with subprocess.Popen([str(_PGBOUNCER), *user, str(configuration)]) as process:
        try:
            url = f"postgresql://app@127.0.0.1:{port}/{database}"
            _wait(process, url)
            yield {"DRIFTGRAPH_DATABASE_URL": url, "DRIFTGRAPH_PREPARED_STATEMENTS": "false"}
        finally:
            process.terminate()


def _wait(process: "subprocess.Popen[bytes]", url: str) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(psycopg.OperationalError):
            psycopg.connect(url).close()
            return
        time.sleep(0.05)
    raise AssertionError(f"PgBouncer did not become ready within {_START_SECONDS} s")
