"""GraphQL over server-sent events: graphql-sse with distinct connections, readable by urql's fetch as well."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from django.conf import settings
from graphql import GraphQLError

from backend.core.errors import AppError
from schema.errors import present, presented
from schema.execution.engine import Answer
from schema.http.asked import Asked
from schema.http.credentials import Principal
from schema.http.messages import HttpError, Receive, Send
from schema.http.streams import (
    TRY_AGAIN,
    Ended,
    Event,
    NotBegun,
    Streams,
    answer_json,
    json_of,
    problem,
    refused,
)

log = logging.getLogger("driftgraph.http")
_COMPLETE = b"event: complete\ndata:\n\n"
_COMMENT = b":\n\n"


def frames(body: bytes) -> bytes:
    """An answer that is the only one, and the end of the stream."""
    return _next(body, None) + _COMPLETE


def _next(body: bytes, cursor: str | None) -> bytes:
    where = f"id: {cursor}\n".encode() if cursor else b""
    return b"event: next\n" + where + b"data: " + body + b"\n\n"


class EventStream:
    """The answer to a subscription by HTTP. The next event is asked for when the last one has been sent."""

    status = 200

    def __init__(
        self, streams: Streams, asked: Asked, who: Principal, receive: Receive, headers: Mapping[str, str]
    ) -> None:
        self._streams, self._asked, self._who, self._receive = streams, asked, who, receive
        self.headers = {**headers, "x-accel-buffering": "no"}  # proxies are not to gather events
        self._sending = asyncio.Lock()
        self._transmit: Send

    async def send(self, send: Send, *, head: bool = False) -> None:
        """Returns when the stream has ended; at once where it answers HEAD."""
        self._transmit = send
        errors: list[dict[str, Any]] | None
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": pairs})
        if head:
            await send({"type": "http.response.body", "body": b""})
            return
        try:
            with self._streams.admitted(self._who.actor, self._asked.address):
                errors = await self._live()
        except AppError as error:
            errors = self._problem(Ended(TRY_AGAIN, error.code, error.message, retryable=error.retryable))
        if errors is None:
            return  # the client has left
        last = _next(json_of(Answer(None), errors), None) if errors else b""
        try:
            await self._put(last + _COMPLETE, more=False)
        except Ended:
            log.info("an event stream could not be told that it ends")

    async def _live(self) -> list[dict[str, Any]] | None:
        """The errors that end the stream: none where it is complete, None where there is nobody to tell."""
        ends: list[Ended] = []
        found: list[dict[str, Any]] | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                others = [tasks.create_task(one) for one in (self._await_end(), self._comment(), self._watch())]
                found = await self._events()
                for task in others:
                    task.cancel()
        except* Ended as group:
            ends = [error for error in group.exceptions if isinstance(error, Ended)]
        if ends:
            return self._problem(ends[0]) if ends[0].close else None
        return found

    async def _events(self) -> list[dict[str, Any]]:
        """The errors for which the subscription ended; sends each event."""
        request_id = self._asked.request_id
        after = self._asked.headers.get("last-event-id") or None
        try:
            async with aclosing(self._streams.events(self._asked, self._who, after)) as events:
                await self._each(events)
        except Ended:
            raise
        except NotBegun as refusal:
            return presented(refusal.errors, request_id)
        except GraphQLError as error:
            return [present(error, request_id)]
        except AppError as error:
            return problem(error.code, error.message, request_id, retryable=error.retryable)
        except HttpError as error:
            return self._problem(refused(error))
        except Exception as error:  # noqa: BLE001 - present() logs it, and masks it
            return [present(GraphQLError("", path=[], original_error=error), request_id)]
        return []

    async def _each(self, events: AsyncGenerator[Event, None]) -> None:
        async for event in events:
            await self._put(_next(answer_json(event.answer, self._asked.request_id), event.cursor))

    async def _await_end(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        raise Ended

    async def _comment(self) -> None:
        while True:
            await self._put(_COMMENT)
            await asyncio.sleep(settings.ENVIRONMENT.stream_comment_seconds)

    async def _watch(self) -> None:
        await self._streams.watch(self._asked.headers, self._asked.address, self._who)

    async def _put(self, body: bytes, *, more: bool = True) -> None:
        """Sends some of the stream.

        Raises:
            Ended: the client has left, or does not take what is sent.
        """
        try:
            async with asyncio.timeout(settings.ENVIRONMENT.stream_send_seconds), self._sending:
                await self._transmit({"type": "http.response.body", "body": body, "more_body": more})
        except TimeoutError:
            raise Ended(
                TRY_AGAIN, "TIMEOUT", "Events were not taken in time (DRIFTGRAPH_STREAM_SEND_SECONDS).", retryable=True
            ) from None
        except (OSError, RuntimeError):  # the servers' way to say that the connection has gone
            raise Ended from None

    def _problem(self, end: Ended) -> list[dict[str, Any]]:
        return problem(end.code, end.message, self._asked.request_id, retryable=end.retryable)
