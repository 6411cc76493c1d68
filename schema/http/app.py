"""The GraphQL endpoint as an ASGI application: who asks, what is asked, one snapshot, one answer."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus

import orjson
from django.conf import settings
from graphql import GraphQLError, OperationType

from backend.accounts.throttling import Attempts, process_attempts
from backend.core.actor import Actor
from backend.core.errors import AppError, BadUserInput, DeadlineExceeded, OrganizationBusy, Unavailable
from backend.db.listening import Listener
from backend.db.premises import AnswerOutdated, begun_anew
from backend.db.reads import Reads, connection_url
from backend.db.replicas import NotOnReplica
from backend.db.snapshots import Snapshot
from backend.db.writes import RequestWrites, WriteThreads
from schema.context import Context
from schema.cost.budgets import Budgets, RateLimited, process_budgets
from schema.errors import presented
from schema.execution.documents import Prepared
from schema.execution.engine import Answer, execute
from schema.http.asked import Asked, address_of, purpose_of, seconds_of
from schema.http.caching import cacheable
from schema.http.consistency import EXTENSION, HEADER, position_of, token_after
from schema.http.credentials import Credentials, Principal
from schema.http.cross_origin import preflight, share
from schema.http.event_stream import EventStream, frames
from schema.http.graphiql import page, static_file
from schema.http.instruments import Observed, count_operation, count_response, outcome_of
from schema.http.messages import RETRY_AFTER, Headers, HttpError, Receive, Response, Scope, Send
from schema.http.preparation import Preparation
from schema.http.requests import (
    EVENT_STREAM,
    GRAPHQL_RESPONSE,
    JSON,
    MULTIPART,
    GraphQLRequest,
    asks,
    names,
    read_request,
    response_type,
)
from schema.http.streams import Streams, json_of
from schema.http.websocket import Socket
from schema.usage.ledger import UsageLedger

log = logging.getLogger("driftgraph.http")
PATH = "/graphql"
_UNWATCHED_SECONDS = 0.02  # most answers are there by then, and need no task that watches the client
_LATER = {Unavailable.code: HTTPStatus.SERVICE_UNAVAILABLE, OrganizationBusy.code: HTTPStatus.TOO_MANY_REQUESTS}
_RETRYABLE = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)
_MAY_COME = (
    "The request took longer than its deadline; what it changes may still come about. Send it again with its"
    " idempotency key to learn of it, a file with background: true."
)


class ClientLeft(Exception):
    """The client went away before its answer was there."""


class NoEvents(BadUserInput):
    """A subscription needs a WebSocket, or a request with "Accept: text/event-stream"."""


class GraphQLApp:
    """Serves `/graphql` and, below it, the files of GraphiQL."""

    def __init__(
        self,
        reads: Reads,
        writes: WriteThreads,
        budgets: Budgets | None = None,
        attempts: Attempts | None = None,
    ) -> None:
        self._reads = reads
        self._budgets = budgets or process_budgets()
        self._preparation = Preparation(self._budgets)
        self.writes, self.credentials = writes, Credentials(reads, writes, attempts or process_attempts())
        self.usage = UsageLedger(writes)
        self.streams = Streams(reads, self.credentials, self._budgets, self.usage, Listener(connection_url()))

    async def close(self) -> None:
        """Nothing; ends the streams, writes the last counts, and ends the connections that are ours."""
        await self.streams.close()
        await self.usage.stop()
        await self._budgets.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one HTTP request, or serves one WebSocket."""
        if scope["type"] == "websocket":
            await Socket(self, scope, receive, send).serve()
            return
        headers = Headers(scope["headers"])
        request_id, head = secrets.token_hex(16), scope["method"] == "HEAD"
        if head:
            scope = {**scope, "method": "GET"}
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
        share(response.headers, headers)
        count_response(response.status)
        await response.send(send, head=head)

    async def _respond(
        self, scope: Scope, receive: Receive, headers: Headers, request_id: str
    ) -> Response | EventStream:
        if (shown := _for_browsers(scope, headers)) is not None:
            return shown
        media_type = response_type(headers.get("accept"))
        if media_type is None:
            raise HttpError(
                406,
                "BAD_USER_INPUT",
                f"This endpoint answers with {GRAPHQL_RESPONSE}, application/json or {EVENT_STREAM}.",
            )
        who = await self._principal(headers, address_of(scope))
        request = await read_request(scope, receive, headers)
        writes = RequestWrites(self.writes)
        try:
            try:
                purpose, seconds, after = purpose_of(headers), seconds_of(headers), position_of(headers)
                operation = await self.prepare(request, who, whence := address_of(scope), seconds)
                _refuse_silent_subscription(operation, headers)
            except (GraphQLError, AppError) as error:
                return _answer(_refused(error), request_id, media_type)
            if scope["method"] == "GET" and operation.kind is OperationType.MUTATION:
                raise HttpError(405, "BAD_USER_INPUT", "Mutations need POST.", {"allow": "POST"})
            asked = Asked(
                operation,
                request.variables,
                headers,
                purpose,
                seconds,
                request_id,
                writes,
                whence,
                after=after,
                is_single=True,
            )
            if operation.kind is OperationType.SUBSCRIPTION and not operation.errors:
                return EventStream(self.streams, asked, who, receive, _headers(EVENT_STREAM))
            result = await _while_client_waits(self.execute(asked, who), receive)
            is_page = scope["method"] == "GET" and media_type != EVENT_STREAM
            # A browser keeps what it may on its disk, where nobody accounts for reads.
            is_kept = is_page and not operation.shows_protected(request.variables)
            if is_kept and result.data is not None and not result.errors:
                return cacheable(who.actor, operation.text, result.data, headers, media_type)
        finally:
            # A service that outlasts the deadline, or the client, goes on and reads them.
            writes.when_ended(request.form.remove_files)
        return _answer(result, request_id, media_type)

    async def _principal(self, headers: Headers, address: str) -> Principal:
        who = self.credentials.known(headers, address)
        if who is not None and headers.media_type != MULTIPART:
            return who
        try:
            async with asyncio.timeout(settings.ENVIRONMENT.deadline_seconds):
                who = await self.credentials.anew(headers, address)
        except TimeoutError:
            raise HttpError.of(DeadlineExceeded(), 503) from None
        if headers.media_type == MULTIPART and who.actor is None:
            challenge = {"www-authenticate": "Bearer"}
            raise HttpError(401, "UNAUTHENTICATED", "Sign in before you send files.", challenge)
        return who

    async def prepare(self, request: GraphQLRequest, who: Principal, address: str, seconds: float) -> Prepared:
        """The operation that is meant, in so many seconds; a valid one can be asked for by its hash from here on.

        Raises:
            GraphQLError, AppError: there is none, or the document is not within its limits.
            HttpError: the budget is spent.
        """
        try:
            return await self._preparation.operation(request, who.actor, address, seconds)
        except RateLimited as error:
            count_operation(None, outcome_of(error))
            raise _too_many(error) from None
        except (GraphQLError, AppError) as error:
            count_operation(None, outcome_of(error))
            raise

    async def execute(self, asked: Asked, who: Principal) -> Answer:
        """The answer to a query or mutation, within its deadline and paid for.

        Raises:
            HttpError: the budget is spent, or the credentials are no longer good.
        """
        with Observed(asked.prepared.kind) as observed:
            observed.answer = await self._executed(asked, who)
        return observed.answer

    async def _executed(self, asked: Asked, who: Principal) -> Answer:
        try:
            async with asyncio.timeout(asked.seconds):
                if who.premise is not None and asked.prepared.kind is not OperationType.QUERY:
                    # What writes does so in other transactions than the one that looks at the premise.
                    who = Principal((await self.credentials.anew(asked.headers, asked.address)).actor)
                return await self._paid(asked, who)
        except RateLimited as error:
            raise _too_many(error) from None
        except TimeoutError:
            changes = asked.prepared.kind is OperationType.MUTATION
            return _refused(DeadlineExceeded(_MAY_COME) if changes else DeadlineExceeded())
        except AppError as error:
            return _refused(error)

    async def _paid(self, asked: Asked, who: Principal) -> Answer:
        if asked.prepared.errors:
            return Answer(None, asked.prepared.errors)
        price = asked.price()
        charge = await self._budgets.charge(who.actor, asked.address, price.requested)

        async def attempt() -> Answer:
            nonlocal who
            try:
                return await self._attempt(asked, who)
            except AnswerOutdated:
                if asked.prepared.kind is OperationType.MUTATION:
                    raise Unavailable from None  # what was written must not be written again
                # The token was revoked, has expired or got other rights since it was last looked at; or tables changed.
                who = Principal((await self.credentials.anew(asked.headers, asked.address)).actor)
                raise

        answer = await begun_anew(attempt)
        actual = price.requested if answer.rows is None else price.actual(answer.rows)
        remaining = await self._budgets.give_back(charge, actual)
        if who.actor is None:
            return answer
        asked.count(self.usage, who.actor)
        cost = {
            "requested": price.requested,
            "actual": actual,
            "remaining": remaining,
            "resetAt": _moment(charge.reset_at),
        }
        extensions = {**answer.extensions, "cost": cost}
        return Answer(answer.data, answer.errors, answer.rows, extensions, answer.way)

    async def _attempt(self, asked: Asked, who: Principal) -> Answer:
        """The answer, read from the replica where it can be, else from the primary."""
        actor = asked.acting(who.actor)
        whose = actor.organization_id if actor else None
        if (replica := self._reads.fit_replica) is not None and asked.suits_replica:
            there = replica.snapshot(whose, seconds=asked.seconds, premise=who.premise, after=asked.after)
            with suppress(NotOnReplica):
                return await self._read(asked, actor, there)
        return await self._read(asked, actor, self._reads.snapshot(whose, seconds=asked.seconds, premise=who.premise))

    async def _read(self, asked: Asked, actor: Actor | None, snapshot: Snapshot) -> Answer:
        async with snapshot:
            context = Context(
                snapshot=snapshot,
                turns=self._preparation.turns,
                writes=asked.writes,
                request_id=asked.request_id,
                principal=actor,
                idempotency_key=asked.headers.get("idempotency-key") or None,
            )
            answer = await execute(asked.prepared, asked.variables, context)
            if asked.prepared.kind is OperationType.MUTATION and answer.data is not None:
                answer = replace(answer, extensions=await token_after(context.snapshot))
            await context.snapshot.verify()
        return answer


