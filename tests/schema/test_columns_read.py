"""The compiled executor reads those columns of a row that the answer is made of, and no others."""

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
import strawberry
import strawberry_django
from django.db.models import Model
from graphql import GraphQLObjectType, GraphQLSchema, parse

from backend.accounts.models import Organization
from backend.claims.models import Claim, ImportBatch
from backend.core.tenancy import acting_for
from backend.db.reads import Reads
from backend.db.sql import ColumnNotRead
from backend.drift.models import DetectionRun, DriftEvent, DriftTest
from backend.payers.models import Payer, ProcedureGroup
from schema.build import core_schema
from schema.declare import column, to_one
from schema.execution.compiled.plan import Document, ObjectPlan
from schema.execution.core import columns_of, row_model
from schema.loaders.request import Loaders
from schema.relay.ids import encode_id
from tests import factories as make
from tests.api import Api
from tests.threads import in_thread
from tests.unit.both_executors import operation_of

compiled = pytest.mark.parametrize("way", ["compiled"], indirect=True)


def _columns(document: str, schema: GraphQLSchema | None = None, **conditions: bool) -> dict[type[Model], set[str]]:
    """What is read of the rows of each model."""
    schema = schema or core_schema()
    operation, fragments = operation_of(parse(document))
    assert schema.query_type is not None
    plan = ObjectPlan(Document(schema, fragments, conditions), schema.query_type, [operation.selection_set])
    return {model: set(columns) for model, columns in plan.columns.items()}


def _row_fields() -> Iterator[tuple[GraphQLObjectType, str, type[Model]]]:
    for kind in core_schema().type_map.values():
        if isinstance(kind, GraphQLObjectType) and (model := row_model(kind)):
            for name in kind.fields:
                yield kind, name, model


def test_every_field_of_a_row_says_what_it_reads() -> None:
    """Where one does not, such as a resolver, whoever selects it has all columns read."""
    silent = set()
    for kind, name, model in _row_fields():
        columns = columns_of(kind.fields[name])
        attributes = {field.attname for field in model._meta.concrete_fields}
        if columns is None or not attributes.issuperset(columns):
            silent.add(f"{kind}.{name}")

    assert silent == {"AgentRunProgress.cursor"}  # of a subscription, whose rows no loader reads


@pytest.mark.parametrize(
    ("document", "model", "columns"),
    [
        ("{ driftEvents { nodes { delta } } }", DriftEvent, {"delta"}),
        ("{ driftEvents { totalCount } }", DriftEvent, set()),
        ("{ driftEvents { nodes { __typename } } }", DriftEvent, set()),
        ("{ driftEvents { edges { node { money: revenueAtRisk30d } } } }", DriftEvent, {"revenue_at_risk_30d_cents"}),
        ("{ driftEvents { nodes { evidence { topProcedures { code } } } } }", DriftEvent, {"evidence"}),
        ("{ driftEvents { nodes { payer { id } group { id } } } }", DriftEvent, {"payer_id", "group_id"}),
        ("{ driftEvents { nodes { payer { id } group { id } } } }", Payer, set()),
        # Wherever rows of a model stand, they are read with the columns of all positions.
        (
            "{ driftEvents { nodes { delta parent { n0 children { nodes { harmful } } } } } }",
            DriftEvent,
            {"delta", "parent_id", "n0", "harmful"},
        ),
        (
            "{ one: driftEvents { nodes { delta payer { name } } } two: payers { nodes { code } } }",
            Payer,
            {"name", "code"},
        ),
        # Figures that small counts hide.
        (
            '{ driftTests(detectionRunId: "x") { nodes { effect } } }',
            DriftTest,
            {"effect", "n0", "n1", "x0", "x1"},
        ),
        ('{ driftTests(detectionRunId: "x") { nodes { suppressed } } }', DriftTest, {"n0", "n1", "x0", "x1"}),
        ("{ importBatches { nodes { dateMin } } }", ImportBatch, {"date_min", "rows_total"}),
        # A value of several columns.
        ("{ detectionRuns { nodes { durationMs q } } }", DetectionRun, {"started_at", "finished_at", "q"}),
        # Fragments, on the type and on its interface, inline and spread, one of them twice.
        (
            '{ node(id: "x") { id ... on DriftEvent { delta payer { kind } } ... on Payer { name } } }',
            Payer,
            {"name", "kind"},
        ),
        ('{ node(id: "x") { id ... on Payer { name } } }', DriftEvent, set()),
        (
            """{ node(id: "x") { ...A } nodes(ids: []) { ...A } }
               fragment A on Node { id ...B ...B } fragment B on Payer { code }""",
            Payer,
            {"code"},
        ),
        (
            """{ driftEvents { nodes { ...A } } }
               fragment A on Node { ... on DriftEvent { ...B } } fragment B on DriftEvent { unit }""",
            DriftEvent,
            {"unit"},
        ),
    ],
)
def test_columns_are_those_of_all_selections(document: str, model: type[Model], columns: set[str]) -> None:
    assert _columns(document)[model] == {"id", *columns}


