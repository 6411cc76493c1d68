"""kill -9 of migrate_safely at random moments, each followed by a run that nobody disturbs."""

import os
import random
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from backend.migration_safety.applying import INVALID_INDEXES
from backend.migration_safety.rehearsal import catalog
from benchmarks.next_release.release import APP, LAST, Migrator

_LEAST, _MOST = 0.05, 0.95  # shares of the time that an undisturbed run takes
_APPLIED = "SELECT count(*) FROM django_migrations WHERE app = %s"


@dataclass(frozen=True, slots=True)
class Killed:
    """Where a run was when it was killed, and what the next one made of it."""

    target: str
    share: float  # of an undisturbed run
    applied: int  # migrations, when it was killed
    invalid: tuple[str, ...]  # indexes
    differences: tuple[str, ...]  # between the catalog after the next run and that of undisturbed ones


def killed(migrations: Migrator, connection: "Connection[Any]", before: str, *, times: int, seed: int) -> list[Killed]:
    """What came of so many kills, forward and backward in turn; the database ends as it was.

    Raises:
        MigrationFailed: a run after a kill did not come to its end.
    """
    chance, found = random.Random(seed), []  # noqa: S311 - the same moments for a seed; nothing secret
    durations, whole = {}, {before: catalog.fingerprint(connection)}
    for target in (LAST, before):
        begin = time.monotonic()
        migrations.to(target)
        durations[target] = time.monotonic() - begin
        whole.setdefault(target, catalog.fingerprint(connection))
    for number in range(times):
        target, origin = ((LAST, before), (before, LAST))[number % 2]
        share = chance.uniform(_LEAST, _MOST)
        while not _kill(migrations, target, share * durations[target]):
            migrations.to(origin)  # it was faster than the first one
            share /= 2
        invalid = tuple(name for (name,) in connection.execute(INVALID_INDEXES).fetchall())
        applied = connection.execute(_APPLIED, [APP]).fetchall()[0][0]
        migrations.to(target)
        differences = catalog.differences(whole[target], catalog.fingerprint(connection))
        found.append(Killed(target, share, applied, invalid, tuple(differences)))
    return found


def _kill(migrations: Migrator, target: str, seconds: float) -> bool:
    """Whether it was killed before its end."""
    process = migrations.begin(target)
    time.sleep(seconds)
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    return migrations.ended() == -signal.SIGKILL