async def _while_client_waits(work: Awaitable[Answer], receive: Receive) -> Answer:
    """The result; the work is cancelled, and with it its statement in PostgreSQL, when the client goes away."""
    worker, left, watcher = asyncio.current_task(), False, None

    async def watch() -> None:
        nonlocal left
        while (await receive())["type"] != "http.disconnect":
            pass
        left = True
        if worker is not None:
            worker.cancel()

    def begin() -> None:
        nonlocal watcher
        watcher = asyncio.create_task(watch())

    timer = asyncio.get_running_loop().call_later(_UNWATCHED_SECONDS, begin)
    try:
        return await work
    except asyncio.CancelledError:
        # Not where the server itself cancels the request, as it does when it stops.
        if left and worker is not None and worker.uncancel() == 0:
            raise ClientLeft from None
        raise
    finally:
        timer.cancel()
        if watcher is not None:
            watcher.cancel()


def _for_browsers(scope: Scope, headers: Headers) -> Response | None:
    """The answer to what asks no operation: a file, GraphiQL's page, whether another origin may ask; else None."""
    path = scope["path"].rstrip("/")
    if path.startswith(f"{PATH}/static/") and scope["method"] == "GET":
        return static_file(path.removeprefix(f"{PATH}/static/"))
    if path != PATH:
        raise HttpError(404, "NOT_FOUND", "There is nothing at this address.")
    if scope["method"] == "GET" and names(headers.get("accept"), "text/html") and not asks(scope["query_string"]):
        return page()
    return preflight(scope, headers)


