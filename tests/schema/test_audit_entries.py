"""The audit trail as the API shows it: who may read it, its filters, its pages, and what nobody may see in it."""

import uuid
from typing import Any

import pytest

from backend.accounts.models import Organization
from backend.core.actor import Actor, Role
from backend.core.tenancy import acting_for, write
from backend.payers.models import Payer
from schema.relay.ids import encode_id
from tests import factories as make
from tests.api import Api
from tests.threads import in_thread

PERSON, TOKEN = uuid.uuid4(), uuid.uuid4()
_PAGE = "query($filter: AuditEntryFilter, $last: Int) { auditEntries(filter: $filter, last: $last)"


def _acts(organization: Organization) -> Payer:
    """A payer is made, renamed by a person with a token and a purpose, and removed by the product."""
    owner = make.owner(organization)
    asks: dict[str, Any] = {"role": Role.ANALYST, "purpose": "PAYMENT", "request_id": "r7", "operation_name": "Map"}
    person = Actor(organization_id=organization.id, user_id=PERSON, token_id=TOKEN, **asks)
    with write(owner):
        payer = make.payer(organization)
    with write(person):
        Payer.objects.filter(id=payer.id).update(name="Unmistakable")
    with write(Actor.system(organization.id, "job:tidy")):
        Payer.objects.filter(id=payer.id).delete()
    return payer


async def test_an_entry_says_who_did_what_to_which(organization: Organization, api: Api) -> None:
    payer = await in_thread(_acts, organization)

    fields = (
        "actor token role action objectType objectKeys objectCount objectsDigest fieldNames claimLevel operationName"
        " documentHash outcome purpose requestId"
    )
    data = await api.data(f"{_PAGE} {{ nodes {{ {fields} }} }} }}", filter={"requestId": {"eq": "r7"}})

    assert data["auditEntries"]["nodes"] == [
        {
            "actor": encode_id("US", PERSON),
            "token": encode_id("TK", TOKEN),
            "role": "ANALYST",
            "action": "update",
            "objectType": "payer",
            "objectKeys": [str(payer.id)],
            "objectCount": 1,
            "objectsDigest": None,
            "fieldNames": ["payer.name"],
            "claimLevel": False,
            "operationName": "Map",
            "documentHash": None,
            "outcome": "OK",
            "purpose": "PAYMENT",
            "requestId": "r7",
        }
    ]


@pytest.mark.parametrize(
    ("condition", "actions"),
    [
        ({}, ["delete", "update", "insert"]),
        ({"actor": {"eq": encode_id("US", PERSON)}}, ["update"]),
        ({"actor": {"isNull": True}}, ["delete", "insert"]),
        ({"token": {"in": [encode_id("TK", TOKEN)]}}, ["update"]),
        ({"action": {"in": ["insert", "delete"]}}, ["delete", "insert"]),
        ({"field": "payer.name"}, ["update"]),
        ({"field": "payer.code"}, []),
        ({"at": {"lt": "2001-01-01T00:00:00Z"}}, []),
        ({"at": {"gte": "2001-01-01T00:00:00Z"}, "outcome": {"eq": "OK"}}, ["delete", "update", "insert"]),
        ({"claimLevel": {"eq": True}}, []),
        ({"not": {"field": "payer.name"}}, ["delete", "insert"]),
        ({"or": [{"requestId": {"eq": "job:tidy"}}, {"operationName": {"eq": "Map"}}]}, ["delete", "update"]),
    ],
)
async def test_filters(organization: Organization, api: Api, condition: dict[str, Any], actions: list[str]) -> None:
    await in_thread(_acts, organization)

    only = {"and": [{"objectType": {"eq": "payer"}}, condition]}
    data = await api.data(f"{_PAGE} {{ totalCount nodes {{ action }} }} }}", filter=only)

    assert [node["action"] for node in data["auditEntries"]["nodes"]] == actions
    assert data["auditEntries"]["totalCount"] == len(actions)


async def test_an_object_is_found_by_its_id(organization: Organization, api: Api) -> None:
    payer = await in_thread(_acts, organization)

    data = await api.data(f"{_PAGE} {{ nodes {{ action }} }} }}", filter={"object": encode_id("PY", payer.id)})
    other = await api.data(f"{_PAGE} {{ nodes {{ action }} }} }}", filter={"object": encode_id("PY", uuid.uuid4())})
    malformed = await api(f"{_PAGE} {{ nodes {{ action }} }} }}", filter={"object": "x"})

    assert [node["action"] for node in data["auditEntries"]["nodes"]] == ["delete", "update", "insert"]
    assert other["auditEntries"]["nodes"] == []
    assert malformed.codes == ["BAD_USER_INPUT"]


async def test_the_oldest_entries_are_the_last_page(organization: Organization, api: Api) -> None:
    await in_thread(_acts, organization)

    page = "{ edges { cursor node { id action } } pageInfo { hasPreviousPage } } }"
    data = (await api.data(f"{_PAGE} {page}", filter={"objectType": {"eq": "payer"}}, last=1))["auditEntries"]

    [edge] = data["edges"]
    assert (edge["node"]["action"], data["pageInfo"]["hasPreviousPage"]) == ("insert", True)
    again = await api.data("query($id: ID!) { node(id: $id) { ... on AuditEntry { action } } }", id=edge["node"]["id"])
    assert again["node"] == {"action": "insert"}


@pytest.mark.parametrize("role", list(Role))
async def test_only_some_roles_read_the_trail(organization: Organization, api: Api, role: Role) -> None:
    answer = await api.as_(Actor(organization_id=organization.id, role=role))("{ auditEntries { totalCount } }")

    allowed = role in (Role.OWNER, Role.ADMIN, Role.AUDITOR)
    assert answer.codes == ([] if allowed else ["FORBIDDEN"])


async def test_reading_the_trail_is_accounted_for(organization: Organization, api: Api) -> None:
    await in_thread(_acts, organization)

    first = await api.data("{ auditEntries(first: 2) { nodes { id } } }")
    second = await api.data(
        f"{_PAGE} {{ nodes {{ objectType objectCount claimLevel }} }} }}", filter={"action": {"eq": "read"}}
    )

    assert len(first["auditEntries"]["nodes"]) == 2
    assert second["auditEntries"]["nodes"] == [{"objectType": "audit_entry", "objectCount": 2, "claimLevel": False}]


async def test_another_organization_is_not_in_it(
    organization: Organization, other_organization: Organization, api: Api
) -> None:
    await in_thread(_acts, other_organization)

    data = await api.data("{ auditEntries { nodes { objectType } } }")

    assert data["auditEntries"]["nodes"] == [{"objectType": "organization"}]


async def test_an_act_of_the_databases_administrators_has_no_role(organization: Organization, api: Api) -> None:
    def change() -> None:
        with acting_for(organization.id):
            make.payer(organization)

    await in_thread(change)

    data = await api.data(f"{_PAGE} {{ nodes {{ role }} }} }}", filter={"objectType": {"eq": "payer"}})
    assert data["auditEntries"]["nodes"] == [{"role": None}]
