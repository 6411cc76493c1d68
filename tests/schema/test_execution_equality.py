"""The three ways of execution give the same answer: to generated documents, and to cases chosen by hand."""

import dataclasses
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import orjson
import pytest
from django.conf import settings
from hypothesis import HealthCheck, given
from hypothesis import settings as generation
from hypothesis import strategies as st

from backend.accounts.models import Organization
from backend.core.actor import Actor, Role
from backend.db.reads import Reads
from backend.db.writes import WriteThreads
from backend.drift.models import DriftEvent
from schema.build import core_schema
from schema.declarations import RootPage
from schema.relay.ids import encode_id
from tests import every_value
from tests.api import Answer, Api
from tests.generated import Cursors, documents
from tests.pools import all_come_back

EXAMPLES = int(os.environ.get("DRIFTGRAPH_TEST_EXAMPLES", "300"))
_MADE = ("SELECT concat", "SELECT count")  # how statements begin whose rows are JSON text or a page's count
_ROLES = (Role.OWNER, Role.OWNER, Role.OWNER, Role.VIEWER, Role.ANALYST, Role.AUDITOR)
_CHILDREN = {
    "agentRuns": "findings",
    "detectionRuns": "tests",
    "driftEvents": "observations",
    "importBatches": "issues",
}


@pytest.fixture(scope="module")
def populated(database: str) -> Iterator[Organization]:
    """The organization with every kind of value."""
    organization = Organization.objects.create(id=uuid.uuid5(uuid.NAMESPACE_URL, __name__), name=__name__)
    every_value.fill(organization)
    yield organization
    every_value.empty(organization)


@contextmanager
def _executed(way: str) -> Iterator[None]:
    """Executes by one way; pages and counts are small, so that few rows have more than one page."""
    before = settings.ENVIRONMENT
    settings.ENVIRONMENT = dataclasses.replace(
        before, execution=way, default_page_size=4, count_cap=12, deadline_seconds=600.0
    )
    try:
        yield
    finally:
        settings.ENVIRONMENT = before


def _text(data: object) -> bytes:
    """The answer with its keys in order, and numbers as readers of JSON see them, to whom 1, 1.0 and 1e0 are one."""

    def numbers(value: object) -> object:
        if isinstance(value, dict):
            return {key: numbers(one) for key, one in value.items()}
        if isinstance(value, list):
            return [numbers(one) for one in value]
        return value + 0.0 if isinstance(value, (int, float)) and not isinstance(value, bool) else value

    return orjson.dumps(numbers(data))


def _telling(answer: Answer) -> tuple[list[bytes], set[tuple[str | int, ...]]]:
    """The errors that stand at their own null, and the nulls that errors below them led to.

    Several errors can lead to one null; the specification leaves open which of them is reported.
    """
    own, climbed = [], set()
    for error in answer.errors:
        value, reached = answer.data, []
        for step in error.get("path", []):
            if value is None:
                break
            reached.append(step)
            value = value[step]
        if reached == error.get("path", []):
            own.append(error)
        else:
            climbed.add(tuple(reached))
    at_own_null = (error for error in own if tuple(error.get("path", ())) not in climbed)
    return sorted(map(orjson.dumps, at_own_null)), climbed


@dataclasses.dataclass(slots=True)
class _Ways:
    """Answers of the three ways, and how the first was found."""

    reads: Reads
    writes: WriteThreads
    organization: Organization
    examples: int = 0
    alone: int = 0  # by SQL alone
    mixed: int = 0
    failed: int = 0

    async def answers(self, document: str, variables: dict[str, object], role: Role = Role.OWNER) -> list[Answer]:
        actor = Actor(organization_id=self.organization.id, role=role, request_id="test")
        api, found = Api(self.reads, self.writes, actor), []
        for way in ("auto", "compiled", "reference"):
            with _executed(way):
                found.append(await api(document, **variables))
        return found

    async def same(self, document: str, variables: dict[str, object], role: Role = Role.OWNER) -> Answer:
        """The answer by SQL, after a look at whether it and that of the compiled executor are graphql-core's."""
        made, compiled, expected = await self.answers(document, variables, role)
        assert _text(made.data) == _text(expected.data), made.errors
        assert _telling(made) == _telling(expected)
        assert orjson.dumps(compiled.data) == orjson.dumps(expected.data), compiled.errors
        assert _telling(compiled) == _telling(expected)
        return made

    def count(self, answer: Answer) -> None:
        by_sql = [statement.startswith(_MADE) for statement in answer.statements]
        self.examples += 1
        self.alone += bool(by_sql) and all(by_sql)
        self.mixed += any(by_sql) and not all(by_sql)
        self.failed += bool(answer.errors)


