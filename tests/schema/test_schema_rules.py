"""Rules that the whole schema keeps: descriptions, rights, orders with their index, isolation of every root field."""

import dataclasses
import re
import uuid
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.db import models
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    is_introspection_type,
    is_specified_scalar_type,
)

from backend.accounts.models import Organization
from backend.core.actor import Actor, Right, Role
from backend.core.constraints import OrderIndex
from backend.core.tenancy import acting_for
from schema.build import build_schema
from schema.declarations import ChildPage, ChildTop, RootPage
from schema.declared_field import DeclaredField
from schema.mutation_root import MUTATIONS
from schema.queries import Query
from schema.relay.ids import encode_id
from schema.relay.node import NodeKinds
from tests import factories as make
from tests.api import Api
from tests.factories import every_node
from tests.threads import in_thread


def _own_types() -> list[GraphQLNamedType]:
    found = build_schema()._schema.type_map.values()
    return [kind for kind in found if not is_introspection_type(kind) and not is_specified_scalar_type(kind)]


def _undescribed(kind: GraphQLNamedType) -> list[str]:
    missing = [] if kind.description else [kind.name]
    if isinstance(kind, GraphQLEnumType):
        missing += [f"{kind.name}.{name}" for name, value in kind.values.items() if not value.description]
    if isinstance(kind, (GraphQLObjectType, GraphQLInterfaceType, GraphQLInputObjectType)):
        for name, field in kind.fields.items():
            missing += [] if field.description else [f"{kind.name}.{name}"]
            arguments = getattr(field, "args", {})
            missing += [f"{kind.name}.{name}({arg}:)" for arg, a in arguments.items() if not a.description]
    return missing


def test_everything_is_described() -> None:
    assert [name for kind in _own_types() for name in _undescribed(kind)] == []


def test_the_tools_of_front_ends_know_every_type_without_an_id() -> None:
    """As graphql-eslint's rule wants it, which runs only where Node is; also for types that are there no more."""
    configuration = (settings.BASE_DIR / "tests/tooling/eslint.config.mjs").read_text()
    [listed] = re.findall(r"VALUE_TYPES = \[(.*?)\]", configuration, re.DOTALL)
    roots = {"Query", "Mutation", "Subscription"}
    parts = {
        kind.name
        for kind in _own_types()
        if isinstance(kind, GraphQLObjectType) and "id" not in kind.fields and kind.name not in roots
        if not kind.name.endswith(("Payload", "Connection", "Edge"))
    }

    assert re.findall(r"'(\w+)'", listed) == sorted(parts)


def test_descriptions_are_sentences() -> None:
    texts = [kind.description for kind in _own_types() if kind.description]

    assert [text for text in texts if not text.rstrip().endswith((".", ")"))] == []


def test_every_root_field_and_mutation_declares_its_right() -> None:
    roots = [Query, *MUTATIONS]
    fields = [field for root in roots for field in root.__strawberry_definition__.fields]

    undeclared = [field.name for field in fields if "right" not in field.metadata]
    open_to_all = [field.name for field in fields if field.metadata.get("right") is None]
    assert undeclared == []
    assert sorted(open_to_all) == ["cost", "node", "nodes", "viewer"]  # nothing is read, or by the right of each type


def test_every_mutation_takes_an_idempotency_key() -> None:
    mutation = build_schema()._schema.mutation_type
    assert mutation is not None

    without = [
        name
        for name, field in mutation.fields.items()
        if "idempotencyKey" not in field.args["input"].type.of_type.fields
    ]

    assert without == []


def _list_sources() -> list[Any]:
    found: dict[str, Any] = {}
    for kind in build_schema().schema_converter.type_map.values():
        for field in getattr(kind.definition, "fields", []):
            if isinstance(field, DeclaredField) and isinstance(field.declaration, (ChildPage, ChildTop, RootPage)):
                found[field.declaration.source.key] = field.declaration.source
    return list(found.values())


def _serves(index: Any, wanted: list[str]) -> bool:
    return list(index.fields) == wanted


