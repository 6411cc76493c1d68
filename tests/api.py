"""Executes operations as the server does: one snapshot, one context, errors as a client sees them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from graphql import GraphQLError

from backend.core.actor import Actor
from backend.core.errors import AppError
from backend.db.reads import Reads
from backend.db.writes import WriteThreads
from schema.context import Context
from schema.errors import presented
from schema.execution import engine
from schema.execution.documents import prepare


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client gets, and the statements that it took."""

    data: Any
    errors: list[dict[str, Any]]
    statements: list[str]

    @property
    def codes(self) -> list[str]:
        return [error["extensions"]["code"] for error in self.errors]


class Api:
    """The schema over a read pool, as one principal."""

    def __init__(self, reads: Reads, writes: WriteThreads, actor: Actor | None) -> None:
        self._reads, self._writes, self._actor = reads, writes, actor

    def as_(self, actor: Actor | None) -> "Api":
        return Api(self._reads, self._writes, actor)

    async def __call__(self, document: str, key: str | None = None, **variables: Any) -> Answer:
        organization = self._actor.organization_id if self._actor else None
        async with self._reads.snapshot(organization) as snapshot:
            context = Context(
                snapshot=snapshot, writes=self._writes, request_id="test", principal=self._actor, idempotency_key=key
            )
            answer = await _executed(document, variables, context)
            errors = presented(answer.errors, "test")
            data = None if answer.data is None else orjson.loads(answer.data)
            return Answer(data, errors, list(snapshot.statements))

    async def data(self, document: str, **variables: Any) -> Any:
        answer = await self(document, **variables)
        assert answer.errors == []
        return answer.data


async def _executed(document: str, variables: dict[str, Any], context: Context) -> engine.Answer:
    try:
        return await engine.execute(prepare(document, None), variables, context)
    except (AppError, GraphQLError) as error:
        shown = error if isinstance(error, GraphQLError) else GraphQLError(error.message, original_error=error)
        return engine.Answer(None, [shown])


ApiFactory = Callable[[Actor | None], Api]