@pytest.fixture(scope="module")
async def ways(reads: Reads, writes: WriteThreads, populated: Organization) -> AsyncIterator[_Ways]:
    """The three ways; at the end, whether the generated documents took each of them often enough to say something."""
    found = _Ways(reads, writes, populated)
    yield found
    assert await all_come_back(reads)
    assert found.alone * 4 >= found.examples, found
    assert found.mixed * 20 >= found.examples, found
    assert found.failed * 20 >= found.examples, found


@pytest.fixture(scope="module")
async def cursors(ways: _Ways) -> Cursors:
    """Cursors out of answers, by row type and order."""
    query = core_schema().query_type
    assert query is not None
    found: dict[tuple[str, str], list[str]] = {}
    pages = "edges { __typename cursor }"
    for name, field in query.fields.items():
        declaration = getattr(field.extensions["strawberry-definition"], "declaration", None)
        if not isinstance(declaration, RootPage) or declaration.parent_tag:
            continue
        for order in declaration.source.orders:
            answer, *_ = await ways.answers(f"{{ {name}(orderBy: {order.name}, first: 100) {{ {pages} }} }}", {})
            _gather(answer.data[name], order.name, found)
    for parents, children in _CHILDREN.items():
        inner = f"nodes {{ {children}(first: 100) {{ {pages} }} }}"
        answer, *_ = await ways.answers(f"{{ {parents}(first: 100) {{ {inner} }} }}", {})
        child = core_schema().get_type(query.fields[parents].type.of_type.name.removesuffix("Connection"))
        order = child.fields[children].extensions["strawberry-definition"].declaration.source.default_order
        for node in answer.data[parents]["nodes"]:
            _gather(node[children], order.name, found)
    return found


def _gather(page: dict[str, list[dict[str, str]]], order: str, found: dict[tuple[str, str], list[str]]) -> None:
    for edge in page["edges"]:
        found.setdefault((edge["__typename"].removesuffix("Edge"), order), []).append(edge["cursor"])


def test_the_organization_holds_every_kind_of_value(populated: Organization) -> None:
    for model, rows in every_value.held(populated).items():
        for field in model._meta.concrete_fields:
            found = [getattr(row, field.attname) for row in rows]
            if field.null:
                assert None in found, field
                assert any(value is not None for value in found), field
            if field.choices:
                assert {value for value, _ in field.choices} <= set(found), field


@generation(
    max_examples=EXAMPLES,
    derandomize=True,  # the same documents in every run
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
async def test_generated_documents_are_answered_alike(ways: _Ways, cursors: Cursors, data: st.DataObject) -> None:
    document = data.draw(documents(cursors))
    role = data.draw(st.sampled_from(_ROLES))

    answer = await ways.same(document.text, document.variables, role)

    assert "GRAPHQL_PARSE_FAILED" not in answer.codes
    ways.count(answer)


async def test_a_value_that_does_not_fit_its_type_is_not_shown(ways: _Ways) -> None:
    broken = encode_id("DE", every_value.key(DriftEvent, every_value.BROKEN_EVENT))

    answer = await ways.same(f'{{ driftEvent(id: "{broken}") {{ delta }} }}', {})

    (error,) = answer.errors
    assert error["extensions"]["code"] == "INTERNAL"
    assert "inf" not in error["message"]


@pytest.mark.parametrize("role", [Role.OWNER, Role.ANALYST, Role.VIEWER])
async def test_ids_that_cannot_be_answered_are_null_among_those_that_can(ways: _Ways, role: Role) -> None:
    event = encode_id("DE", every_value.key(DriftEvent, every_value.BROKEN_EVENT))
    claim, none = encode_id("CL", uuid.uuid4()), encode_id("ZZ", uuid.uuid4())

    answer = await ways.same(
        "query($ids: [ID!]!) { payers(first: 1) { nodes { id } } nodes(ids: $ids) { __typename id } }",
        {"ids": ["bad", event, claim, "", none, event]},
        role,
    )

    found = {"__typename": "DriftEvent", "id": event}
    assert answer.data["nodes"] == [None, found, None, None, None, found]
    forbidden = [["nodes", 2]] if role is Role.VIEWER else []
    assert sorted(error["path"] for error in answer.errors) == sorted([["nodes", 0], ["nodes", 3], *forbidden])


@pytest.mark.parametrize(
    ("document", "data"),
    [
        ("query($if: Boolean = true) { viewer @skip(if: $if) { role } }", None),
        ("query($if: Boolean = true) { ... @include(if: $if) { viewer { role } } payers { totalCount } }", None),
        ("query($if: Boolean = true) { viewer { role @include(if: $if) } payers { totalCount } }", None),
    ],
)
async def test_a_condition_that_is_null_is_an_error(ways: _Ways, document: str, data: object) -> None:
    """A variable that has a default may stand there, and be sent as null all the same."""
    answer = await ways.same(document, {"if": None})
    without = await ways.same(document, {})

    [error] = answer.errors
    assert answer.data == data
    assert error["message"].startswith("Argument 'if' has invalid value")
    assert error["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
    assert without.errors == []
