"""What a line of the log says of a failure: where and of which kind, never which value."""

import logging
import sys

from backend.core.log_lines import WithoutValues

SECRET = "Jane Quillfeather"
LINES = WithoutValues("%(levelname)s %(name)s %(message)s")


def _record(name: str, message: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, __file__, 1, message, args, None)


def test_a_traceback_names_classes_and_places_and_no_texts() -> None:
    record = _record("driftgraph.http", "request %s failed", "r1")
    try:
        try:
            raise ValueError(SECRET)
        except ValueError as error:
            raise KeyError(SECRET) from error
    except KeyError:
        record.exc_info = sys.exc_info()

    line = LINES.format(record)

    assert SECRET not in line.replace("raise ValueError(SECRET)", "")
    assert "request r1 failed" in line
    assert line.index("ValueError\n") < line.index("KeyError")
    assert "test_log_lines.py" in line


def test_what_django_says_of_a_request_keeps_the_reason_alone() -> None:
    assert LINES.format(_record("django.request", "%s: %s", "Not Found", f"/{SECRET}")) == (
        "ERROR django.request Not Found"
    )
    assert LINES.format(_record("django.request", "Forbidden (%s): %s", SECRET, SECRET)) == (
        "ERROR django.request Forbidden (...): ..."
    )
    assert LINES.format(_record("django.security.DisallowedHost", f"Invalid host: {SECRET}")) == (
        "ERROR django.security.DisallowedHost (message left out)"
    )
    assert LINES.format(_record("django.server", "started")) == "ERROR django.server started"


def test_other_lines_are_as_they_were_written() -> None:
    assert LINES.format(_record("driftgraph.jobs", "job %s", 3)) == "ERROR driftgraph.jobs job 3"
