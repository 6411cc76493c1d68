"""Whether the tables are those of the code."""

from pathlib import Path
from pkgutil import iter_modules

from django.apps import apps
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder


def unapplied_migrations() -> set[tuple[str, str]]:
    """Application and name of each migration that the database has no record of.

    The files are counted, not imported: Django's own plan takes as long as the rest of a start.

    SQL: 2.
    """
    there = {
        (config.label, module.name)
        for config in apps.get_app_configs()
        for module in iter_modules([str(Path(config.path) / "migrations")])
        if module.name[0] not in "_~"
    }
    return there - MigrationRecorder(connection).applied_migrations().keys()
