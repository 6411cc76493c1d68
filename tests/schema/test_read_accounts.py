"""The account of a read: what is recorded, by every way of execution alike, and that nothing is shown without it."""

import dataclasses
import hashlib
import uuid
from typing import Any

import psycopg
import pytest

from backend.accounts.models import Organization
from backend.audit.models import AuditEntry
from backend.core.actor import Actor, Role
from backend.core.tenancy import acting_for
from backend.db.reads import Reads
from backend.db.writes import WriteThreads
from schema.relay.ids import encode_id
from tests import factories as make
from tests import server
from tests.api import Api
from tests.scratch import ORGANIZATION, scratch_database
from tests.threads import in_thread


def _claims(organization: Organization, number: int = 3) -> list[uuid.UUID]:
    with acting_for(organization.id):
        payer = make.payer(organization)
        code = make.procedure(organization, make.group(organization))
        source = make.batch(organization)
        make.import_issue(source)
        return [make.claim(payer, code, source, one).id for one in range(number)]


def _accounts(organization: Organization) -> list[dict[str, Any]]:
    kept = ("object_type", "object_ids", "object_count", "objects_digest", "fields", "fields_phi", "outcome")
    with acting_for(organization.id):
        return list(AuditEntry.objects.filter(action="read").order_by("id").values(*kept))


def _account(keys: list[uuid.UUID], *fields: str, **others: Any) -> dict[str, Any]:
    return {
        "object_type": "claim",
        "object_ids": sorted(keys),
        "object_count": len(keys),
        "objects_digest": None,
        "fields": sorted(fields),
        "fields_phi": True,
        "outcome": "OK",
        **others,
    }


async def test_a_page_of_claims_is_accounted_for(organization: Organization, api: Api) -> None:
    keys = await in_thread(_claims, organization)

    document = "query Look { claims(first: 2, orderBy: DECIDED_ON_DESC) { edges { node { billed outcome lineNo } } } }"
    answer = await api(document)

    assert answer.errors == []
    [entry] = await in_thread(_accounts, organization)
    assert entry == _account(entry["object_ids"], "Claim.billed", "Claim.outcome", object_count=2)
    assert set(entry["object_ids"]) < set(keys)


@pytest.mark.parametrize(
    ("selection", "seen", "fields"),
    [
        ("claims { totalCount }", 0, ()),
        ("claims { pageInfo { hasNextPage } }", 0, ()),
        ("claims { pageInfo { endCursor } }", 3, ()),
        ("claims { nodes { __typename } }", 3, ()),
        ("claims { edges { node { paidOn } } } again: claims(first: 1) { nodes { id } }", 3, ("Claim.paidOn",)),
        ("claims(first: 0) { nodes { billed } }", 0, ("Claim.billed",)),
        ("claims(last: 1) { nodes { billed @skip(if: true) reference @include(if: true) } }", 1, ("Claim.reference",)),
        ("payers { totalCount } claims { nodes { payer { name } } }", 3, ()),
    ],
)
async def test_what_counts_as_shown(
    organization: Organization, api: Api, selection: str, seen: int, fields: tuple[str, ...]
) -> None:
    await in_thread(_claims, organization)

    await api.data(f"{{ {selection} }}")

    [entry] = await in_thread(_accounts, organization)
    assert (entry["object_count"], entry["fields"]) == (seen, list(fields))


async def test_what_an_error_took_is_not_shown(organization: Organization, api: Api) -> None:
    """The page of claims was there before another root field took all of the answer."""
    await in_thread(_claims, organization)

    answer = await api("{ claims(first: 1) { nodes { billed } } payers(first: 101) { nodes { code } } }")

    assert answer.data is None
    [entry] = await in_thread(_accounts, organization)
    assert entry == _account([], "Claim.billed", outcome="ERROR")


async def test_an_object_by_its_id_is_accounted_for(organization: Organization, api: Api) -> None:
    keys = await in_thread(_claims, organization)

    for field in ("node(id: $id) { ... on Claim { billed } }", "nodes(ids: [$id]) { ... on Claim { billed } }"):
        await api.data(f"query($id: ID!) {{ {field} }}", id=encode_id("CL", keys[0]))

    expected = _account(keys[:1], "Claim.billed")
    assert await in_thread(_accounts, organization) == [expected, expected]


async def test_other_reads_leave_no_entry(organization: Organization, api: Api) -> None:
    keys = await in_thread(_claims, organization)

    await api.data("{ payers { nodes { name } } importBatches { nodes { rowsTotal } } viewer { role } }")
    await api.data("query($id: ID!) { node(id: $id) { id __typename } }", id=encode_id("CL", keys[0]))
    await api.data("query($no: Boolean!) { claims @include(if: $no) { nodes { billed } } viewer { role } }", no=False)

    assert await in_thread(_accounts, organization) == []


async def test_rows_below_others_are_accounted_for(organization: Organization, api: Api) -> None:
    await in_thread(_claims, organization)

    await api.data("{ importBatches { nodes { issues { nodes { rule } } } } }")

    [entry] = await in_thread(_accounts, organization)
    assert (entry["object_type"], entry["object_count"], entry["fields_phi"]) == ("import_issue", 1, False)


