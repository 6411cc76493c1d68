"""One execution by the compiled executor and by graphql-core, to compare their answers."""

import asyncio
import gc
import warnings
from collections.abc import Callable
from inspect import isawaitable
from typing import Any

import orjson
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLSchema,
    OperationDefinitionNode,
    build_schema,
    execute,
    parse,
    validate,
)
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from schema.execution import core
from schema.execution.compiled.plan import Document, ObjectPlan
from schema.execution.compiled.run import execute as execute_compiled
from schema.execution.selection import conditions_of

WHO = {"who": "tester"}
Answer = tuple[bytes, list[tuple[Any, ...]]]


def operation_of(document: DocumentNode) -> tuple[OperationDefinitionNode, dict[str, Any]]:
    (operation,) = (node for node in document.definitions if isinstance(node, OperationDefinitionNode))
    return operation, {node.name.value: node for node in document.definitions if node is not operation}


async def compiled(
    schema: GraphQLSchema, document: DocumentNode, variables: dict[str, Any], root: Any
) -> ExecutionResult:
    operation, fragments = operation_of(document)
    values = core.coerce_variables(schema, operation, variables)
    names = conditions_of(operation, fragments).variables
    conditions = {name: core.coerced(values)[name] for name in names if name in core.coerced(values)}
    plan = ObjectPlan(Document(schema, fragments, conditions), schema.query_type, [operation.selection_set])
    run = core.executor(schema, operation, fragments, values, WHO)
    run.root_value = root
    return await execute_compiled(plan, plan.selections.keys(), run)


async def references(
    schema: GraphQLSchema, document: DocumentNode, variables: dict[str, Any], roots: list[Callable[[], Any]]
) -> list[Answer]:
    """graphql-core's answers; what it cancels before it has begun is never awaited, and that is its own affair."""
    answers, before = [], asyncio.all_tasks()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for root in roots:
            answers.append(await _reference(schema, document, variables, root()))
            while left := asyncio.all_tasks() - before:  # what it no longer listens to
                await asyncio.wait(left)
        gc.collect()
    return answers


async def _reference(schema: GraphQLSchema, document: DocumentNode, variables: dict[str, Any], root: Any) -> Answer:
    kind = StrawberryGraphQLCoreExecutionContext
    found: Any = execute(schema, document, root, WHO, variables, executor_class=kind, operation_extensions=None)
    return shown(await found if isawaitable(found) else found)


def shown(result: ExecutionResult) -> Answer:
    errors = [(e.message, e.path, e.locations, type(e.original_error), e.extensions) for e in result.errors or ()]
    return orjson.dumps(result.data, default=repr), errors


async def same(schema: Any, text: str, variables: dict[str, Any] | None = None, root: Any = lambda: None) -> Any:
    """The data of the compiled executor's answer, which is graphql-core's; and what went wrong.

    `root` makes the root value.
    """
    schema, document = getattr(schema, "_schema", schema), parse(text)
    assert validate(schema, document) == []
    made = shown(await compiled(schema, document, variables or {}, root()))
    (expected,) = await references(schema, document, variables or {}, [root])
    assert made[1] == expected[1]
    assert made[0] == expected[0]
    return orjson.loads(made[0]), [error[0] for error in made[1]]


def at_their_nulls(data: bytes, errors: list[tuple[Any, ...]]) -> tuple[list[str], set[tuple[Any, ...]]]:
    """The errors that stand at their own null, and the nulls that errors below them led to.

    Of several errors that lead to one null graphql-core reports the first, and what else was found until it had heard
    of it; where values are awaited that depends on the event loop.
    """
    own, climbed = {}, set()
    for error in errors:
        value, reached = orjson.loads(data), []
        for step in error[1]:
            if value is None:
                break
            reached.append(step)
            value = value[step]
        if reached == error[1]:
            own[tuple(reached)] = repr(error)
        else:
            climbed.add(tuple(reached))
    return sorted(error for path, error in own.items() if path not in climbed), climbed


SDL = """
enum Kind { A B }
scalar Odd
interface Named { name: String }
type Thing implements Named {
  name: String  sure: String!  n: Int  m: Int!  f: Float!  on: Boolean  id: ID!  kind: Kind  mode: Kind!  odd: Odd
  one: Thing  must: Thing!  list: [Thing]  full: [Thing!]!  grid: [[Int!]]  cube: [[[Thing!]!]]
  any: Any  each: [Any!]  named: Named!
}
type Other implements Named { name: String  count: Int!  one: Thing }
union Any = Thing | Other
type Query { thing: Thing  must: Thing!  list: [Thing!]  any: Any  n: Int! }
"""
PLAIN = build_schema(SDL)
LEAVES = "name sure n m f on id kind mode odd"
"""The scalar fields of a Thing."""


class Broken(Exception):
    """What a resolver raises."""
