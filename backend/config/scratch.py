"""The throw-away databases in which migrations are rehearsed (`settings.MIGRATION_SAFETY`)."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from psycopg.conninfo import make_conninfo

from backend.db.bootstrap import BootstrapRefused, create_database
from backend.migration_safety.scratch import Scratch, address, temporary_database

FIRST_ORGANIZATION = "00000000-0000-0000-0000-000000000001"


@contextmanager
def scratch_database() -> Iterator[Scratch]:
    """An empty database on the configured server with the rights that the product's roles have; gone afterwards.

    Raises:
        CommandError: the role owner may not make one.
    """
    owner, app = address("owner"), address("default")

    def create(name: str) -> None:
        try:
            create_database(owner, name)
        except BootstrapRefused as error:
            raise CommandError(error.message, returncode=2) from error

    with temporary_database(owner, create=create) as name:
        yield Scratch(
            owner=make_conninfo(owner, dbname=name),
            app=make_conninfo(app, dbname=name),
            begin=(f"SELECT set_config('app.organization_id', '{FIRST_ORGANIZATION}', true)",),
        )
