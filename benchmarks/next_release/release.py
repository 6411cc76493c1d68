"""The next release as a folder: a copy of this checkout with columns, API fields and migrations that are made up."""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.place import Place
from benchmarks.serving import REPOSITORY, environment_of
from benchmarks.traffic import RUN

APP = "agents"
_HERE = Path(__file__).parent
_MIGRATOR = _HERE / "migrator.py"
MIGRATIONS = tuple(sorted(path.stem for path in (_HERE / "migrations").glob("*.py")))
LAST = MIGRATIONS[-1]
EXPANDED = "9003_info_total"  # from here on the new code works
SELECTION = f"{RUN} reviewNote priority infoTotal"
_IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc")

_COLUMNS = """    review_note = models.TextField(null=True)
    priority = models.IntegerField(default=0, db_default=0)
    info_total = models.BigIntegerField(default=0)
"""
_CONSTRAINT = """            models.UniqueConstraint(
                fields=["organization", "agent", "branch", "commit"], name="agent_run_commit_uq"
            ),
"""
_FIELDS = """    review_note: str | None = column("Note of a reviewer; null without one.", "review_note")
    priority: int = column("How soon it is to be looked at.", "priority")
    info_total: int | None = column("Findings of severity INFO.", "info_total")
"""
# file, what stands before the text that is put in, the text
_INSERTED = (
    ("backend/agents/models.py", r'class AgentRun\(TenantModel\):\n    """[^"]*"""\n\n', _COLUMNS),
    ("backend/agents/models.py", r'db_table = "agent_run"\n        constraints = \[\n', _CONSTRAINT),
    ("schema/types/agents.py", r"class AgentRun\(Node\):\n", _FIELDS),
)


class NotMade(Exception):
    """The next release does not fit this checkout any more."""


class MigrationFailed(Exception):
    """migrate_safely ended with an error."""


@dataclass(frozen=True, slots=True)
class Release:
    """The folder of the code, and the last migration of the release before it."""

    folder: Path
    before: str


class Migrator:
    """Leads a database to the migrations of a release, with its migrate_safely."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self._process, self._log = process, log

    def to(self, target: str) -> None:
        """Returns when the database is at a migration, forward or back.

        Raises:
            MigrationFailed: it is not.
        """
        self.begin(target)
        if self.ended() != 0:
            raise MigrationFailed(self._log.read_text(encoding="utf-8")[-3000:])

    def begin(self, target: str) -> int:
        """The process that leads it there."""
        return self._told(f"{APP} {target}")

    def ended(self) -> int:
        """The exit code of that process, or the negative number of the signal that killed it, once it has ended."""
        return self._told("")

    def _told(self, line: str) -> int:
        if self._process.stdin is None or self._process.stdout is None:
            raise TypeError("the process of a Migrator is told what to do by pipes")
        if line:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        said = self._process.stdout.readline()
        if not said:
            raise MigrationFailed(self._log.read_text(encoding="utf-8")[-3000:])
        return int(said)


@contextmanager
def migrator(release: Release, place: Place) -> Iterator[Migrator]:
    """What migrates the database of a place, until the block ends."""
    addresses = {**place.variables, "DRIFTGRAPH_OWNER_DATABASE_URL": place.url("owner")}
    environment = environment_of(release.folder, {**addresses, "PYTHONPATH": str(release.folder)})
    log = release.folder / "migrator.log"
    with (
        log.open("ab") as said,
        subprocess.Popen(
            [sys.executable, _MIGRATOR],
            cwd=release.folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        ) as process,
    ):
        yield Migrator(process, log)


@contextmanager
def next_release() -> Iterator[Release]:
    """The next release until the block ends.

    Raises:
        NotMade: a place in the code where something is put in was not found exactly once.
    """
    with tempfile.TemporaryDirectory(prefix="driftgraph-next-") as name:
        folder = Path(name)
        for part in ("backend", "schema"):
            shutil.copytree(REPOSITORY / part, folder / part, ignore=_IGNORED)
        shutil.copy(REPOSITORY / "manage.py", folder)
        for path, place, text in _INSERTED:
            _insert(folder / path, place, text)
        there = folder / "backend" / APP / "migrations"
        before = max(path.stem for path in there.glob("[0-9]*.py"))
        for migration in MIGRATIONS:
            source = (_HERE / "migrations" / f"{migration}.py").read_text(encoding="utf-8")
            (there / f"{migration}.py").write_text(source.replace("BEFORE", before), encoding="utf-8")
        yield Release(folder, before)


def _insert(file: Path, place: str, text: str) -> None:
    source = file.read_text(encoding="utf-8")
    changed, times = re.subn(place, lambda found: found[0] + text, source)
    if times != 1:
        raise NotMade(f"{file.name} has {times} places like {place!r}")
    file.write_text(changed, encoding="utf-8")