def test_conditions_decide_what_is_read() -> None:
    document = """query($a: Boolean!, $b: Boolean!) { driftEvents { nodes {
      id delta @include(if: $a) ... @skip(if: $b) { n0 } ...More @include(if: $b) } } }
      fragment More on DriftEvent { n1 payer { name } }"""

    assert _columns(document, a=True, b=False) == {DriftEvent: {"id", "delta", "n0"}}
    assert _columns(document, a=False, b=True) == {DriftEvent: {"id", "n1", "payer_id"}, Payer: {"id", "name"}}


@strawberry_django.type(ProcedureGroup, name="Group")
class _Group:
    code: str = column("Code.", "code")
    of_row: str = column("No column, but a property.", "pk")

    @strawberry.field
    @staticmethod
    def shout(root: strawberry.Parent[ProcedureGroup]) -> str:
        return root.name.upper()


@strawberry_django.type(Claim, name="Line")
class _Line:
    group: _Group = to_one("Group.", "group_id", ProcedureGroup)


@strawberry.type
class _Query:
    line: _Line


def test_a_field_that_does_not_say_what_it_reads_has_all_columns_read() -> None:
    schema = strawberry.Schema(_Query)._schema

    assert _columns("{ line { group { code } } }", schema)[ProcedureGroup] == {"id", "code"}
    for silent in ("shout", "ofRow"):
        found = _columns(f"{{ line {{ group {{ code {silent} }} }} }}", schema)
        assert found == {Claim: {"id", "group_id"}}


def _claims(organization: Organization) -> uuid.UUID:
    with acting_for(organization.id):
        code = make.procedure(organization, make.group(organization))
        return make.claim(make.payer(organization), code, make.batch(organization), 1).pk


@compiled
async def test_what_is_not_selected_of_a_claim_is_not_read(organization: Organization, api: Api) -> None:
    key = encode_id("CL", await in_thread(_claims, organization))

    for document in (
        "{ claims(first: 5) { nodes { lineNo payer { name } } } }",
        f'{{ node(id: "{key}") {{ ... on Claim {{ lineNo payer {{ name }} }} }} }}',
        f'{{ nodes(ids: ["{key}"]) {{ ... on Claim {{ lineNo payer {{ name }} }} }} }}',
    ):
        answer = await api(document)
        texts = " ".join(answer.statements)

        for name in ("claim_key", "billed_cents", "decided_on", "denial_carc", "patient"):
            assert f'"claim"."{name}' not in texts
        assert '"claim"."line_no"' in texts
        assert '"payer"."name"' in texts
        assert '"payer"."code"' not in texts
    assert '"claim"."claim_key"' in " ".join((await api("{ claims { nodes { reference } } }")).statements)


