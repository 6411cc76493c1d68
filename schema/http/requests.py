"""From an HTTP request to a GraphQL one: POST with JSON or multipart, GET with parameters. Nothing is executed."""

import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import orjson
from django.conf import settings

from backend.core.errors import BadUserInput, LimitExceeded
from schema.http.documents import persisted_hash
from schema.http.messages import Headers, HttpError, Receive, Scope, in_time, read_body
from schema.http.upload import Form, read_form
from schema.limits import refuse_costly_json

JSON = "application/json"
GRAPHQL_RESPONSE = "application/graphql-response+json"
EVENT_STREAM = "text/event-stream"
MULTIPART = "multipart/form-data"
_RANGES = 100  # media ranges that are looked at; those of a longer header would hold up others
_LONGEST_REMEMBERED = 1_000  # characters of such a header, for what it was found to want is kept with it
# Django's reader of parameters takes time that grows with the square of a header's length.
_QUALITY = re.compile(r";\s*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*(?:;|$)", re.IGNORECASE)
_CHARSET = re.compile(r";\s*charset=\"?([^\s;\"]+)", re.IGNORECASE)


@dataclass(slots=True)
class GraphQLRequest:
    """What is to be executed."""

    query: str | None
    variables: dict[str, Any] | None = None
    operation_name: str | None = None
    document_id: str | None = None
    persisted: str | None = None  # hash of the text, by the protocol of Apollo's and urql's clients
    form: Form = field(default_factory=Form)


def _bad(message: str) -> HttpError:
    return HttpError(400, "BAD_USER_INPUT", message)


def read_json(raw: bytes | str, what: str) -> Any:
    """What a JSON text says; `what` names it in errors.

    Raises:
        HttpError: 400; it is none, or holds more than the limits allow.
    """
    try:
        content = (raw if isinstance(raw, bytes) else raw.encode()).removeprefix(BOM_UTF8)
        refuse_costly_json(content)
        return orjson.loads(content)
    except LimitExceeded as error:
        raise _bad(error.message) from None
    except orjson.JSONDecodeError as error:
        if "infinity" in error.msg:
            raise _bad(f"{what} holds a number that is larger than 64 bits of floating point hold.") from None
        raise _bad(f"{what} is not valid JSON.") from None


def request_of(parameters: Any, form: Form | None = None) -> GraphQLRequest:
    """Checks the parameters of a request.

    Raises:
        HttpError: 400 with what is wrong; values are not repeated.
    """
    if isinstance(parameters, list):
        raise _bad("Batches are not supported: send one operation per request.")
    if not isinstance(parameters, dict):
        raise _bad("The request must be a JSON object.")
    query, variables = parameters.get("query"), parameters.get("variables")
    operation_name, extensions = parameters.get("operationName"), parameters.get("extensions")
    named = parameters.get("documentId")
    if variables is not None and not isinstance(variables, dict):
        raise _bad("The parameter variables must be a JSON object.")
    if operation_name is not None and not isinstance(operation_name, str):
        raise _bad("The parameter operationName must be a string.")
    if extensions is not None and not isinstance(extensions, dict):
        raise _bad("The parameter extensions must be a JSON object.")
    if named is not None and (not isinstance(named, str) or query is not None):
        raise _bad("The parameter documentId must be a string, and stand instead of query.")
    try:
        persisted = persisted_hash(extensions)
    except BadUserInput as error:
        raise _bad(error.message) from None
    if (query is not None or named is persisted is None) and (not isinstance(query, str) or not query.strip()):
        raise _bad("The parameter query must be a GraphQL document.")
    return GraphQLRequest(query, variables, operation_name or None, named, persisted, form or Form())


