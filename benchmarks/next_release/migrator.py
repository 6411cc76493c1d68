"""Runs migrate_safely, in a process of its own, for each line of arguments that it reads: says its number, then how
it ended. Django is set up once, so a run takes as long as its migrations."""

import os
import sys
import traceback

import django
from django.core.management import call_command


def main() -> None:
    """Until there is no further line."""
    django.setup()
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            _migrate(line.split())
        print(process, flush=True)
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _migrate(arguments: list[str]) -> None:
    code = 1
    try:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        call_command("migrate_safely", *arguments)
        code = 0
    except Exception:  # noqa: BLE001 - a forked process ends here, whatever it was
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
