"""How a command ends that could not look at migrations."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.core.management.base import CommandError
from django.db.utils import OperationalError


@contextmanager
def could_not_be_done() -> Iterator[None]:
    """The block's end; what keeps it from its work is one sentence and exit code 2.

    Raises:
        CommandError: no server or database, not the right to make one, or a file that cannot be written.
    """
    try:
        yield
    except (OperationalError, psycopg.OperationalError, psycopg.errors.InsufficientPrivilege, OSError) as error:
        raise CommandError(f"It could not be done: {' '.join(str(error).split())}", returncode=2) from error
