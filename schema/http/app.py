"""The GraphQL endpoint as an ASGI application: who asks, what is asked, one snapshot, one answer."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Any

import orjson
from django.conf import settings
from graphql import GraphQLError, OperationType
from strawberry.types import ExecutionResult

from backend.accounts.authentication import (
    TOKEN_SQL,
    actor_of_token,
    authenticate_session,
    token_key,
    token_use_is_due,
    token_use_record,
)
from backend.core.actor import Actor
from backend.core.errors import AppError, DeadlineExceeded, Unauthenticated
from backend.db.reads import Reads
from backend.db.writes import WriteThreads
from schema.build import build_schema
from schema.context import Context
from schema.errors import present
from schema.http.graphiql import page, static_file
from schema.http.messages import ClientLeft, Headers, HttpError, Receive, Response, Scope, Send
from schema.http.requests import GRAPHQL_RESPONSE, MULTIPART, GraphQLRequest, read_request, response_type
from schema.limits import operation_of, refuse_nul

log = logging.getLogger("driftgraph.http")
PATH = "/graphql"
_PREFLIGHT_HEADERS = ("x-csrftoken", "x-requested-with", "graphql-require-preflight")


class GraphQLApp:
    """Serves `/graphql` and, below it, the files of GraphiQL."""

    def __init__(self, reads: Reads, writes: WriteThreads) -> None:
        self._reads, self._writes = reads, writes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one HTTP request."""
        headers = Headers.of(scope)
        request_id = uuid.uuid4().hex
        try:
            response = await self._respond(scope, receive, headers, request_id)
        except HttpError as error:
            response = _refusal(error, request_id, headers)
        except ClientLeft:
            return
        except Exception as error:  # the last resort: a bug must not show itself
            log.exception("request %s failed: %s", request_id, type(error).__name__)
            masked = HttpError(
                500, "INTERNAL", "Something went wrong on the server. The request id finds it in the log."
            )
            response = _refusal(masked, request_id, headers)
        response.headers.setdefault("x-request-id", request_id)
        await response.send(send)

    async def _respond(self, scope: Scope, receive: Receive, headers: Headers, request_id: str) -> Response:
        path = scope["path"].rstrip("/")
        if path.startswith(f"{PATH}/static/") and scope["method"] in ("GET", "HEAD"):
            return static_file(path.removeprefix(f"{PATH}/static/"))
        if path != PATH:
            raise HttpError(404, "NOT_FOUND", "There is nothing at this address.")
        if scope["method"] == "GET" and "text/html" in headers.get("accept") and b"query=" not in scope["query_string"]:
            return page()
        media_type = response_type(headers.get("accept"))
        if media_type is None:
            raise HttpError(
                406, "BAD_USER_INPUT", f"This endpoint answers with {GRAPHQL_RESPONSE} or application/json."
            )
        actor = await self._authenticate(headers)
        if headers.media_type == MULTIPART and actor is None:
            raise HttpError(401, "UNAUTHENTICATED", "Sign in before you send files.", {"www-authenticate": "Bearer"})
        request = await read_request(scope, receive, headers)
        try:
            try:
                refuse_nul(request.variables)
                operation = operation_of(request.query, request.operation_name)
            except GraphQLError as error:
                return _answer(ExecutionResult(data=None, errors=[error]), request_id, media_type)
            except AppError as error:
                shown = GraphQLError(error.message, original_error=error)
                return _answer(ExecutionResult(data=None, errors=[shown]), request_id, media_type)
            if scope["method"] == "GET" and operation is not OperationType.QUERY:
                raise HttpError(405, "BAD_USER_INPUT", "Mutations need POST.", {"allow": "POST"})
            work = self._execute(request, actor, headers, request_id)
            result = await _while_client_waits(work, receive)
        finally:
            request.form.remove_files()
        return _answer(result, request_id, media_type)

    async def _authenticate(self, headers: Headers) -> Actor | None:
        """Who asks; None without credentials.

        Raises:
            HttpError: 401 for credentials that are not good, 403 for a request that another site may have caused.
        """
        scheme, _, secret = headers.get("authorization").partition(" ")
        try:
            if scheme.lower() == "bearer":
                return await self._by_token(secret.strip())
            key = _session_key(headers.get("cookie"))
            if key is None:
                return None
            _refuse_foreign(headers)
            return await self._writes.run(authenticate_session, key)
        except Unauthenticated as error:
            if scheme.lower() != "bearer":
                return None  # an ended session is like none
            raise HttpError(401, error.code, error.message, {"www-authenticate": "Bearer"}) from None
        except AppError as error:
            raise HttpError(403 if error.code == "FORBIDDEN" else 503, error.code, error.message) from None

    async def _by_token(self, secret: str) -> Actor:
        async with self._reads.snapshot(None) as snapshot:
            rows = await snapshot.rows(TOKEN_SQL, [token_key(secret)])
        actor = actor_of_token(rows[0] if rows else None)
        if actor.token_id is not None and token_use_is_due(actor.token_id):
            await self._writes.run(token_use_record, actor)
        return actor

    async def _execute(
        self, request: GraphQLRequest, actor: Actor | None, headers: Headers, request_id: str
    ) -> ExecutionResult:
        async with self._reads.snapshot(actor.organization_id if actor else None) as snapshot:
            context = Context(
                snapshot=snapshot,
                writes=self._writes,
                request_id=request_id,
                principal=actor,
                idempotency_key=headers.get("idempotency-key") or None,
            )
            try:
                async with asyncio.timeout(settings.ENVIRONMENT.deadline_seconds):
                    found = await build_schema().execute(
                        request.query,
                        variable_values=request.variables,
                        operation_name=request.operation_name,
                        context_value=context,
                    )
            except TimeoutError:
                late = GraphQLError(DeadlineExceeded().message, original_error=DeadlineExceeded())
                return ExecutionResult(data=None, errors=[late])
        return found


