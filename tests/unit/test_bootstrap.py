"""The roles and rights that a server gets, tried as those roles."""

import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from backend.db.bootstrap import BootstrapRefused, create_database, create_roles
from backend.db.embedded import EmbeddedServer

POWERS = "rolcanlogin, rolsuper, rolbypassrls, rolcreatedb, rolcreaterole"


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    folder = Path(tempfile.mkdtemp(prefix="bootstrap-"))
    folder.chmod(0o711)
    with EmbeddedServer(folder / "data", options={"fsync": "off"}) as running:
        superuser = running.url("postgres", "postgres")
        create_roles(superuser)
        create_database(superuser, "first")
        make_objects(running, "first")
        yield running
    shutil.rmtree(folder)


def make_objects(server: EmbeddedServer, database: str) -> None:
    with psycopg.connect(server.url("owner", database)) as connection:
        connection.execute("CREATE TABLE thing (id serial PRIMARY KEY, name text)")
        connection.execute("ALTER TABLE thing ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
        connection.execute("CREATE POLICY only_a ON thing USING (name = 'a')")
        connection.execute("INSERT INTO thing (name) VALUES ('a'), ('b')")
        connection.execute("CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'")


def run(server: EmbeddedServer, role: str, statement: str, database: str = "first"):
    with psycopg.connect(server.url(role, database)) as connection:
        cursor = connection.execute(statement)
        rows = cursor.fetchall() if cursor.description else []
        connection.rollback()
        return rows


def test_the_roles_have_exactly_their_powers(server: EmbeddedServer):
    query = f"SELECT rolname, {POWERS} FROM pg_roles WHERE rolname IN ('owner', 'app', 'auditor') ORDER BY 1"

    rows = run(server, "postgres", query)

    assert rows == [
        ("app", True, False, False, False, False),
        ("auditor", True, False, False, False, False),
        ("owner", True, False, True, True, False),
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM thing",
        "INSERT INTO thing (name) VALUES ('a')",
        "UPDATE thing SET name = 'a'",
        "DELETE FROM thing",
        "SELECT nextval('thing_id_seq')",
        "SELECT last_value FROM thing_id_seq",
        "SELECT one()",
    ],
)
def test_app_may_work_with_what_owner_made_and_auditor_may_not(server: EmbeddedServer, statement: str):
    run(server, "app", statement)

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run(server, "auditor", statement)


@pytest.mark.parametrize("role", ["app", "auditor"])
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "TRUNCATE thing",
        "ALTER TABLE thing DISABLE ROW LEVEL SECURITY",
        "DROP TABLE thing",
        "SELECT setval('thing_id_seq', 1)",
        "SET ROLE owner",
    ],
)
def test_app_and_auditor_may_not_change_the_structure(server: EmbeddedServer, role: str, statement: str):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run(server, role, statement)


def test_owner_bypasses_row_level_security_and_app_does_not(server: EmbeddedServer):
    query = "SELECT name FROM thing ORDER BY name"

    assert run(server, "owner", query) == [("a",), ("b",)]
    assert run(server, "app", query) == [("a",)]


def test_owner_makes_databases_and_auditor_connects(server: EmbeddedServer):
    assert run(server, "auditor", "SELECT current_user") == [("auditor",)]
    with psycopg.connect(server.url("owner", "first"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE by_owner")
        connection.execute("DROP DATABASE by_owner")


def test_a_copy_of_a_template_has_its_content_and_the_rights(server: EmbeddedServer):
    create_database(server.url("postgres", "postgres"), "second", template="first")

    names = run(server, "app", "SELECT name FROM thing", "second")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run(server, "app", "CREATE TEMPORARY TABLE mine (id int)", "second")

    assert names == [("a",)]


def test_eight_at_once_and_again_are_as_one(server: EmbeddedServer):
    superuser = server.url("postgres", "postgres")
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("ALTER ROLE app CREATEDB")

    def bootstrap(number: int) -> None:
        # Half of them connect elsewhere, where the lock of the others is not seen.
        create_roles(server.url("postgres", "postgres" if number % 2 else "first"))
        create_database(superuser, "third")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(bootstrap, range(8)))

    assert run(server, "app", "SELECT rolcreatedb FROM pg_roles WHERE rolname = 'app'", "third") == [(False,)]
    assert run(server, "app", "SELECT pg_encoding_to_char(encoding) FROM pg_database LIMIT 1", "third") == [("UTF8",)]


def test_a_server_set_up_without_an_encoding_gets_a_database_with_one(server: EmbeddedServer):
    superuser = server.url("postgres", "ascii")
    with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as connection:
        connection.execute(
            "CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C'"
        )

    create_roles(superuser)
    create_database(superuser, "from_ascii")

    assert run(server, "app", "SHOW server_encoding", "from_ascii") == [("UTF8",)]


def test_a_change_of_the_same_role_elsewhere_is_waited_for(server: EmbeddedServer):
    with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as connection:
        connection.execute("ALTER ROLE app CREATEDB")

    with psycopg.connect(server.url("postgres", "first")) as other, ThreadPoolExecutor(1) as pool:
        other.execute("ALTER ROLE app CREATEROLE")
        bootstrap = pool.submit(create_roles, server.url("postgres", "postgres"))
        while not run(server, "postgres", "SELECT 1 FROM pg_locks WHERE NOT granted"):
            assert not bootstrap.done()
        other.commit()
        bootstrap.result()

    powers = run(server, "postgres", f"SELECT {POWERS} FROM pg_roles WHERE rolname = 'app'")
    assert powers == [(True, False, False, False, False)]


def test_roles_that_are_right_need_no_superuser(server: EmbeddedServer):
    create_roles(server.url("app", "first"))


def test_a_lost_power_is_given_back_only_by_a_superuser(server: EmbeddedServer):
    with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as connection:
        connection.execute("ALTER ROLE owner NOBYPASSRLS")

    with pytest.raises(BootstrapRefused, match="only a superuser can grant") as refused:
        create_roles(server.url("app", "first"))
    create_roles(server.url("postgres", "postgres"))

    assert '"app"' in refused.value.message
    assert "\n" not in refused.value.message
    assert run(server, "owner", "SELECT count(*) FROM thing") == [(2,)]


def test_only_a_superuser_makes_the_database(server: EmbeddedServer):
    with pytest.raises(BootstrapRefused):
        create_database(server.url("app", "first"), "fourth")


def test_passwords_are_one_by_role_and_stored_as_hashes(server: EmbeddedServer):
    superuser = server.url("postgres", "postgres")

    create_roles(superuser, password={"owner": "first secret", "app": "second secret"})

    stored = dict(run(server, "postgres", "SELECT rolname, rolpassword FROM pg_authid"))
    assert stored["owner"].startswith("SCRAM-SHA-256$")
    assert stored["app"].startswith("SCRAM-SHA-256$")
    assert stored["owner"] != stored["app"]
    assert stored["auditor"] is None