def _get(scope: Scope) -> GraphQLRequest:
    text = scope.get("query_string", b"").decode("latin-1")
    try:
        parameters = parse_qs(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise _bad("The parameters of the address must be UTF-8.") from None
    found: dict[str, Any] = {name: values[-1] for name, values in parameters.items()}
    for name in ("variables", "extensions"):
        if name in found:
            found[name] = read_json(found[name], f"The parameter {name}") if found[name] else None
    return request_of(found)


def asks(query_string: bytes) -> bool:
    """Whether the parameters of a GET name a document, by text, id or hash."""
    return any(name in query_string for name in (b"query=", b"documentId=", b"extensions="))


def upload_folder() -> Path:
    """Where files of requests lie while they are being taken in."""
    folder: Path = settings.ENVIRONMENT.data_dir / "uploads"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder.resolve()


async def _multipart(receive: Receive, headers: Headers) -> GraphQLRequest:
    limits = settings.ENVIRONMENT
    form = await read_form(
        receive,
        headers,
        upload_folder(),
        max_field=limits.max_body_bytes,
        max_file=limits.max_import_bytes,
    )
    try:
        operations = read_json(form.fields.get("operations", b""), "The part operations")
        places = read_json(form.fields.get("map", b"{}"), "The part map")
        if not isinstance(places, dict):
            raise _bad("The part map must be a JSON object.")
        for part, paths in places.items():
            if part not in form.files or not isinstance(paths, list):
                raise _bad("The part map names a file that was not sent.")
            for path in paths:
                _place(operations, str(path).split("."), form.files[part])
        return request_of(operations, form)
    except BaseException:
        form.remove_files()
        raise


def _place(target: Any, path: list[str], value: object) -> None:
    """Puts a file where the map says, replacing a null."""
    try:
        for step in path[:-1]:
            target = target[int(step)] if isinstance(target, list) else target[step]
        last: Any = int(path[-1]) if isinstance(target, list) else path[-1]
        if target[last] is not None:
            raise _bad("The part map points at something that is not null.")
        target[last] = value
    except (KeyError, IndexError, ValueError, TypeError):
        raise _bad("The part map points at nothing.") from None


def _refuse_coded(headers: Headers) -> None:
    """Raises HttpError, 415: the body is compressed, or JSON in another encoding than UTF-8 (RFC 8259, 8.1)."""
    if (headers.get("content-encoding").strip().lower() or "identity") != "identity":
        message = "Send the body as it is: no Content-Encoding, such as gzip, is taken."
        raise HttpError(415, "BAD_USER_INPUT", message, {"accept-encoding": "identity"})
    charset = _CHARSET.search(headers.get("content-type"))
    if charset is not None and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        raise HttpError(415, "BAD_USER_INPUT", "Send JSON as UTF-8.", {"accept": f"{JSON}; charset=utf-8"})


async def read_request(scope: Scope, receive: Receive, headers: Headers) -> GraphQLRequest:
    """The GraphQL request of an HTTP request.

    Raises:
        HttpError: 400, 405, 408, 413 or 415 with a message for people.
    """
    if scope["method"] == "GET":
        return _get(scope)
    if scope["method"] != "POST":
        raise HttpError(405, "BAD_USER_INPUT", "Use POST or GET.", {"allow": "GET, HEAD, POST"})
    _refuse_coded(headers)
    receive = in_time(receive, settings.ENVIRONMENT.body_seconds)
    if headers.media_type == MULTIPART:
        return await _multipart(receive, headers)
    if headers.media_type != JSON:
        raise HttpError(415, "BAD_USER_INPUT", f"Send {JSON} or {MULTIPART}.", {"accept": f"{JSON}, {MULTIPART}"})
    return request_of(read_json(await read_body(receive, headers, settings.ENVIRONMENT.max_body_bytes), "The body"))


def response_type(accept: str) -> str | None:
    """The media type of the answer: the one that the client prefers, None where it wants none of them.

    Of those that it likes alike, the newer one only where it is named, and events where nothing else is wanted.
    """
    return (_response_type if len(accept) > _LONGEST_REMEMBERED else _remembered)(accept)


def _response_type(accept: str) -> str | None:
    wanted = _accepted(accept) if accept.strip() else {"*/*": 1.0}
    likes = [GRAPHQL_RESPONSE, JSON] if GRAPHQL_RESPONSE in wanted else [JSON, GRAPHQL_RESPONSE]
    best = max((*likes, EVENT_STREAM), key=lambda name: _quality(name, wanted))
    return best if _quality(best, wanted) > 0 else None


_remembered = lru_cache(maxsize=64)(_response_type)


def names(accept: str, media_type: str) -> bool:
    """Whether the client says of itself that it takes a media type, not only that it takes any."""
    return _accepted(accept).get(media_type, 0) > 0


def _quality(media_type: str, wanted: Mapping[str, float]) -> float:
    """How much a client wants a media type, 0 to 1: the most specific range that it fits in says so."""
    kind = media_type.partition("/")[0]
    return next((wanted[one] for one in (media_type, f"{kind}/*", "*/*") if one in wanted), 0)


def _accepted(accept: str) -> dict[str, float]:
    """The media ranges of an Accept header with their quality; of other parameters none is told apart."""
    found = {}
    for one in accept.split(",", _RANGES)[:_RANGES]:
        quality = _QUALITY.search(one)
        found[one.partition(";")[0].strip().lower()] = float(quality[1]) if quality else 1.0
    return found
