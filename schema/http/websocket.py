"""GraphQL over WebSocket: the protocol graphql-transport-ws, and no other. Operations are those of HTTP."""

import asyncio
import logging
import secrets
from contextlib import ExitStack, aclosing
from typing import Any, Protocol

import orjson
from django.conf import settings
from graphql import GraphQLError, OperationType

from backend.core.errors import AppError, LimitExceeded, Unauthenticated
from backend.db.writes import RequestWrites, WriteThreads
from schema.errors import present, presented
from schema.execution.documents import Prepared
from schema.execution.engine import Answer
from schema.http.asked import Asked, address_of, purpose_of, seconds_of
from schema.http.credentials import Credentials, Principal
from schema.http.messages import Headers, HttpError, Receive, Scope, Send
from schema.http.requests import GraphQLRequest, read_json, request_of
from schema.http.streams import (
    FORBIDDEN,
    INTERNAL,
    TOO_LARGE,
    TRY_AGAIN,
    Ended,
    NotBegun,
    Streams,
    answer_json,
    problem,
    refused,
)

log = logging.getLogger("driftgraph.http")
PROTOCOL = "graphql-transport-ws"
BAD_REQUEST, UNAUTHORIZED, NOT_ACCEPTABLE, INIT_TIMEOUT, DUPLICATE, TOO_MANY_INITS = 4400, 4401, 4406, 4408, 4409, 4429
_CREDENTIALS = ("authorization", "driftgraph-purpose")  # in the payload of connection_init
_REASON_BYTES = 123  # of a close frame


class Endpoint(Protocol):
    """What carries operations out, whatever brought them."""

    credentials: Credentials
    streams: Streams
    writes: WriteThreads

    async def prepare(self, request: GraphQLRequest, who: Principal, address: str, seconds: float) -> Prepared:
        """The operation that is meant, in so many seconds."""

    async def execute(self, asked: Asked, who: Principal) -> Answer:
        """The answer to a query or mutation."""


class TooManyOperations(LimitExceeded):
    """This WebSocket has {limit} operations at work, no more are allowed (DRIFTGRAPH_MAX_SOCKET_OPERATIONS)."""