@pytest.mark.parametrize("of_page", ["totalCount", "pageInfo { hasNextPage }"])
@pytest.mark.parametrize(
    ("document", "table"),
    [
        ("{ importBatches { nodes { issues { %s } } } }", "import_issue"),
        ('{ auditEntries(filter: { action: { eq: "none of that name" } }) { %s } }', "audit_entry"),
    ],
)
async def test_how_many_there_are_is_accounted_for_without_one_of_them(
    organization: Organization, api: Api, document: str, table: str, of_page: str
) -> None:
    await in_thread(_claims, organization)

    await api.data(document % of_page)

    [entry] = await in_thread(_accounts, organization)
    assert (entry["object_type"], entry["object_count"], entry["outcome"]) == (table, 0, "OK")


async def test_more_than_a_hundred_objects_are_a_digest(organization: Organization, api: Api) -> None:
    keys = await in_thread(_claims, organization, 101)

    await api.data("{ a: claims(first: 100) { nodes { id } } b: claims(last: 100) { nodes { id } } }")

    [entry] = await in_thread(_accounts, organization)
    digest = hashlib.sha256(b"".join(sorted(key.bytes for key in keys))).digest()
    assert (entry["object_ids"], entry["object_count"], bytes(entry["objects_digest"])) == ([], 101, digest)


async def test_who_asked_with_which_document_is_recorded(organization: Organization, api: Api) -> None:
    await in_thread(_claims, organization)
    who = Actor(
        organization_id=organization.id,
        role=Role.ANALYST,
        user_id=uuid.uuid4(),
        purpose="PAYMENT",
        request_id="r1",
        operation_name="Look",
    )

    document = "query Look { claims { nodes { billed } } }"
    await api.as_(who).data(document)

    def found() -> AuditEntry:
        with acting_for(organization.id):
            return AuditEntry.objects.get(action="read")

    entry = await in_thread(found)
    assert (entry.actor_id, entry.actor_role, entry.purpose) == (who.user_id, "ANALYST", "PAYMENT")
    assert (entry.request_id, entry.operation_name) == ("r1", "Look")
    assert bytes(entry.document_hash or b"") == hashlib.sha256(document.encode()).digest()


async def test_a_refused_read_is_recorded_as_denied(organization: Organization, api: Api) -> None:
    await in_thread(_claims, organization)
    viewer = Actor(organization_id=organization.id, role=Role.VIEWER)

    answer = await api.as_(viewer)("{ claims { nodes { billed } } }")

    assert answer.codes == ["FORBIDDEN"]
    assert await in_thread(_accounts, organization) == [_account([], "Claim.billed", outcome="DENIED")]


def _refusals(organization: Organization) -> list[tuple[str, list[str], str, str]]:
    with acting_for(organization.id):
        found = AuditEntry.objects.filter(action="refuse").order_by("id")
        return list(found.values_list("outcome", "fields", "object_type", "operation_name"))


_MAP = 'mutation Look { payerMap(input: {rawName: "a", payerCode: "b"}) { userErrors { code } } }'


@pytest.mark.parametrize(
    ("document", "coordinates"),
    [
        ("query Look { ...More payers { totalCount } } fragment More on Query { claims { totalCount } }", ["claims"]),
        ("query Look($id: ID!) { a: nodes(ids: [$id, $id]) { id } viewer { role } }", ["nodes"]),
        ("query Look($id: ID!) { a: node(id: $id) { id } b: node(id: $id) { id } nodes(ids: [$id]) { id } }", None),
        (_MAP, ["payerMap"]),
    ],
)
async def test_what_an_operation_was_refused_is_one_entry(
    organization: Organization, api: Api, document: str, coordinates: list[str] | None
) -> None:
    viewer = Actor(organization_id=organization.id, role=Role.VIEWER, operation_name="Look")
    variables = {"id": encode_id("AE", uuid.uuid4())} if "$id" in document else {}

    answer = await api.as_(viewer)(document, **variables)

    kind = "Mutation" if document == _MAP else "Query"
    named = [f"{kind}.{one}" for one in coordinates or ("node", "nodes")]
    assert set(answer.codes) == {"FORBIDDEN"}
    assert await in_thread(_refusals, organization) == [("DENIED", named, "", "Look")]


def _failures(organization: Organization) -> list[tuple[Any, ...]]:
    with acting_for(organization.id):
        found = AuditEntry.objects.filter(outcome="ERROR").order_by("id")
        return list(found.values_list("action", "object_type", "actor_id", "operation_name", "request_id"))


