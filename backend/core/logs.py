"""What log lines leave out."""

import logging


def without_expected_traceback(record: logging.LogRecord) -> bool:
    """True, for every record is logged; one below ERROR tells of a refusal, whose traceback leads to no bug."""
    if record.levelno < logging.ERROR:
        record.exc_info = None
    return True
