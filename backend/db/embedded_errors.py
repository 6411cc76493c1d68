"""What can be wrong with the embedded PostgreSQL, each with what to do about it; nothing here starts or
inspects anything.
"""

import inspect
from typing import Any

from backend.core.errors import ConfigurationError


class EmbeddedServerError(ConfigurationError):
    """The embedded PostgreSQL under {folder} does not work: {reason}"""

    def __init__(self, **details: Any) -> None:
        """Joins the lines of the docstring: the message is read on a terminal of any width."""
        super().__init__(" ".join(inspect.cleandoc(type(self).__doc__ or "").split()), **details)


class NoBinaries(EmbeddedServerError):
    """There is no PostgreSQL inside the Python environment for this platform ({platform}). Set
    DRIFTGRAPH_DATABASE_URL to a PostgreSQL server of version 15 or later.
    """


class NoServerAccount(EmbeddedServerError):
    """PostgreSQL refuses to run as root, and this machine has neither an account "postgres" nor "nobody". Run
    as an ordinary user, or set DRIFTGRAPH_DATABASE_URL.
    """


class FolderNotTraversable(EmbeddedServerError):
    """PostgreSQL refuses to run as root and runs as "{account}" instead, which may not enter {blocked}. Set
    DRIFTGRAPH_DATA_DIR to a folder that every user may enter (for example under /var/lib), keep the Python
    environment in such a folder too, or run as an ordinary user.
    """


class FolderNotUsable(EmbeddedServerError):
    """The data directory {folder} cannot be used by this user: {reason}. Set DRIFTGRAPH_DATA_DIR to a folder
    of your own, or run as the user to whom it belongs.
    """


class FolderOfAnotherUser(EmbeddedServerError):
    """The folder {folder} belongs to user {owner}, and PostgreSQL would run as user {user}. Set
    DRIFTGRAPH_DATA_DIR to another folder, or run as the user to whom it belongs.
    """


class NotADataDirectory(EmbeddedServerError):
    """The folder {folder} holds files but no PostgreSQL data directory. Move it away, or set
    DRIFTGRAPH_DATA_DIR.
    """


class OtherMajorVersion(EmbeddedServerError):
    """The data directory {folder} was made by PostgreSQL {found}; the embedded server is PostgreSQL
    {expected}, which cannot read it. Move the folder away to begin with an empty database, or dump it with
    PostgreSQL {found} (pg_dumpall) and restore it into a new one, or set DRIFTGRAPH_DATABASE_URL to a server
    of version {found}.
    """


class SocketPathTooLong(EmbeddedServerError):
    """The path of the server's socket would be longer than {limit} bytes, even in the temporary folder
    {temporary}. Set DRIFTGRAPH_DATA_DIR or TMPDIR to a shorter path.
    """


class DiskFull(EmbeddedServerError):
    """The disk of {folder} is full. Free some space (a new data directory takes 50 MB), or set
    DRIFTGRAPH_DATA_DIR to a folder on another disk.
    """


class ServerStuck(EmbeddedServerError):
    """A PostgreSQL process of {folder} neither answers nor ends after {seconds} seconds. Look at {log}; end
    the process by hand if it belongs to a crashed server.
    """


class CommandFailed(EmbeddedServerError):
    """{command} failed for {folder}: {reason}"""