def _refuse_silent_subscription(operation: Prepared, headers: Headers) -> None:
    """Raises NoEvents: the client could not be told of more than one event."""
    if operation.kind is OperationType.SUBSCRIPTION and not names(headers.get("accept"), EVENT_STREAM):
        raise NoEvents


def _too_many(error: RateLimited) -> HttpError:
    wait = {"retry-after": str(error.details["seconds"])}
    return HttpError(HTTPStatus.TOO_MANY_REQUESTS, error.code, error.message, wait)


def _refused(error: GraphQLError | AppError) -> Answer:
    """The answer to a request that could not be begun."""
    shown = error if isinstance(error, GraphQLError) else GraphQLError(error.message, original_error=error)
    return Answer(None, [shown])


def _answer(answer: Answer, request_id: str, media_type: str) -> Response:
    errors = presented(answer.errors, request_id)
    body, headers = json_of(answer, errors), _headers(media_type)
    if token := answer.extensions.get(EXTENSION):
        headers[HEADER] = token
    if media_type == EVENT_STREAM:
        return Response(200, frames(body), headers)
    for code, later in _LATER.items():
        if any(error["extensions"]["code"] == code for error in errors):
            return Response(later, body, {**headers, **RETRY_AFTER})
    # A request that could not be begun has no data; plain JSON clients expect 200 even so.
    status = 400 if answer.data is None and media_type == GRAPHQL_RESPONSE else 200
    return Response(status, body, headers)


@lru_cache(maxsize=2)  # budgets are whole again at the end of a minute: the same for all
def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _headers(media_type: str) -> dict[str, str]:
    return {"content-type": f"{media_type}; charset=utf-8", "cache-control": "no-store", "vary": "Accept"}


def _refusal(error: HttpError, request_id: str, headers: Headers) -> Response:
    extensions = {
        "code": error.code,
        "requestId": request_id,
        "retryable": error.status in _RETRYABLE,
    }
    body = orjson.dumps({"errors": [{"message": error.message, "extensions": extensions}]})
    # Of a stream that does not begin, clients read the status and plain JSON.
    media_type = response_type(headers.get("accept")) or JSON
    media_type = JSON if media_type == EVENT_STREAM else media_type
    return Response(error.status, body, {**_headers(media_type), **error.headers})