class Socket:
    """One WebSocket, from its handshake to its end. All of its tasks are in one group: none outlives it.

    An operation asks for its next event when the last one has been sent, so whoever reads slowly is answered slowly,
    and nothing piles up.
    """

    def __init__(self, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        self._endpoint, self._scope, self._receive, self._transmit = endpoint, scope, receive, send
        self._address = address_of(scope)
        self._headers = Headers(scope["headers"])
        self._who: Principal | None = None
        self._init_received, self._sending = asyncio.Event(), asyncio.Lock()
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._answering = asyncio.Semaphore(settings.ENVIRONMENT.max_socket_answers)
        self._tasks: asyncio.TaskGroup
        self._admission = ExitStack()

    async def serve(self) -> None:
        """Returns when the connection has ended."""
        if (await self._receive())["type"] != "websocket.connect":
            return
        chosen = PROTOCOL if PROTOCOL in self._scope.get("subprotocols", ()) else None
        await self._transmit({"type": "websocket.accept", "subprotocol": chosen})
        ends = [Ended(NOT_ACCEPTABLE, message=f"The sub-protocol must be {PROTOCOL}.")] if chosen is None else []
        with self._admission:
            try:
                if not ends:
                    await self._live()
            except* Ended as group:
                ends = [error for error in group.exceptions if isinstance(error, Ended)]
            except* Exception as group:  # the last resort: a bug must not show itself
                log.exception("a WebSocket failed: %s", type(group.exceptions[0]).__name__)
                ends = [Ended(INTERNAL, message="Something went wrong on the server.")]
            if ends and ends[0].close:
                await self._close(ends[0])

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as self._tasks:
            self._tasks.create_task(self._read())
            self._tasks.create_task(self._await_init())

    async def _await_init(self) -> None:
        try:
            async with asyncio.timeout(settings.ENVIRONMENT.socket_init_seconds):
                await self._init_received.wait()
        except TimeoutError:
            raise Ended(INIT_TIMEOUT, message="Connection initialisation timeout") from None

    async def _read(self) -> None:
        limit = settings.ENVIRONMENT.max_body_bytes
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                raise Ended
            text = message.get("text")
            if text is None:
                raise Ended(BAD_REQUEST, message="A message must be text.")
            raw = text.encode()
            if len(raw) > limit:
                raise Ended(TOO_LARGE, message=f"The message is larger than {limit} bytes (DRIFTGRAPH_MAX_BODY_BYTES).")
            try:
                await self._take(read_json(raw, "The message"))
            except HttpError as error:
                raise Ended(BAD_REQUEST, message=error.message) from None

    async def _take(self, message: Any) -> None:
        """Acts on one message.

        Raises:
            Ended: it does not belong here. HttpError: it is not well formed.
        """
        if not isinstance(message, dict) or not isinstance(message.get("payload", {}), (dict, type(None))):
            raise Ended(BAD_REQUEST, message="A message must be a JSON object, and its payload too.")
        kind, key, payload = message.get("type"), message.get("id"), message.get("payload")
        if kind in ("subscribe", "complete") and not (isinstance(key, str) and key):
            raise Ended(BAD_REQUEST, message=f"A message of type {kind} needs an id, a text that is not empty.")
        if kind == "connection_init":
            await self._init(payload or {})
        elif kind == "ping":
            await self._send({"type": "pong", **({"payload": payload} if payload else {})})
        elif kind == "subscribe":
            await self._subscribe(str(key), payload)
        elif kind == "complete":
            if task := self._operations.pop(str(key), None):
                task.cancel()
        elif kind != "pong":
            raise Ended(BAD_REQUEST, message="The type of the message is not one of the protocol.")

    async def _init(self, payload: dict[str, Any]) -> None:
        if self._init_received.is_set():
            raise Ended(TOO_MANY_INITS, message="Too many initialisation requests")
        self._init_received.set()
        given = {str(name).lower(): value for name, value in payload.items()}
        sent = {
            name.encode(): given[name].encode("latin-1", "replace")
            for name in _CREDENTIALS
            if isinstance(given.get(name), str)
        }
        # A key of the upgrade would be that of every mutation.
        own = [pair for pair in self._scope["headers"] if pair[0] != b"idempotency-key" and pair[0] not in sent]
        self._headers = Headers([*own, *sent.items()])
        try:
            who = self._endpoint.credentials.known(self._headers, self._address)
            who = who or await self._endpoint.credentials.anew(self._headers, self._address)
            if who.actor is None:
                raise Ended(FORBIDDEN, message=Unauthenticated().message)
            self._admission.enter_context(self._endpoint.streams.admitted(who.actor, self._address))
        except HttpError as error:
            raise refused(error) from None
        except AppError as error:
            raise Ended(TRY_AGAIN, message=error.message) from None
        self._who = who
        self._tasks.create_task(self._endpoint.streams.watch(self._headers, self._address, who))
        await self._send({"type": "connection_ack"})

    async def _subscribe(self, key: str, payload: Any) -> None:
        if self._who is None:
            raise Ended(UNAUTHORIZED, message="Unauthorized")
        if key in self._operations:
            raise Ended(DUPLICATE, message=f"Subscriber for {key} already exists")
        request_id, limit = secrets.token_hex(16), settings.ENVIRONMENT.max_socket_operations
        if len(self._operations) >= limit:
            error = TooManyOperations(limit=limit)
            await self._fail(key, problem(error.code, error.message, request_id))
            return
        if isinstance(payload, dict) and isinstance(payload.get("query"), str) and not payload["query"].strip():
            await self._fail(key, problem("GRAPHQL_PARSE_FAILED", "The document is empty.", request_id))
            return
        request = request_of(payload)
        self._operations[key] = self._tasks.create_task(self._operate(key, request, self._who, request_id))

    async def _operate(self, key: str, request: GraphQLRequest, who: Principal, request_id: str) -> None:
        """Answers one operation; whatever is wrong with it ends no other."""
        errors: list[dict[str, Any]] = []
        try:
            await self._answer(key, request, who, request_id)
        except Ended:
            raise
        except NotBegun as refusal:
            errors = presented(refusal.errors, request_id)
        except GraphQLError as error:
            errors = [present(error, request_id)]
        except AppError as error:
            errors = problem(error.code, error.message, request_id, retryable=error.retryable)
        except HttpError as error:
            end = refused(error)
            if end.close == FORBIDDEN:
                raise end from None
            errors = problem(end.code, end.message, request_id, retryable=end.retryable)
        except Exception as error:  # noqa: BLE001 - present() logs it, and masks it
            errors = [present(GraphQLError("", path=[], original_error=error), request_id)]
        finally:
            if self._operations.get(key) is asyncio.current_task():
                del self._operations[key]
        if errors:
            await self._fail(key, errors)
        else:
            await self._send({"id": key, "type": "complete"})

    async def _answer(self, key: str, request: GraphQLRequest, who: Principal, request_id: str) -> None:
        seconds = seconds_of(self._headers)
        prepared = await self._endpoint.prepare(request, who, self._address, seconds)
        asked = Asked(
            prepared=prepared,
            variables=request.variables,
            headers=self._headers,
            purpose=purpose_of(self._headers),
            seconds=seconds,
            request_id=request_id,
            writes=RequestWrites(self._endpoint.writes),
            address=self._address,
        )
        if prepared.kind is not OperationType.SUBSCRIPTION or prepared.errors:
            async with self._answering:  # until it was taken: others are not executed to wait in memory
                answer = await self._endpoint.execute(asked, who)
                if answer.data is None:
                    raise NotBegun(answer.errors)
                await self._next(key, answer, request_id)
            return
        async with aclosing(self._endpoint.streams.events(asked, who)) as events:
            async for event in events:
                await self._next(key, event.answer, request_id)

    async def _next(self, key: str, answer: Answer, request_id: str) -> None:
        payload = orjson.Fragment(answer_json(answer, request_id))
        await self._send({"id": key, "type": "next", "payload": payload})

    async def _fail(self, key: str, errors: list[dict[str, Any]]) -> None:
        await self._send({"id": key, "type": "error", "payload": errors})

    async def _send(self, message: dict[str, Any]) -> None:
        """Sends one message.

        Raises:
            Ended: the client has left, or does not take what is sent.
        """
        try:
            async with asyncio.timeout(settings.ENVIRONMENT.stream_send_seconds), self._sending:
                await self._transmit({"type": "websocket.send", "text": orjson.dumps(message).decode()})
        except TimeoutError:
            raise Ended(
                TRY_AGAIN, message="Messages were not taken in time (DRIFTGRAPH_STREAM_SEND_SECONDS)."
            ) from None
        except (OSError, RuntimeError):  # the servers' way to say that the connection has gone
            raise Ended from None

    async def _close(self, end: Ended) -> None:
        reason = end.message.encode()[:_REASON_BYTES].decode(errors="ignore")
        try:
            async with asyncio.timeout(settings.ENVIRONMENT.stream_send_seconds):
                await self._transmit({"type": "websocket.close", "code": end.close, "reason": reason})
        except (TimeoutError, OSError, RuntimeError):
            log.info("a WebSocket could not be told that it ends (%s)", end.close)
