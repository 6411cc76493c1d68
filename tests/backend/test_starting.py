"""What a start does and leaves undone: modules, processes and statements are counted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from backend.core.migrated import unapplied_migrations

ROOT = Path(__file__).resolve().parents[2]
UNREACHABLE = "postgresql://app@127.0.0.1:1/driftgraph"
STARTING = """
import sys, django
from os import environ
environ["DJANGO_SETTINGS_MODULE"] = "backend.config.settings"
started = []
processes = {"subprocess.Popen", "os.posix_spawn", "os.system"}
sys.addaudithook(lambda event, arguments: started.append(str(arguments[0])) if event in processes else None)
django.setup()
import MODULE
print(*started, *sorted({"numpy", "scipy", "backend.alerts.tasks"} & sys.modules.keys()))
"""


@pytest.mark.parametrize("module", ["schema.http.asgi", "schema.management.commands.serve"])
def test_server_and_serve_look_for_no_library_and_load_nothing_of_what_jobs_need(module: str) -> None:
    counted = subprocess.run(
        [sys.executable, "-c", STARTING.replace("MODULE", module)],
        cwd=ROOT,
        env={**os.environ, "DRIFTGRAPH_DATABASE_URL": UNREACHABLE},
        capture_output=True,
        text=True,
        check=True,
    )

    # croniter, which the queue imports, asks what the interpreter was built for.
    assert counted.stdout.split() == ["file"]


def test_the_migrations_that_lack_are_those_of_djangos_own_plan(
    database: str, django_assert_num_queries: pytest.FixtureRequest
) -> None:
    with django_assert_num_queries(2):
        assert unapplied_migrations() == set()

    [last] = MigrationLoader(None).graph.leaf_nodes("alerts")
    with transaction.atomic():
        MigrationRecorder(connection).record_unapplied(*last)
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        lacking = unapplied_migrations()
        transaction.set_rollback(True)

    assert lacking == {(migration.app_label, migration.name) for migration, _ in plan}
    assert lacking == {last}
