"""The PostgreSQL server of the tests: the embedded one, or that of DRIFTGRAPH_TEST_SUPERUSER_URL."""

from urllib.parse import quote, urlsplit, urlunsplit

from django.conf import settings

from backend.config.databases import embedded_server
from backend.db.bootstrap import create_roles
from backend.db.embedded import EmbeddedServer
from tests.environment import EXTERNAL, ROLE_PASSWORD, RUN


def _embedded() -> EmbeddedServer:
    return embedded_server(str(settings.ENVIRONMENT.data_dir.resolve()), settings.ENVIRONMENT.embedded_options)


def url(role: str, database: str) -> str:
    """The address of a database for a role; `postgres` is the superuser."""
    if not EXTERNAL:
        return _embedded().url(role, database)
    parts = urlsplit(EXTERNAL)
    if role == "postgres":
        return urlunsplit(parts._replace(path=f"/{quote(database)}"))
    where = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}:{ROLE_PASSWORD}@{where}", path=f"/{quote(database)}"))


def prepare() -> None:
    """The roles of the product are there; the embedded server has made them already."""
    if EXTERNAL:
        create_roles(url("postgres", "postgres"), password=ROLE_PASSWORD)


def database_name(name: str) -> str:
    """A name that no other run uses on the same server."""
    return f"test_{name}_{RUN}"


def release() -> None:
    """Lets the embedded server end with its last user; another one goes on."""
    if not EXTERNAL:
        _embedded().release()
