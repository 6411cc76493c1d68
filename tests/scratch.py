"""Throw-away clones of the migrated database, in which the safety of the product may be broken."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from backend.db.bootstrap import create_database
from tests import server

ORGANIZATION = (
    "INSERT INTO organization (id, name, timezone, phi_policy, retention_days, fdr_q, severity_lift_cents)"
    " VALUES (%s, %s, 'UTC', 'REJECT', 1, 0.5, 1)"
)
"""Takes an id and a name."""


@contextmanager
def scratch_database() -> Iterator[str]:
    """The name of a migrated database that nobody else uses; gone afterwards."""
    superuser, name = server.url("postgres", "postgres"), server.database_name(f"scratch_{uuid.uuid4().hex[:8]}")
    create_database(superuser, name, template=server.database_name("template"))
    try:
        yield name
    finally:
        with psycopg.connect(superuser, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def execute(database: str, *statements: str) -> None:
    """Carries out statements as the superuser, whom no policy holds."""
    with psycopg.connect(server.url("postgres", database), autocommit=True) as superuser:
        for statement in statements:
            superuser.execute(statement)  # type: ignore[call-overload]  # texts of tests


@contextmanager
def database_with_other_forms() -> Iterator[str]:
    """A scratch database in which numbers and moments have other texts than those that answers are made of."""
    with scratch_database() as name:
        for setting in ("extra_float_digits = -3", "timezone = 'Asia/Tokyo'", "datestyle = 'German'"):
            execute(name, f"ALTER DATABASE {name} SET {setting}")
        yield name
