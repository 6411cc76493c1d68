"""What the process counts of the operations it answers, for Prometheus. `/metrics` shows it (schema/http/metrics.py).

Labels have values of closed sets alone: kinds of operations, ways of execution, codes of errors. Nothing that a client
can make up, no organization and nobody's data is ever a label.
"""

import asyncio
import time
from functools import cache
from types import TracebackType
from typing import Self

from graphql import GraphQLError, OperationType
from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

from backend.core.errors import AppError
from schema.errors import INTERNAL, code_of
from schema.execution.engine import UNEXECUTED, Answer
from schema.http.messages import HttpError

# They would be a second series for each, which says when the process began.
disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client leaves its parameters untyped

OK, CANCELLED = "OK", "CANCELLED"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

_OPERATIONS = Counter(
    "driftgraph_operations",
    "GraphQL operations answered or refused. type: query, mutation, subscription (once, when it begins) or none (the"
    " document was refused); way: how it was executed; outcome: OK, the code of its first error, or CANCELLED.",
    ["type", "way", "outcome"],
)
_DURATION = Histogram(
    "driftgraph_operation_duration_seconds",
    "Time from when the document of a query or mutation was ready until its answer was.",
    ["type"],
    buckets=_SECONDS,
)
_RESPONSES = Counter(
    "driftgraph_http_responses", "Answers to HTTP requests to /graphql and below it, by status.", ["status"]
)
EVENTS = Counter("driftgraph_subscription_events", "Events sent to those who follow something.")
STREAMS = Gauge("driftgraph_streams_open", "WebSockets and event streams that are open.", multiprocess_mode="livesum")


@cache
def _operations(kind: str, way: str, outcome: str) -> Counter:
    return _OPERATIONS.labels(kind, way, outcome)


@cache
def _durations(kind: str) -> Histogram:
    return _DURATION.labels(kind)


@cache
def _responses(status: int) -> Counter:
    return _RESPONSES.labels(str(status))


def count_response(status: int) -> None:
    """Nothing; one more HTTP response."""
    _responses(status).inc()


def count_operation(kind: OperationType | None, outcome: str, way: str = UNEXECUTED) -> None:
    """Nothing; one more operation; without a kind where the document was refused."""
    _operations(kind.value if kind else "none", way, outcome).inc()


def outcome_of(error: BaseException) -> str:
    """The code of an error, or CANCELLED."""
    if isinstance(error, (AppError, HttpError)):
        return error.code
    if isinstance(error, GraphQLError):
        return code_of(error)
    return CANCELLED if isinstance(error, asyncio.CancelledError) else INTERNAL


class Observed:
    """One query or mutation for a `with`, at the end of which it is counted: by `answer`, or by what was raised."""

    __slots__ = ("_begun", "_kind", "answer")

    def __init__(self, kind: OperationType) -> None:
        self._kind, self.answer = kind, Answer(None)

    def __enter__(self) -> Self:
        self._begun = time.perf_counter()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _at: TracebackType | None
    ) -> None:
        _durations(self._kind.value).observe(time.perf_counter() - self._begun)
        first = error or next(iter(self.answer.errors), None)
        count_operation(self._kind, outcome_of(first) if first else OK, self.answer.way)
