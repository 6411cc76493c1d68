"""The tree of failures that a caller can act on; the docstring of each class is its message. Bugs are not in it.

A message may hold the placeholders of its class; what is put into them is a name, a number or a limit, never a value
that a caller sent: messages reach clients and logs.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar


class AppError(Exception):
    """The request could not be carried out."""

    code: ClassVar[str] = "INTERNAL"
    retryable: ClassVar[bool] = False
    place: ClassVar[tuple[str, ...]] = ()
    """Where in the input it is at fault, for an error that has but one place."""

    def __init__(self, message: str | None = None, *, path: tuple[str, ...] = (), **details: Any) -> None:
        """Takes the message from the docstring unless one is given; `path` leads into the input that is at fault."""
        template = message if message is not None else inspect.cleandoc(type(self).__doc__ or "")
        self.message = template.format(**details) if details else template
        self.path = path or self.place
        self.details = details
        super().__init__(self.message)


@contextmanager
def within(*names: str) -> Iterator[None]:
    """A part of the input: the paths of errors that are raised inside begin there."""
    try:
        yield
    except AppError as error:
        error.path = (*names, *error.path)
        raise


class BadUserInput(AppError):
    """The input is not valid."""

    code = "BAD_USER_INPUT"


class InvalidCursor(BadUserInput):
    """The cursor does not belong to this list and order. Start again without it."""

    code = "INVALID_CURSOR"


class LimitExceeded(BadUserInput):
    """{what} is {actual}, more than {limit} ({setting})."""


class AnswerTooLarge(LimitExceeded):
    """The answer has more than {limit} bytes (DRIFTGRAPH_MAX_ANSWER_BYTES). Ask for fewer rows or fields."""


class Unauthenticated(AppError):
    """Sign in, or send an API token as "Authorization: Bearer dg_..."."""

    code = "UNAUTHENTICATED"


class Forbidden(AppError):
    """Your role or token scope does not allow this."""

    code = "FORBIDDEN"


class NotFound(AppError):
    """There is no such object in your organization."""

    code = "NOT_FOUND"


class Conflict(AppError):
    """The object is in a state that does not allow this."""

    code = "CONFLICT"


class IdempotencyConflict(Conflict):
    """The idempotency key was used before with another request."""

    code = "IDEMPOTENCY_CONFLICT"


class DeadlineExceeded(AppError):
    """The request took longer than its deadline. Ask for less, or try again."""

    code = "TIMEOUT"
    retryable = True


class Unavailable(AppError):
    """The database cannot be reached or is busy. Try again."""

    code = "UNAVAILABLE"
    retryable = True


class LockedOut(Unavailable):
    """Another transaction holds what this one needs. Try again."""


class OrganizationBusy(Unavailable):
    """Your organization reads with as many connections as it may at a time: {count} ({setting}). Try again."""

    code = "ORGANIZATION_BUSY"


class ReadOnly(AppError):
    """The server takes no writes right now. Try again later."""

    code = "READ_ONLY"
    retryable = True


class ConfigurationError(AppError):
    """A setting is missing or not valid."""