def _nested(organization: Organization) -> None:
    with acting_for(organization.id):
        run = make.detection_run(organization)
        payer, group = make.payer(organization), make.group(organization)
        parent = make.drift_event(payer, run)
        make.drift_event(payer, run, group=group, parent=parent)


@compiled
async def test_positions_of_one_model_share_a_statement(organization: Organization, api: Api) -> None:
    """They differ in what is selected."""
    await in_thread(_nested, organization)

    answer = await api(
        """{ driftEvents(first: 5) { nodes { payer { name } firstRun { asOf } again: firstRun { q } lastRun { kind } } }
             one: payers(first: 5) { nodes { code } } two: payers(first: 5) { nodes { kind } } }"""
    )

    assert answer.errors == []
    by_table = [text.partition(' FROM "')[2].partition('"')[0] for text in answer.statements]
    assert sorted(by_table) == ["detection_run", "drift_event", "payer", "payer", "payer"]


@compiled
async def test_cursors_are_made_of_columns_that_are_not_selected(organization: Organization, api: Api) -> None:
    await in_thread(_nested, organization)
    document = """query($order: DriftEventOrder!, $after: String) {
        driftEvents(orderBy: $order, first: 1, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } }"""

    for order in ("REVENUE_AT_RISK_DESC", "SEVERITY_DESC", "FIRST_SEEN_DESC"):
        one = await api.data(document, order=order)
        two = await api.data(document, order=order, after=one["driftEvents"]["pageInfo"]["endCursor"])

        ids = [page["driftEvents"]["nodes"][0]["id"] for page in (one, two)]
        assert len(set(ids)) == 2
        assert two["driftEvents"]["pageInfo"]["hasNextPage"] is False


def _metrics(organization: Organization) -> uuid.UUID:
    with acting_for(organization.id):
        run = make.agent_run(make.agent(organization))
        make.agent_metric(run)
        return run.pk


@compiled
async def test_the_rows_of_a_short_list_find_their_parent(organization: Organization, api: Api) -> None:
    run = encode_id("RU", await in_thread(_metrics, organization))

    answer = await api(f'{{ agentRun(id: "{run}") {{ metrics {{ name }} agent {{ trend {{ branch }} }} }} }}')

    assert answer.errors == []
    assert [metric["name"] for metric in answer.data["agentRun"]["metrics"]] == ["coverage.line"]
    assert '"agent_metric"."value"' not in " ".join(answer.statements)
    assert '"agent_run"."commit"' not in " ".join(answer.statements)


@pytest.fixture
async def loaders(reads: Reads, organization: Organization) -> AsyncIterator[Loaders]:
    async with reads.snapshot(organization.id) as snapshot:
        yield Loaders(snapshot, lambda _model, _keys: None)


def _payer(organization: Organization) -> Payer:
    with acting_for(organization.id):
        return make.payer(organization)


async def test_a_column_that_was_not_read_is_an_error(organization: Organization, loaders: Loaders) -> None:
    payer = await in_thread(_payer, organization)

    row = await loaders.row(Payer, payer.id, ("id", "code"))

    assert (row.id, row.code, row) == (payer.id, payer.code, payer)
    with pytest.raises(ColumnNotRead, match="Payer: name"):
        _ = row.name
    with pytest.raises(ColumnNotRead, match="Payer: organization_id"):
        _ = row.organization
    with pytest.raises(ColumnNotRead):
        await in_thread(row.refresh_from_db)  # nor on a thread, where Django would read it
    assert len(loaders.snapshot.statements) == 1


async def test_who_needs_all_columns_gets_them_beside_who_needs_few(
    organization: Organization, loaders: Loaders
) -> None:
    payer = await in_thread(_payer, organization)

    few = await loaders.row(Payer, payer.id, ("id",))
    whole = await loaders.row(Payer, payer.id)
    again = await loaders.row(Payer, payer.id, ("id",))

    assert whole.name == payer.name
    assert set(vars(few)) & {"name", "code"} == set()
    assert again is few
    assert len(loaders.snapshot.statements) == 2