@pytest.mark.parametrize("key", [None, "build 7"])
async def test_a_mutation_that_fails_is_recorded_once_what_it_did_is_undone(
    organization: Organization, api: Api, key: str | None
) -> None:
    who = Actor(
        organization_id=organization.id,
        role=Role.OWNER,
        user_id=uuid.uuid4(),
        request_id="r1",
        operation_name="Look",
    )
    document = "mutation($id: ID!) { a: importRollback(input: { id: $id }) { userErrors { code } } }"

    done = await api.as_(who)(document, key=key, id=encode_id("IB", uuid.uuid4()))

    assert done.data["a"]["userErrors"] == [{"code": "NOT_FOUND"}]
    assert await in_thread(_failures, organization) == [("importRollback", "", who.user_id, "Look", "r1")]


async def test_a_mutation_that_a_bug_ends_is_recorded(
    organization: Organization, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("schema.mutations.claims.batch_rollback", broken)

    done = await api(
        "mutation($id: ID!) { importRollback(input: { id: $id }) { userErrors { code } } }",
        id=encode_id("IB", uuid.uuid4()),
    )

    assert done.codes == ["INTERNAL"]
    assert [action for action, *_ in await in_thread(_failures, organization)] == ["importRollback"]


async def test_a_mutation_that_fails_tells_why_also_where_no_entry_can_be_written(
    organization: Organization, api: Api, database: str
) -> None:
    with psycopg.connect(server.url("postgres", database), autocommit=True) as superuser:
        superuser.execute("REVOKE INSERT ON audit_entry FROM app")
        try:
            done = await api(
                "mutation($id: ID!) { importRollback(input: { id: $id }) { userErrors { code } } }",
                id=encode_id("IB", uuid.uuid4()),
            )
        finally:
            superuser.execute("GRANT INSERT ON audit_entry TO app")

    assert done.data["importRollback"]["userErrors"] == [{"code": "NOT_FOUND"}]


async def test_a_refusal_elsewhere_shows_no_claims_without_a_purpose(organization: Organization, api: Api) -> None:
    await in_thread(_claims, organization)
    await in_thread(lambda: Organization.objects.filter(id=organization.id).update(purpose_required=True))
    analyst = Actor(organization_id=organization.id, role=Role.ANALYST)
    document = "query($id: ID!) { claims { totalCount nodes { billed } } node(id: $id) { id } }"
    entry = encode_id("AE", uuid.uuid4())

    without = await api.as_(analyst)(document, id=entry)
    given = await api.as_(dataclasses.replace(analyst, purpose="PAYMENT"))(document, id=entry)

    assert (without.data, without.codes) == (None, ["FORBIDDEN"])
    assert (given.codes, given.data["claims"]["totalCount"]) == (["FORBIDDEN"], 3)
    accounts = [one for one in await in_thread(_accounts, organization) if one["fields_phi"]]
    assert [(one["outcome"], one["object_count"]) for one in accounts] == [("DENIED", 3), ("ERROR", 3)]


async def test_a_purpose_is_demanded_where_the_organization_says_so(organization: Organization, api: Api) -> None:
    await in_thread(_claims, organization)
    await in_thread(lambda: Organization.objects.filter(id=organization.id).update(purpose_required=True))
    owner = make.owner(organization)

    without = await api("{ claims { nodes { billed } } }")
    given = await api.as_(dataclasses.replace(owner, purpose="PAYMENT"))("{ claims { nodes { billed } } }")
    other = await api("{ payers { nodes { name } } importBatches { nodes { issues { nodes { rule } } } } }")

    assert (without.data, without.codes) == (None, ["FORBIDDEN"])
    assert "Driftgraph-Purpose" in without.errors[0]["message"]
    assert (len(given.data["claims"]["nodes"]), other.errors) == (3, [])
    denied, allowed, _issues = await in_thread(_accounts, organization)
    assert (denied["outcome"], allowed["outcome"]) == ("DENIED", "OK")


@pytest.mark.parametrize(
    "obstacle",
    [
        "REVOKE INSERT ON audit_entry FROM app",
        "ALTER TABLE audit_entry RENAME TO gone",
        "DELETE FROM organization",  # its deletion ends while somebody reads, in a snapshot of before
    ],
)
async def test_without_a_record_nothing_protected_is_shown(
    organization: Organization, writes: WriteThreads, way: str, obstacle: str
) -> None:
    with scratch_database() as name:
        with psycopg.connect(server.url("owner", name), autocommit=True) as owner:
            owner.execute(ORGANIZATION, [organization.id, "o"])
            owner.execute(obstacle)
        reads = Reads(server.url("app", name), size=2)
        await reads.open()
        try:
            api = Api(reads, writes, make.owner(organization))
            refused = await api("{ claims { nodes { billed } } }")
            other = await api("{ payers { totalCount } driftEvents { nodes { id } } }")
            viewer = api.as_(Actor(organization_id=organization.id, role=Role.VIEWER))
            forbidden = await viewer(_MAP)
        finally:
            await reads.close()

    assert (refused.data, refused.codes) == (None, ["READ_ONLY"])
    assert refused.errors[0]["extensions"]["retryable"] is True
    assert (other.errors, other.data["payers"]["totalCount"]) == ([], 0)
    assert forbidden.codes == ["FORBIDDEN"]  # as it is where it can be recorded
