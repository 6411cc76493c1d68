"""Migrations in files that an app of this process has instead of its own."""

import importlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from django.conf import settings

_FILE = """from django.db import migrations


class Migration(migrations.Migration):
    {body}
"""


def migrations_of_sessions(monkeypatch: pytest.MonkeyPatch, folder: Path, bodies: Mapping[str, str]) -> Path:
    """The folder of the migrations of django.contrib.sessions, of which nobody else's depend, until the test ends;
    `bodies` are those of their classes by name."""
    package = folder / f"sessions_{folder.name}"
    package.mkdir()
    (package / "__init__.py").touch()
    for name, body in bodies.items():
        write_migration(package, name, body)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(settings, "MIGRATION_MODULES", {"sessions": package.name})
    return package


def write_migration(package: Path, name: str, body: str) -> None:
    """Returns when the migration is in its file and can be imported."""
    (package / f"{name}.py").write_text(_FILE.format(body=body))
    importlib.invalidate_caches()
