"""What a client sees of an error, and what the log says: one mapper, one taxonomy. Nothing internal leaves."""

import logging
from collections.abc import Sequence
from enum import Enum
from typing import Any

import strawberry
from django.conf import settings
from graphql import GraphQLError

from backend.core.errors import AppError, LimitExceeded
from schema.described import described
from schema.reasons import reason

log = logging.getLogger("driftgraph.graphql")
INTERNAL = "INTERNAL"
"""The code of a bug."""
_MASKED = "Something went wrong on the server. The request id finds it in the log."


class TooManyErrors(LimitExceeded):
    """There are {actual} errors, of which {limit} are told (DRIFTGRAPH_MAX_ERRORS)."""


class ErrorCode(Enum):
    """The codes of userErrors."""

    BAD_USER_INPUT = "BAD_USER_INPUT"
    CONFLICT = "CONFLICT"
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    INVALID_CURSOR = "INVALID_CURSOR"
    NOT_FOUND = "NOT_FOUND"


described(
    ErrorCode,
    "Why a mutation did not do what it was asked.",
    {
        "BAD_USER_INPUT": "The input is not valid; the path says where.",
        "CONFLICT": "The object is in a state that does not allow it.",
        "IDEMPOTENCY_CONFLICT": "The idempotency key was used before with another request.",
        "INVALID_CURSOR": "A cursor is of another list or order.",
        "NOT_FOUND": "The organization has no such object.",
    },
)


@strawberry.type(description="Something about the input that must be changed before the mutation can be done.")
class UserError:
    code: ErrorCode = strawberry.field(description="What is wrong, for programs.")
    message: str = strawberry.field(description="What is wrong, for people; never repeats a value.")
    path: list[str] = strawberry.field(description="Where in the input, outermost name first; empty: the whole.")


def user_error(error: AppError) -> UserError | None:
    """The error as part of a payload; None if it is one that no change of the input mends."""
    if error.code not in ErrorCode.__members__:
        return None
    return UserError(code=ErrorCode[error.code], message=error.message, path=[_camel(part) for part in error.path])


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def present(error: GraphQLError, request_id: str) -> dict[str, Any]:
    """An error as it stands in a response: message, path, locations, and extensions with code and request id.

    A bug is logged once with its traceback, and masked; its text could hold a value.
    """
    original, code = _original(error), code_of(error)
    shown = error.formatted
    extensions = {"requestId": request_id, "retryable": False}
    if isinstance(original, AppError):
        message = original.message
        extensions["retryable"] = original.retryable
    elif code != INTERNAL:
        message = reason(error.message)
    else:
        cause = original or error
        log.error("request %s failed: %s", request_id, type(cause).__name__, exc_info=_without_values(cause))
        message = _MASKED
    result: dict[str, Any] = {"message": message}
    for part in ("locations", "path"):
        if shown.get(part):
            result[part] = shown[part]
    result["extensions"] = {"code": code, **extensions}
    return result


def presented(errors: Sequence[GraphQLError], request_id: str) -> list[dict[str, Any]]:
    """Errors as they stand in a response: of too many the bugs first, and a last one that says how many there are."""
    limit = settings.ENVIRONMENT.max_errors
    if len(errors) <= limit:
        return [present(error, request_id) for error in errors]
    told = sorted(errors, key=lambda error: code_of(error) != INTERNAL)[:limit]
    last = TooManyErrors(actual=len(errors), limit=limit)
    return [present(error, request_id) for error in (*told, GraphQLError(last.message, original_error=last))]


def code_of(error: GraphQLError) -> str:
    """The code of an error, one of docs/errors.md; that of a bug is INTERNAL."""
    original = _original(error)
    if isinstance(original, AppError):
        return original.code
    return _request_code(error) if _is_of_request(error, original) else INTERNAL


def _original(error: GraphQLError) -> Exception | None:
    original = error.original_error
    while isinstance(original, GraphQLError) and original.original_error is not None:
        original = original.original_error
    return original


def _is_of_request(error: GraphQLError, original: BaseException | None) -> bool:
    """Whether graphql-core speaks of the document or its variables.

    Where it speaks of a value that a resolver gave and that does not fit its type, there is a path, and no place in the
    document but the field's own.
    """
    if original is None:
        return not error.path
    return isinstance(original, GraphQLError) and (not error.path or bool(original.nodes))


def _request_code(error: GraphQLError) -> str:
    if error.message.startswith("Syntax Error"):
        return "GRAPHQL_PARSE_FAILED"
    # Coercion of variables and literals: the path is absent and the message names the variable, not its value.
    return "BAD_USER_INPUT" if error.message.startswith("Variable ") else "GRAPHQL_VALIDATION_FAILED"


def _without_values(error: BaseException) -> tuple[type[BaseException], BaseException, Any]:
    """The traceback with an exception that has no text: database errors quote the row they failed on."""
    return type(error), Exception(type(error).__name__).with_traceback(error.__traceback__), error.__traceback__
