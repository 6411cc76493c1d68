"""The three roles of a PostgreSQL server and the rights they have in a database, on the embedded server and
on any other; tables and what is granted on single tables is in the migrations.

Everything here is for a superuser, may run again at any time, and may run in several processes at once.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import psycopg
from psycopg import Connection, sql

from backend.core.errors import ConfigurationError

OWNER, APP, AUDITOR = "owner", "app", "auditor"

# What each role has beyond LOGIN; what it does not have here is taken away: row-level security rests on that.
_POWERS: Mapping[str, frozenset[str]] = MappingProxyType(
    {OWNER: frozenset({"BYPASSRLS", "CREATEDB"}), APP: frozenset(), AUDITOR: frozenset()}
)
_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "LOGIN": "rolcanlogin",
        "SUPERUSER": "rolsuper",
        "BYPASSRLS": "rolbypassrls",
        "CREATEDB": "rolcreatedb",
        "CREATEROLE": "rolcreaterole",
        "REPLICATION": "rolreplication",
    }
)
_LOCK = 0x6472_6966_7462_6F6F  # "driftboo": one bootstrap at a time in a database
_ATTEMPTS = 5  # roles belong to all databases; a bootstrap in another one is not kept out by the lock


class BootstrapRefused(ConfigurationError):
    """The user "{user}" may not set up roles and databases ({reason}). The role "owner" bypasses row-level
    security, so that migrations see all rows, and only a superuser can grant that (ALTER ROLE owner
    BYPASSRLS). Run the bootstrap as a superuser; on a managed PostgreSQL ask for these roles: owner (LOGIN
    CREATEDB BYPASSRLS), app (LOGIN), auditor (LOGIN).
    """


def create_roles(connection_url_of_superuser: str, *, password: str | Mapping[str, str] | None = None) -> None:
    """Returns when the roles owner, app and auditor exist with exactly their powers.

    Roles that are right already are left alone, so a user without powers may call this on a prepared server.
    `password` is one for all roles (a trial) or one by role (so that the server cannot become owner); it is
    hashed here and never sent in the clear.

    Raises:
        BootstrapRefused: the user lacks the right to create or change a role.
    SQL: 2 statements, and 1 for each role to be made or changed.
    """

    def create(connection: Connection) -> None:
        have = _powers_of_roles(connection)
        for role, powers in _POWERS.items():
            wanted = powers | {"LOGIN"}
            secret = password if password is None or isinstance(password, str) else password.get(role)
            if have.get(role) != wanted or secret is not None:
                connection.execute(_role_statement(connection, role, wanted, have.get(role), secret))

    _in_transaction(connection_url_of_superuser, create)


def create_database(superuser_url: str, name: str, *, template: str | None = None) -> None:
    """Returns when the database exists, is owned by owner, and gives the roles their rights on all that owner
    will make.

    app: SELECT, INSERT, UPDATE, DELETE on tables, USAGE and SELECT on sequences, EXECUTE on functions;
    auditor: nothing but to connect and to use schema public. An existing database keeps its content and gets
    the rights.

    Raises:
        BootstrapRefused: the user is not a superuser.
    SQL: 2 statements outside of a transaction, and 9 in one in the new database.
    """
    with _connect(superuser_url) as connection:
        present = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
        if present is None:
            _create_unless_present(connection, name, template)
    _in_transaction(superuser_url, lambda connection: _grant(connection, name), database=name)


def _create_unless_present(connection: Connection, name: str, template: str | None) -> None:
    # template0 is the one that takes UTF8 whatever encoding the server was set up with.
    statement = sql.SQL("CREATE DATABASE {name} OWNER {owner} TEMPLATE {template} ENCODING 'UTF8'").format(
        name=sql.Identifier(name),
        owner=sql.Identifier(OWNER),
        template=sql.Identifier(template or "template0"),
    )
    try:
        connection.execute(statement)
    except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
        return
    except psycopg.errors.InsufficientPrivilege as error:
        raise _refusal(connection, error) from error


def _grant(connection: Connection, database: str) -> None:
    names = {
        "database": sql.Identifier(database),
        "owner": sql.Identifier(OWNER),
        "app": sql.Identifier(APP),
        "auditor": sql.Identifier(AUDITOR),
    }
    defaults = "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} "
    for statement in (
        "REVOKE ALL ON DATABASE {database} FROM PUBLIC",
        "GRANT CONNECT ON DATABASE {database} TO {app}, {auditor}",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC, {app}, {auditor}",
        "GRANT USAGE ON SCHEMA public TO {app}, {auditor}",
        defaults + "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {app}",
        defaults + "GRANT USAGE, SELECT ON SEQUENCES TO {app}",
        # Functions are everybody's unless this is said for all schemas: a SECURITY DEFINER one would be the
        # auditor's.
        defaults + "REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
        defaults + "GRANT EXECUTE ON FUNCTIONS TO {app}",
    ):
        connection.execute(sql.SQL(statement).format(**names))


def _powers_of_roles(connection: Connection) -> dict[str, frozenset[str]]:
    columns = sql.SQL(", ").join(map(sql.Identifier, _COLUMNS.values()))
    query = sql.SQL("SELECT rolname, {columns} FROM pg_roles WHERE rolname = ANY(%s)").format(columns=columns)
    rows = connection.execute(query, (list(_POWERS),)).fetchall()
    return {
        role: frozenset(power for power, has in zip(_COLUMNS, values, strict=True) if has) for role, *values in rows
    }


def _role_statement(
    connection: Connection,
    role: str,
    wanted: frozenset[str],
    present: frozenset[str] | None,
    secret: str | None,
) -> sql.Composed:
    changed = wanted ^ (present or frozenset())
    words = [power if power in wanted else f"NO{power}" for power in _COLUMNS if power in changed]
    statement = sql.SQL("CREATE ROLE {} {}" if present is None else "ALTER ROLE {} {}").format(
        sql.Identifier(role), sql.SQL(" ").join(map(sql.SQL, words))
    )
    if secret is None:
        return statement
    hashed = connection.pgconn.encrypt_password(secret.encode(), role.encode(), b"scram-sha-256")
    return statement + sql.SQL(" PASSWORD {}").format(sql.Literal(hashed.decode()))


def _connect(url: str, database: str | None = None) -> Connection:
    # In a database of encoding SQL_ASCII the names of roles would come as bytes.
    if database is None:
        return psycopg.connect(url, autocommit=True, client_encoding="utf8")
    return psycopg.connect(url, autocommit=True, client_encoding="utf8", dbname=database)


def _in_transaction(url: str, work: Callable[[Connection], None], *, database: str | None = None) -> None:
    with _connect(url, database) as connection:
        for attempt in range(_ATTEMPTS):
            try:
                with connection.transaction():
                    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                    work(connection)
            except psycopg.errors.InsufficientPrivilege as error:
                raise _refusal(connection, error) from error
            except (
                psycopg.errors.DuplicateObject,
                psycopg.errors.UniqueViolation,
                psycopg.errors.InternalError_,
            ):
                # "tuple concurrently updated" is an internal error; the other bootstrap did the same work.
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                return


def _refusal(connection: Connection, error: psycopg.Error) -> BootstrapRefused:
    message = " ".join((BootstrapRefused.__doc__ or "").split())
    return BootstrapRefused(message, user=connection.info.user, reason=error.diag.message_primary)
