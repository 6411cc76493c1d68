"""How a line of the log is written: without what a client sent, and without what an exception says of values."""

import logging
import re
import traceback
from http import HTTPStatus
from types import TracebackType
from typing import TypeAlias

_PHRASES = frozenset(status.phrase for status in HTTPStatus)
_PLACE = re.compile(r"%(?:\(\w+\))?[dirs]")
_Raised: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)  # what logging hands over


class WithoutValues(logging.Formatter):
    """Leaves out what may hold patient data: an address that was asked for, a value that a database refused."""

    def format(self, record: logging.LogRecord) -> str:
        """The line. Django's own messages name paths, hosts and parameters: only the text around those stays."""
        is_whole = record.name.startswith("django.security.") and not record.args  # the text of an exception
        if not record.name.startswith("django") or not (record.args or is_whole):
            return super().format(record)
        given = record.args if isinstance(record.args, tuple) else ()
        reasons = [str(one) for one in given if isinstance(one, str) and one in _PHRASES]
        told = ", ".join(reasons) or ("(message left out)" if is_whole else _PLACE.sub("...", str(record.msg)))
        bare = logging.makeLogRecord({**record.__dict__, "msg": told, "args": ()})
        return super().format(bare)

    def formatException(self, ei: _Raised) -> str:  # noqa: N802 - the name that logging calls
        """Where it was raised and of which class it is: texts of exceptions quote rows, cells and variables."""
        lines: list[str] = []
        error: BaseException | None = ei[1]
        while error is not None:
            lines = ["Traceback:", *_frames(error), type(error).__name__, *lines]
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\n".join(lines)


def _frames(error: BaseException) -> list[str]:
    return [frame.rstrip("\n") for frame in traceback.format_tb(error.__traceback__)]


def without_expected_traceback(record: logging.LogRecord) -> bool:
    """True, for every record is logged; one below ERROR tells of a refusal, whose traceback leads to no bug."""
    if record.levelno < logging.ERROR:
        record.exc_info = None
    return True
