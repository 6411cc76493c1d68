"""Django's database settings from one address per role; starts the embedded server where no address is given."""

import logging
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from backend.config.env import Environment, check_database_address
from backend.core.errors import ConfigurationError
from backend.db.bootstrap import create_database, create_roles
from backend.db.embedded import EmbeddedServer

DATABASE = "driftgraph"
_log = logging.getLogger(__name__)


@cache
def embedded_server(data_dir: str, options: str = "") -> EmbeddedServer:
    """The running embedded server of a data directory, with roles and database in place; one per process."""
    pairs = dict(pair.split("=", 1) for pair in options.split(",") if "=" in pair)
    server = EmbeddedServer(Path(data_dir), options=pairs).acquire()
    superuser = server.url("postgres", "postgres")
    create_roles(superuser)
    create_database(superuser, DATABASE)
    return server


def from_url(name: str, url: str) -> dict[str, Any]:
    """Django's dictionary for a `postgresql://role:password@host:port/database?option=value` address.

    Raises:
        BadSetting: another scheme, no database name, or a port that is none.
    """
    check_database_address(name, url)
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", None) or unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
        "OPTIONS": options,
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
    }


def databases(environment: Environment, *, may_be_missing: bool = False) -> dict[str, dict[str, Any]]:
    """`default` (role app) always; `owner` (migrations) for the embedded server, or where its address is set.

    None where there is no embedded server to be had and `may_be_missing`, after a line that says why.

    Raises:
        BadSetting: an address is none.
        ConfigurationError: the embedded server does not work, and may not be missing.
    """
    if environment.database_url:
        found = {"default": from_url("DRIFTGRAPH_DATABASE_URL", environment.database_url)}
        if environment.owner_database_url:
            found["owner"] = from_url("DRIFTGRAPH_OWNER_DATABASE_URL", environment.owner_database_url)
        return found
    try:
        server = embedded_server(str(environment.data_dir.resolve()), environment.embedded_options)
    except ConfigurationError as error:
        if not may_be_missing:
            raise
        _log.warning("%s", error.message)
        return {}
    return {
        alias: from_url(alias, server.url(role, DATABASE)) for alias, role in (("default", "app"), ("owner", "owner"))
    }
