"""Whether the tables are those of the code."""

from functools import cache
from pathlib import Path
from pkgutil import iter_modules

from django.apps import apps
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder


@cache
def known_migrations() -> frozenset[tuple[str, str]]:
    """Application and name of each migration of this release.

    The files are counted, not imported: Django's own plan takes as long as the rest of a start.
    """
    return frozenset(
        (config.label, module.name)
        for config in apps.get_app_configs()
        for module in iter_modules([str(Path(config.path) / "migrations")])
        if module.name[0] not in "_~"
    )


def unapplied_migrations() -> set[tuple[str, str]]:
    """Application and name of each migration that the database has no record of.

    SQL: 2.
    """
    return set(known_migrations() - MigrationRecorder(connection).applied_migrations().keys())