def test_every_order_has_its_index() -> None:
    missing = []
    for source in _list_sources():
        for member in source.orders:
            order = member.value
            sign = "-" if order.descending else ""
            parent = [source.parent.removesuffix("_id")] if source.parent else []
            wanted = ["organization", *parent, *(sign + column for column in order.columns), f"{sign}id"]
            indexes = [index for index in source.model._meta.indexes if isinstance(index, OrderIndex)]
            by_id = not order.columns and not parent  # the unique (organization, id) serves it
            if not by_id and not any(_serves(index, wanted) for index in indexes):
                missing.append((source.key, order.name, wanted))

    assert missing == []


def test_sort_columns_are_never_null() -> None:
    nullable = []
    for source in _list_sources():
        for member in source.orders:
            for column in member.value.columns:
                field = source.model._meta.get_field(column)
                if field.null and not isinstance(field, models.GeneratedField):
                    nullable.append((source.key, column))

    assert nullable == []


def test_every_tenant_model_is_covered_by_a_factory_or_named_here() -> None:
    tenant_models = {model.__name__ for model in apps.get_models() if hasattr(model, "organization_id")}

    assert {"Claim", "DriftEvent", "AgentRun", "AuditEntry", "OutcomeCount"} <= tenant_models


async def test_no_node_of_another_organization_is_found(
    organization: Organization, other_organization: Organization, api: Api
) -> None:
    foreign = await in_thread(every_node, other_organization)
    own = await in_thread(every_node, organization)

    assert set(own) == set(NodeKinds.by_tag)
    document = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }"
    theirs = await api.data(document, ids=[encode_id(tag, key) for tag, key in foreign.items()])
    ours = await api.data(document, ids=[encode_id(tag, key) for tag, key in own.items()])
    assert theirs["nodes"] == [None] * len(foreign)
    assert [node["__typename"] for node in ours["nodes"]] == [NodeKinds.by_tag[tag].type_name for tag in own]


def _list_fields() -> list[str]:
    query = build_schema()._schema.query_type
    assert query is not None
    others = ("auditEntries", "driftTests")  # in test_audit_entries.py: it is never empty; one run's alone
    return [name for name, field in query.fields.items() if "first" in field.args and name not in others]


@pytest.mark.parametrize("field", _list_fields())
async def test_no_list_shows_rows_of_another_organization(
    organization: Organization, other_organization: Organization, api: Api, field: str
) -> None:
    await in_thread(every_node, other_organization)
    document = f"{{ {field} {{ totalCount nodes {{ id }} }} }}"

    theirs = Actor(organization_id=other_organization.id, role=Role.OWNER)
    assert (await api.data(document))[field] == {"totalCount": 0, "nodes": []}
    assert (await api.as_(theirs).data(document))[field]["totalCount"] == 1


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        (Role.OWNER, True),
        (Role.ANALYST, True),
        (Role.VIEWER, False),
        (Role.AUDITOR, False),
        (Role.SERVICE, False),
    ],
)
async def test_claims_are_read_by_the_roles_of_the_matrix(
    organization: Organization, api: Api, role: Role, allowed: bool
) -> None:
    answer = await api.as_(Actor(organization_id=organization.id, role=role))("{ claims { totalCount } }")

    assert answer.codes == ([] if allowed else ["FORBIDDEN"])


async def test_a_token_may_do_what_its_scopes_say(organization: Organization, api: Api) -> None:
    token = Actor(
        organization_id=organization.id, role=Role.SERVICE, token_id=uuid.uuid4(), scopes=frozenset({Right.CLAIMS_READ})
    )

    assert (await api.as_(token)("{ claims { totalCount } }")).codes == []
    assert (await api.as_(token)("{ driftEvents { totalCount } }")).codes == ["FORBIDDEN"]


_OF_IMPORTS = ({"importBatches", "dataQuality"}, {"IB", "II", "QR"})
_OF_RUNS = ({"detectionRuns"}, {"DR", "DT"})
_OF_AGENTS = ({"agents", "agentRuns", "findings"}, {"AG", "RU", "FI", "FS", "AM"})
_OF_READERS = ({"alerts", "driftEvents", "payers"}, {"AL", "AR", "DE", "DO", "PC", "PG", "PY"})


