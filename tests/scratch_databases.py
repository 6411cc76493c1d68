"""Migrated databases that a test may spoil."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests import server

ORGANIZATION = (
    "INSERT INTO organization (id, name, timezone, phi_policy, retention_days, fdr_q, severity_lift_cents)"
    " VALUES (%s, %s, 'UTC', 'REJECT', 1, 0.5, 1)"
)
"""Takes an id and a name."""


@contextmanager
def scratch_database() -> Iterator[str]:
    """The name of a new database; it is gone at the end. Needs the fixture `database`, which makes its template."""
    name = server.database_name(f"scratch{uuid.uuid4().hex[:8]}")
    with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {server.database_name('template')} OWNER owner")
        admin.execute(f"GRANT CONNECT ON DATABASE {name} TO app, auditor")
        try:
            yield name
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
