"""How many SQL statements each query of schema/operations takes for 1 and for 20 parents: ours beside naive resolvers.

Naive are the same declarations executed by graphql-core with loaders that neither batch nor remember: each row asks for
what belongs to it by a statement of its own. All are counted as they are sent, over the same rows, and must give the
same answer.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import django

django.setup()

import orjson
from django.core.management import call_command
from graphql import OperationType
from rich.console import Console
from rich.table import Table

from backend.accounts.services import organization_create
from backend.core.actor import Actor
from backend.db.reads import Reads, process_reads
from backend.db.writes import WriteThreads
from schema.context import Context
from schema.execution.core import reference
from schema.execution.documents import Prepared, prepare
from schema.execution.engine import execute
from schema.loaders.request import BatchFunction, Key, Loaders
from tests.acceptance import OPERATIONS, fill, text, variables

PARENTS = (1, 20)


class NaiveLoaders(Loaders):
    """Loaders that send a statement for each key that they are asked for."""

    def _load(
        self,
        name: Hashable,  # noqa: ARG002 - the signature of Loaders
        keys: Sequence[Key],
        batch: Callable[[], BatchFunction],
    ) -> Awaitable[list[Any]]:
        async def one_by_one() -> list[Any]:
            load = batch()
            return [None if key is None else (await load([key]))[0] for key in keys]

        return asyncio.ensure_future(one_by_one())


class WayFailed(Exception):
    """An operation had errors, or the ways to execute it gave different answers."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One organization's question."""

    actor: Actor
    operation: Prepared
    variables: dict[str, Any]


async def _ours(asked: Asked, context: Context) -> Any:
    answer = await execute(asked.operation, asked.variables, context)
    if answer.errors or answer.data is None:
        raise WayFailed(f"{asked.operation.name}: {answer.errors}")
    return orjson.loads(answer.data)


async def _by_graphql_core(asked: Asked, context: Context) -> Any:
    result = await reference(asked.operation.document, asked.operation.name, asked.variables, context)
    if result.errors:
        raise WayFailed(f"{asked.operation.name}: {result.errors}")
    return orjson.loads(orjson.dumps(result.data))


async def _naive(asked: Asked, context: Context) -> Any:
    context.loaders = NaiveLoaders(context.snapshot, context.note)
    return await _by_graphql_core(asked, context)


WAYS = {"SQL-made JSON": _ours, "dataloaders": _by_graphql_core, "naive": _naive}


async def _counts(reads: Reads, writes: WriteThreads, asked: Asked) -> list[int]:
    """The statements of an operation by each of WAYS."""
    counts, answers = [], []
    for way in WAYS.values():
        async with reads.snapshot(asked.actor.organization_id) as snapshot:
            context = Context(snapshot=snapshot, writes=writes, request_id="benchmark", principal=asked.actor)
            answers.append(await way(asked, context))
            counts.append(len(snapshot.statements))
    if any(answer != answers[0] for answer in answers):
        raise WayFailed(f"{asked.operation.name}: the answers differ")
    return counts


def _queries() -> dict[str, Prepared]:
    found = {path.stem: prepare(text(path.stem), None) for path in sorted(OPERATIONS.glob("*.graphql"))}
    return {name: operation for name, operation in found.items() if operation.kind is OperationType.QUERY}


async def _measured(filled: dict[int, tuple[Actor, dict[str, str]]]) -> dict[str, list[int]]:
    """For each query the statements by each of WAYS for few parents, then for many."""
    reads, writes = process_reads(), WriteThreads(1)
    await reads.open()
    try:
        return {
            name: [
                count
                for actor, ids in filled.values()
                for count in await _counts(reads, writes, Asked(actor, operation, variables(name, ids)))
            ]
            for name, operation in _queries().items()
        }
    finally:
        writes.close()
        await reads.close()


def _fewer(ours: int, naive: int) -> str:
    return f"{1 - ours / naive:.0%}"


def _table(measured: dict[str, list[int]]) -> Table:
    table = Table(title="SQL statements per operation")
    table.add_column("operation", no_wrap=True)
    for parents in PARENTS:
        for way in WAYS:
            table.add_column(f"{way}, {parents}", justify="right")
    table.add_column(f"fewer than naive, {PARENTS[-1]}", justify="right")
    total = [sum(column) for column in zip(*measured.values(), strict=True)]
    for name, counts in [*measured.items(), ("all", total)]:
        table.add_row(name, *map(str, counts), _fewer(counts[len(WAYS)], counts[-1]))
    return table


def main() -> int:
    """Counts and prints a table; the last line is over all operations."""
    argparse.ArgumentParser(prog="python -m benchmarks statements", description=__doc__).parse_args()
    call_command("migrate", verbosity=0)
    filled = {}
    for parents in PARENTS:
        organization = organization_create(name=f"statements {parents}")
        filled[parents] = (Actor.system(organization.id, "benchmark"), fill(organization, parents))
    Console(width=160).print(_table(asyncio.run(_measured(filled))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