@pytest.mark.parametrize(
    ("scope", "lists", "tags"),
    [
        (
            Right.READ,
            _OF_READERS[0] | _OF_IMPORTS[0] | _OF_RUNS[0],
            (_OF_READERS[1] | _OF_IMPORTS[1] | _OF_RUNS[1]) - {"II"},
        ),
        (Right.IMPORT, *_OF_IMPORTS),
        (Right.DETECT, *_OF_RUNS),
        (Right.CLAIMS_READ, {"claims"}, {"CL"}),
        (Right.AGENTS_READ, *_OF_AGENTS),
        (Right.AGENTS_WRITE, set(), set()),
    ],
)
async def test_a_scope_alone_reads_what_its_work_is_about_and_nothing_else(
    organization: Organization, api: Api, scope: Right, lists: set[str], tags: set[str]
) -> None:
    keys = await in_thread(every_node, organization)
    token = Actor(organization_id=organization.id, role=Role.SERVICE, token_id=uuid.uuid4(), scopes=frozenset({scope}))
    scoped = api.as_(token)

    shown = {field for field in _list_fields() if not (await scoped(f"{{ {field} {{ totalCount }} }}")).errors}
    ids = [encode_id(tag, key) for tag, key in keys.items()]
    found = await scoped("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=ids)
    alone = [await scoped("query($id: ID!) { node(id: $id) { id } }", id=one) for one in ids]
    tests = await scoped(
        "query($id: ID!) { driftTests(detectionRunId: $id) { totalCount } }", id=ids[list(keys).index("DR")]
    )

    assert shown == lists
    assert {tag for tag, node in zip(keys, found.data["nodes"], strict=True) if node} == tags
    assert {tag for tag, one in zip(keys, alone, strict=True) if not one.errors} == tags
    assert (not tests.errors) is ("DT" in tags)


async def test_the_viewer_field_says_who_asks(organization: Organization, api: Api) -> None:
    data = await api.data("{ viewer { role rights organization { name timezone } } }")

    assert data["viewer"]["role"] == "OWNER"
    assert "claims:read" in data["viewer"]["rights"]
    assert data["viewer"]["organization"] == {"name": organization.name, "timezone": "UTC"}


@pytest.mark.parametrize("way", ["compiled", "reference"], indirect=True)
async def test_a_bug_is_masked(api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    patient = "Jane"

    def explode(*_: object) -> None:
        raise ValueError(f"patient {patient} Roe")

    monkeypatch.setattr("schema.declared_field.root_page", explode)

    answer = await api("{ driftEvents { totalCount } }")

    assert answer.codes == ["INTERNAL"]
    assert patient not in str(answer.errors)
    assert patient not in caplog.text
    assert "request test failed: ValueError" in caplog.text


async def test_an_object_is_found_again_with_the_right_to_read_its_type(
    organization: Organization, api: Api, actor: Actor
) -> None:
    def prepare() -> tuple[str, str]:
        with acting_for(organization.id):
            run = make.agent_run(make.agent(organization))
            return encode_id("RU", run.id), encode_id("PY", make.payer(organization).id)

    run, payer = await in_thread(prepare)
    scoped = api.as_(dataclasses.replace(actor, role=Role.SERVICE, scopes=frozenset({Right.AGENTS_READ})))

    query = "query($id: ID!) { node(id: $id) { id } nodes(ids: [$id]) { id } }"
    assert await scoped.data(query, id=run) == {"node": {"id": run}, "nodes": [{"id": run}]}
    refused = await scoped(query, id=payer)
    assert (refused.data, set(refused.codes)) == ({"node": None, "nodes": [None]}, {"FORBIDDEN"})
    both = await scoped("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=[payer, run])
    assert (both.data, both.codes) == ({"nodes": [None, {"id": run}]}, ["FORBIDDEN"])
    nobody = await api.as_(None)(query, id=run)
    assert set(nobody.codes) == {"UNAUTHENTICATED"}


@pytest.mark.parametrize(
    ("part", "times", "refused"),
    [
        ("...{viewer{role}}", 50, False),
        ("...{viewer{role}}", 51, True),
        ("viewer{role}", 280, True),
        ("role", 9, False),
    ],
)
async def test_a_field_is_repeated_only_so_often(
    organization: Organization, api: Api, part: str, times: int, refused: bool
) -> None:
    body = part * times if part != "role" else f"viewer {{ {'role ' * times} }}"

    answer = await api(f"{{ {body} }}")

    assert (answer.errors != []) is refused
    if refused:
        assert "DRIFTGRAPH_MAX_QUERY_REPEATS" in answer.errors[0]["message"]
