"""The throw-away database of a rehearsal: how the project makes one, and how Django's connections are led to it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

import psycopg
from django.conf import settings
from django.core.management.base import CommandError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.connection import ConnectionDoesNotExist
from django.utils.module_loading import import_string
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

# Entries of OPTIONS that Django keeps to itself; the others are libpq's.
_DJANGO_ONLY = frozenset({"pool", "server_side_binding", "isolation_level", "assume_role"})
_LEFT = (
    "SELECT datname FROM pg_database WHERE datname ~ '^rehearsal_[0-9]+_[0-9a-f]{12}$'"
    " AND split_part(datname, '_', 2) NOT IN (SELECT pid::text FROM pg_stat_activity)"
)


@dataclass(frozen=True, slots=True)
class Scratch:
    """An empty database, with its address for either role.

    `begin` are statements that every transaction of the server begins with; where rows belong to tenants they set the
    tenant of row 1 (see synthetic.py: the first row of every table has the key 1, for a UUID
    00000000-...-000000000001).
    """

    owner: str  # connection string of the role that migrates
    app: str  # connection string of the role that serves: row-level security binds it
    begin: tuple[str, ...] = ()


def options() -> dict[str, Any]:
    """The project's `settings.MIGRATION_SAFETY`.

    SCRATCH: dotted path of a function without arguments that gives a context manager of a `Scratch`; OWNER: alias of
    the connection that migrations use; OWNER_MISSING: what to do where there is no such connection; TENANT_COLUMN:
    the column that every key between tenant tables has; REPORT: dotted path of a function that takes a SARIF document
    to wherever results are kept and says where that is.
    """
    return {
        "SCRATCH": f"{__name__}.of_one_role",
        "OWNER": "default",
        "OWNER_MISSING": "settings.DATABASES lacks the connection that migrations use.",
        "TENANT_COLUMN": "",
        "REPORT": "",
        **getattr(settings, "MIGRATION_SAFETY", {}),
    }


def owner_connection() -> BaseDatabaseWrapper:
    """The connection that migrations use.

    Raises:
        CommandError: there is none.
    """
    try:
        return connections[options()["OWNER"]]
    except ConnectionDoesNotExist:
        raise CommandError(options()["OWNER_MISSING"], returncode=2) from None


def scratch_database() -> AbstractContextManager[Scratch]:
    """A fresh throw-away database, made as the project says."""
    make = cast("Callable[[], AbstractContextManager[Scratch]]", import_string(options()["SCRATCH"]))
    return make()


def address(alias: str) -> str:
    """The connection string of one of Django's connections."""
    found = settings.DATABASES[alias]
    given = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    extra = {key: value for key, value in found.get("OPTIONS", {}).items() if key not in _DJANGO_ONLY}
    return make_conninfo(**extra, **{key: found[name] for key, name in given.items() if found.get(name)})


@contextmanager
def temporary_database(owner: str, *, create: Callable[[str], None] | None = None) -> Iterator[str]:
    """The name of a database that exists for the length of the block; `owner` needs CREATEDB.

    What blocks that were killed have left goes first: the name says which session stays as long as the block.

    SQL: 2, 1 for each that was left, CREATE DATABASE (or what `create` does) and DROP DATABASE.
    """
    with psycopg.connect(owner, autocommit=True) as session:
        for (left,) in session.execute(_LEFT).fetchall():
            # It may be in use still, another's, or gone by now: another block takes care of it, or has.
            with suppress(psycopg.errors.ObjectInUse, psycopg.errors.InsufficientPrivilege):
                session.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(left)))
        name = f"rehearsal_{session.info.backend_pid}_{uuid4().hex[:12]}"
        if create is not None:
            create(name)
        else:
            session.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        try:
            yield name
        finally:
            session.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


@contextmanager
def of_one_role() -> Iterator[Scratch]:
    """A database beside the project's own, for a project that migrates and serves as one role."""
    owner = address(options()["OWNER"])
    with temporary_database(owner) as name:
        there = make_conninfo(owner, dbname=name)
        yield Scratch(owner=there, app=there)


def _django_settings(conninfo: str) -> dict[str, Any]:
    parts: dict[str, Any] = conninfo_to_dict(conninfo)
    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    return {name: parts.pop(key, "") for key, name in names.items()} | {"OPTIONS": parts}


@contextmanager
def redirected(scratch: Scratch) -> Iterator[BaseDatabaseWrapper]:
    """The owner's connection, with every alias of Django leading to the scratch database until the block ends.

    All of them, because a RunPython may use any: none may reach the project's own database from a rehearsal.
    """
    owner = options()["OWNER"]
    before = {alias: (connections.settings[alias], connections[alias]) for alias in connections}
    for alias, (old, _connection) in before.items():
        there = scratch.owner if alias == owner else scratch.app
        connections.settings[alias] = {**old, **_django_settings(there)}
        del connections[alias]
    try:
        yield connections[owner]
    finally:
        for alias, (old, connection) in before.items():
            connections[alias].close()
            connections.settings[alias] = old
            connections[alias] = connection
