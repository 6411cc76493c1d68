"""What WebSockets and event streams share: subscriptions as events, how many streams there are, and what ends one."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NoReturn

import orjson
from django.conf import settings
from graphql import GraphQLError, OperationType

from backend.audit.addresses import network_of
from backend.core.actor import Actor
from backend.core.errors import LimitExceeded, Unauthenticated, Unavailable
from backend.db.listening import Listener
from backend.db.premises import AnswerOutdated, begun_anew
from backend.db.reads import Reads
from schema.context import Context, Feed
from schema.cost.budgets import Budgets
from schema.errors import presented
from schema.execution.core import RefusedVariables
from schema.execution.engine import Answer, Subscribed, subscribe
from schema.http.asked import Asked
from schema.http.credentials import Credentials, Principal
from schema.http.instruments import EVENTS, OK, STREAMS, count_operation, outcome_of
from schema.http.messages import Headers, HttpError
from schema.small_cells import hidden_below
from schema.usage.ledger import UsageLedger

_LEAVING_SECONDS = 5.0  # for streams to say good-bye when the server stops

# Close codes: of RFC 6455, and from 4400 on of the protocol graphql-transport-ws.
GOING_AWAY, TOO_LARGE, INTERNAL, TRY_AGAIN, FORBIDDEN = 1001, 1009, 1011, 1013, 4403


class Ended(Exception):
    """A stream is over: why, as a close code and as an error; without a code the client has left."""

    def __init__(self, close: int = 0, code: str = "", message: str = "", *, retryable: bool = False) -> None:
        super().__init__(message)
        self.close, self.code, self.message, self.retryable = close, code, message, retryable


class TooManyStreams(LimitExceeded):
    """You have {actual} live streams, no more than {limit} are allowed (DRIFTGRAPH_MAX_STREAMS_PER_PRINCIPAL)."""


class NotBegun(Exception):
    """The document or its variables do not allow an operation to begin."""

    def __init__(self, errors: Sequence[GraphQLError]) -> None:
        super().__init__("the operation was not begun")
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Event:
    """The answer to one event of a subscription, and where the event stands."""

    answer: Answer
    cursor: str | None


class Streams:
    """The live streams of a process."""

    def __init__(
        self, reads: Reads, credentials: Credentials, budgets: Budgets, usage: UsageLedger, listener: Listener
    ) -> None:
        self._reads, self._credentials, self._budgets, self._usage = reads, credentials, budgets, usage
        self.listener = listener
        self._open: Counter[object] = Counter()
        self._stopping, self._all_ended = asyncio.Event(), asyncio.Event()

    async def end(self) -> None:
        """Returns when all streams have ended, or have had time enough to; no new one begins."""
        self._stopping.set()
        if not self._open:
            return
        self._all_ended.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVING_SECONDS):
                await self._all_ended.wait()

    async def close(self) -> None:
        """Nothing; ends the streams, and then the listening connection."""
        await self.end()
        await self.listener.close()

    @contextmanager
    def admitted(self, actor: Actor | None, address: str) -> Iterator[None]:
        """One more stream of a principal, for as long as the block lasts.

        Raises:
            TooManyStreams: the principal has DRIFTGRAPH_MAX_STREAMS_PER_PRINCIPAL already.
            Unavailable: the server stops.
        """
        whose = (actor.token_id or actor.user_id, actor.organization_id) if actor else network_of(address)
        limit = settings.ENVIRONMENT.max_streams_per_principal
        if self._stopping.is_set():
            raise Unavailable
        if self._open[whose] >= limit:
            raise TooManyStreams(actual=self._open[whose], limit=limit)
        self._open[whose] += 1
        STREAMS.inc()
        try:
            yield
        finally:
            STREAMS.dec()
            self._open[whose] -= 1
            self._open += Counter()  # without those that have none
            if not self._open:
                self._all_ended.set()

    async def watch(self, headers: Headers, address: str, who: Principal) -> NoReturn:
        """Never returns.

        Raises:
            Ended: the server stops, or the credentials or a right of the principal are no longer good.
        """
        while True:
            try:
                async with asyncio.timeout(settings.ENVIRONMENT.stream_check_seconds):
                    await self._stopping.wait()
            except TimeoutError:
                await self._check(headers, address, who.actor)
            else:
                raise Ended(GOING_AWAY, Unavailable.code, "The server stops. Connect again.", retryable=True)

    async def _check(self, headers: Headers, address: str, before: Actor | None) -> None:
        try:
            now = (await self._credentials.anew(headers, address)).actor
        except HttpError as error:
            if error.status != HTTPStatus.SERVICE_UNAVAILABLE:
                raise refused(error) from None
            return  # the database is away: nobody knows, and nothing is read
        if before is None:
            return
        if now is None:
            raise Ended(FORBIDDEN, Unauthenticated.code, "The session has ended. Sign in again.")
        sees_less = not before.rights <= now.rights or hidden_below(now) > hidden_below(before)
        if now.organization_id != before.organization_id or sees_less:
            raise Ended(FORBIDDEN, "FORBIDDEN", "Your rights have changed. Connect again.")

    async def events(
        self, asked: Asked, who: Principal, resume_after: str | None = None
    ) -> AsyncGenerator[Event, None]:
        """The answers to a subscription; each is read in a snapshot of its own, and paid for.

        Raises:
            NotBegun: the document or the variables are not good.
            GraphQLError, AppError: it could not be begun, or cannot go on.
            HttpError: the credentials are no longer good.
        """
        try:
            subscribed = await self._begun(asked, who, resume_after)
        except Exception as error:
            first = error.errors[0] if isinstance(error, NotBegun) else error
            count_operation(OperationType.SUBSCRIPTION, outcome_of(first))
            raise
        count_operation(OperationType.SUBSCRIPTION, OK, "reference")
        if who.actor is not None:
            asked.count(self._usage, who.actor)
        async with aclosing(subscribed.events) as events:
            async for event in events:
                await self._pay(asked, who)
                answer, who = await self._answered(asked, who, subscribed, event)
                EVENTS.inc()
                yield Event(answer, getattr(event, "cursor", None))

    async def _begun(self, asked: Asked, who: Principal, resume_after: str | None) -> Subscribed:
        if asked.prepared.errors:
            raise NotBegun(asked.prepared.errors)
        await self._pay(asked, who)
        feed = Feed(self._reads, self.listener, resume_after)
        try:
            return await subscribe(asked.prepared, asked.variables, self._context(asked, who, feed))
        except RefusedVariables as refusal:
            raise NotBegun(refusal.errors) from None

    async def _pay(self, asked: Asked, who: Principal) -> None:
        await self._budgets.charge(who.actor, asked.address, asked.price().requested)

    async def _answered(
        self, asked: Asked, who: Principal, subscribed: Subscribed, event: Any
    ) -> tuple[Answer, Principal]:
        """The answer to an event, and who asks by then, with what the answers to later ones rest on."""

        async def attempt() -> Answer:
            nonlocal who
            try:
                return await self._answer(asked, who, subscribed, event)
            except AnswerOutdated:
                who = await self._credentials.anew(asked.headers, asked.address)
                raise

        answer = await begun_anew(attempt)
        return answer, who

    async def _answer(self, asked: Asked, who: Principal, subscribed: Subscribed, event: Any) -> Answer:
        context = self._context(asked, who, None)
        async with context.snapshot:
            answer = await subscribed.answer(event, context)
            await context.snapshot.verify()
        return answer

    def _context(self, asked: Asked, who: Principal, feed: Feed | None) -> Context:
        actor = asked.acting(who.actor)
        snapshot = self._reads.snapshot(actor.organization_id if actor else None, premise=who.premise)
        return Context(snapshot, asked.writes, asked.request_id, principal=actor, feed=feed)


def refused(error: HttpError) -> Ended:
    """The end of a stream whose credentials are refused."""
    retryable = error.status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)
    return Ended(TRY_AGAIN if retryable else FORBIDDEN, error.code, error.message, retryable=retryable)


def problem(code: str, message: str, request_id: str, *, retryable: bool = False) -> list[dict[str, Any]]:
    """An error that has no place in a document, as the only one of an answer."""
    extensions = {"code": code, "requestId": request_id, "retryable": retryable}
    return [{"message": message, "extensions": extensions}]


def answer_json(answer: Answer, request_id: str) -> bytes:
    """An answer as JSON text."""
    return json_of(answer, presented(answer.errors, request_id))


def json_of(answer: Answer, errors: list[dict[str, Any]]) -> bytes:
    """The same of errors that are presented already."""
    parts = [b'"errors":' + orjson.dumps(errors)] if errors else []
    if answer.data is not None:
        parts.append(b'"data":' + answer.data)
    if answer.extensions:
        parts.append(b'"extensions":' + orjson.dumps(answer.extensions))
    return b"{" + b",".join(parts) + b"}"