async def _while_client_waits(work: Awaitable[ExecutionResult], receive: Receive) -> ExecutionResult:
    """The result; the work is cancelled, and with it its statement in PostgreSQL, when the client goes away."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    task, watcher = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientLeft
        return await task
    finally:
        for unfinished in (task, watcher):
            unfinished.cancel()
        await asyncio.gather(task, watcher, return_exceptions=True)


def _session_key(cookie: str) -> str | None:
    try:
        found = SimpleCookie(cookie).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return None
    return found.value if found else None


def _refuse_foreign(headers: Headers) -> None:
    """A browser sends the session's cookie along with requests that another site makes.

    JSON needs a preflight, which is never granted; a form with files does not, so it must carry a header that does.
    """
    origin = headers.get("origin")
    if origin and origin.partition("://")[2] != headers.get("host"):
        raise HttpError(403, "FORBIDDEN", "The request comes from another site.")
    if headers.media_type == MULTIPART and not any(headers.get(name) for name in _PREFLIGHT_HEADERS):
        raise HttpError(403, "FORBIDDEN", "Files sent with a session need the header X-CSRFToken.")


def _answer(result: ExecutionResult, request_id: str, media_type: str) -> Response:
    errors = [present(error, request_id) for error in result.errors or []]
    body: dict[str, Any] = {"errors": errors} if errors else {}
    refused = result.data is None and bool(errors) and not any("path" in error for error in errors)
    if not refused:
        body["data"] = result.data
    # A request that could not be begun has no data; plain JSON clients expect 200 even so.
    status = 400 if refused and media_type == GRAPHQL_RESPONSE else 200
    return Response(status, orjson.dumps(body), _headers(media_type))


def _headers(media_type: str) -> dict[str, str]:
    return {"content-type": f"{media_type}; charset=utf-8", "cache-control": "no-store", "vary": "Accept"}


def _refusal(error: HttpError, request_id: str, headers: Headers) -> Response:
    extensions = {
        "code": error.code,
        "requestId": request_id,
        "retryable": error.status == HTTPStatus.SERVICE_UNAVAILABLE,
    }
    body = orjson.dumps({"errors": [{"message": error.message, "extensions": extensions}]})
    media_type = response_type(headers.get("accept")) or "application/json"
    return Response(error.status, body, {**_headers(media_type), **error.headers})
