#!/usr/bin/env python
"""The project's commands: migrate, import_claims, detect, worker, export_sdl and the others (`manage.py help`)."""

import os
import sys

from django.core.management import execute_from_command_line
from django.db import OperationalError, ProgrammingError
from psycopg.errors import UndefinedTable

from backend.core.errors import ConfigurationError


def main() -> None:
    """Carries out a command; what the installation lacks is said in a sentence, with exit code 1."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.config.settings")
    try:
        execute_from_command_line(sys.argv)
    except ConfigurationError as error:
        sys.exit(error.message)
    except ProgrammingError as error:
        if not isinstance(error.__cause__, UndefinedTable):
            raise
        sys.exit("The database lacks tables. Make them with: python manage.py migrate")
    except OperationalError as error:
        # What the server itself answered has a code; without one there was no server to answer.
        if getattr(error.__cause__, "sqlstate", None) is not None:
            raise
        reason = " ".join(str(error).split())
        sys.exit(f"The database cannot be reached (DRIFTGRAPH_DATABASE_URL): {reason}")


if __name__ == "__main__":
    main()
