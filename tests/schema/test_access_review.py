"""The review of access: what it counts of whom, over which time, who may ask, and that asking is recorded."""

import datetime
import uuid
from typing import Any

import psycopg
import pytest
from django.db import connection

from backend.accounts.break_glass import glass_break
from backend.accounts.models import EmergencyAccess, Organization, User
from backend.audit.models import AuditEntry
from backend.claims.access_review import ACCESS_REVIEW
from backend.core.actor import Actor, Role
from backend.core.tenancy import acting_for
from schema.relay.ids import encode_id
from tests import acceptance, server
from tests import factories as make
from tests.api import Api
from tests.threads import in_thread

MONDAY_NOON = datetime.datetime(2026, 3, 2, 18, tzinfo=datetime.UTC)  # 12:00 in Chicago
HOUR = datetime.timedelta(hours=1)
PERIOD = {"from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"}
DOCUMENT = acceptance.text("AccessReview")


def _claims(organization: Organization, patients: list[bytes | None]) -> list[uuid.UUID]:
    with acting_for(organization.id):
        payer, source = make.payer(organization), make.batch(organization)
        code = make.procedure(organization, make.group(organization))
        return [make.claim(payer, code, source, n, patient_ref=ref).id for n, ref in enumerate(patients)]


class Trail:
    """Writes entries at times that lie back, which the database's owner alone can."""

    def __init__(self, database: str, organization: Organization) -> None:
        self._database, self._organization = database, organization

    def write(self, *entries: dict[str, Any]) -> None:
        read: dict[str, Any] = {
            "action": "read",
            "object_type": "claim",
            "fields_phi": True,
            "outcome": "OK",
            "actor_role": "ANALYST",
        }
        with psycopg.connect(server.url("postgres", self._database), autocommit=True) as superuser:
            superuser.execute("SET session_replication_role = replica")  # the trigger would set the time
            for entry in entries:
                row = {
                    **read,
                    "id": uuid.uuid4(),
                    "organization_id": self._organization.id,
                    "object_ids": [],
                    "object_count": len(entry.get("object_ids", [])),
                    "operation_name": "",
                    "purpose": "",
                    "request_id": uuid.uuid4().hex,
                    **entry,
                }
                names, places = ", ".join([*row, "created_at"]), ", ".join(["%s"] * len(row))
                superuser.execute(f"INSERT INTO audit_entry ({names}) VALUES ({places}, now())", list(row.values()))


@pytest.fixture
def trail(database: str, organization: Organization) -> Trail:
    Organization.objects.filter(id=organization.id).update(timezone="America/Chicago")
    return Trail(database, organization)


async def test_a_review_counts_what_each_did(organization: Organization, trail: Trail, api: Api) -> None:
    ann, program = uuid.uuid4(), uuid.uuid4()
    keys = await in_thread(_claims, organization, [b"p" * 16, b"p" * 16, b"q" * 16, None])
    reads: list[dict[str, Any]] = [
        {"object_ids": keys[:2], "at": MONDAY_NOON},
        {"object_ids": keys[1:], "at": MONDAY_NOON + 7 * HOUR},  # 19:00
        {"object_ids": [], "object_count": 150, "at": MONDAY_NOON - 24 * HOUR, "request_id": "one"},  # on a Sunday
        {"object_ids": [], "object_type": "import_issue", "fields_phi": False, "at": MONDAY_NOON, "request_id": "one"},
        {"object_ids": [], "at": MONDAY_NOON + 31 * 24 * HOUR, "object_count": 7},  # later
    ]
    refusals: list[dict[str, Any]] = [
        {"outcome": "DENIED", "at": MONDAY_NOON, "request_id": "two"},
        {"outcome": "DENIED", "at": MONDAY_NOON, "request_id": "two", "action": "refuse", "fields_phi": False},
    ]
    others: list[dict[str, Any]] = [
        {"token_id": program, "actor_role": "SERVICE", "object_ids": keys[:1], "at": MONDAY_NOON},
        {"actor_role": "OWNER", "object_ids": keys[:1], "at": MONDAY_NOON},  # the product itself
        {"action": "sign_in", "outcome": "DENIED", "fields_phi": False, "actor_role": None, "at": MONDAY_NOON},
    ]
    await in_thread(trail.write, *[{"actor_id": ann, **one} for one in (*reads, *refusals)], *others)

    answer = await api(DOCUMENT, **PERIOD)

    assert answer.errors == []
    review = answer.data["accessReview"]
    assert (review["from"], review["to"]) == (PERIOD["from"], PERIOD["to"])
    assert (review["actorCount"], review["failedSignIns"]) == (2, 1)
    first, second = review["actors"]
    assert first == {
        "actor": encode_id("US", ann),
        "token": None,
        "name": "",
        "role": "ANALYST",
        "reads": 3,
        "rows": "155",
        "claims": 4,
        "patients": 2,
        "bulkReads": 1,
        "outOfHoursShare": pytest.approx(2 / 3),
        "refusals": 1,
        "lastSeenAt": "2026-03-03T01:00:00Z",
    }
    assert (second["token"], second["role"], second["rows"]) == (encode_id("TK", program), "SERVICE", "1")
    assert second["outOfHoursShare"] == 0


async def test_a_review_takes_two_statements_however_many_there_are(
    organization: Organization, trail: Trail, api: Api
) -> None:
    await in_thread(trail.write, *[{"actor_id": uuid.uuid4(), "at": MONDAY_NOON} for _ in range(205)])

    answer = await api(DOCUMENT, **PERIOD)

    review = answer.data["accessReview"]
    assert (len(review["actors"]), review["actorCount"], len(answer.statements)) == (200, 205, 2)


async def test_nothing_of_another_organization_is_counted(
    organization: Organization, other_organization: Organization, trail: Trail, api: Api
) -> None:
    await in_thread(trail.write, {"actor_id": uuid.uuid4(), "at": MONDAY_NOON})

    other = await api.as_(make.owner(other_organization)).data(DOCUMENT, **PERIOD)

    assert (other["accessReview"]["actorCount"], other["accessReview"]["actors"]) == (0, [])


async def test_a_review_is_recorded_as_a_read_of_the_trail(organization: Organization, api: Api) -> None:
    auditor = Actor(organization_id=organization.id, role=Role.AUDITOR, user_id=uuid.uuid4())

    await api.as_(auditor).data("{ accessReview { actorCount } }")
    second = await api.as_(auditor).data("{ accessReview { actors { actor reads refusals } } }")

    def entries() -> list[tuple[Any, ...]]:
        with acting_for(organization.id):
            found = AuditEntry.objects.filter(action="read", object_type="audit_entry").order_by("at", "id")
            return list(found.values_list("actor_id", "object_count", "fields", "fields_phi"))

    assert await in_thread(entries) == [
        (auditor.user_id, 0, ["AccessReview.actorCount"], False),
        (auditor.user_id, 0, ["AccessReview.actors"], False),
    ]
    assert second["accessReview"]["actors"] == [
        {"actor": encode_id("US", auditor.user_id or uuid.uuid4()), "reads": 0, "refusals": 0}
    ]


@pytest.mark.parametrize("role", [Role.OWNER, Role.ADMIN, Role.AUDITOR, Role.ANALYST, Role.VIEWER])
async def test_who_may_ask_for_a_review(organization: Organization, api: Api, role: Role) -> None:
    answer = await api.as_(Actor(organization_id=organization.id, role=role))("{ accessReview { actorCount } }")

    allowed = role in (Role.OWNER, Role.ADMIN, Role.AUDITOR)
    assert answer.codes == ([] if allowed else ["FORBIDDEN"])


@pytest.mark.parametrize(
    ("begins", "ends", "message"),
    [
        ("2026-03-02T00:00:00Z", "2026-03-02T00:00:00Z", "must begin before it ends"),
        ("2026-03-02T00:00:00Z", "2026-06-02T00:00:01Z", "is 93, more than 92 (DRIFTGRAPH_MAX_REVIEW_DAYS)"),
    ],
)
async def test_a_period_that_cannot_be_reviewed_is_refused(api: Api, begins: str, ends: str, message: str) -> None:
    answer = await api(DOCUMENT, **{"from": begins, "to": ends})

    assert answer.codes == ["BAD_USER_INPUT"]
    assert message in answer.errors[0]["message"]


async def test_a_period_at_the_beginning_of_time_has_what_there_is_of_it(api: Api) -> None:
    found = await api.data('{ accessReview(filter: { to: "0001-01-05T00:00:00Z" }) { from to } }')

    assert found["accessReview"] == {"from": "0001-01-01T00:00:00Z", "to": "0001-01-05T00:00:00Z"}


async def test_without_a_record_there_is_no_review(
    organization: Organization, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.audit.reads._INSERT", b"INSERT INTO gone SELECT $1")

    answer = await api("{ accessReview { actorCount } }")

    assert (answer.data, answer.codes) == (None, ["READ_ONLY"])


async def test_a_review_shows_emergency_access_also_when_it_is_over(organization: Organization, api: Api) -> None:
    def give() -> tuple[str, str]:
        root = User.objects.create_superuser(f"root.{organization.id.hex}@example.org")
        glass_break(organization=organization, user=root, reason="restoring the imports", hours=1)
        with acting_for(organization.id):
            EmergencyAccess.objects.update(expires_at=EmergencyAccess.objects.get().created_at)
        return root.email, encode_id("US", root.id)

    email, key = await in_thread(give)

    [found] = (await api.data(DOCUMENT))["accessReview"]["emergencyAccess"]
    earlier = (await api.data(DOCUMENT, **PERIOD))["accessReview"]["emergencyAccess"]

    assert (found["name"], found["actor"], found["role"]) == (email, key, "ADMIN")
    assert (found["reason"], found["from"]) == ("restoring the imports", found["to"])
    assert earlier == []


def test_the_entries_of_a_period_are_found_by_an_index(organization: Organization) -> None:
    with acting_for(organization.id), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
        cursor.execute(f"EXPLAIN {ACCESS_REVIEW}", [PERIOD["from"], PERIOD["to"]])
        plan = [line for (line,) in cursor.fetchall()]

    conditions = [plan[number + 1] for number, line in enumerate(plan) if " on audit_entry_" in line]
    assert len(conditions) >= 3  # one for each partition
    assert all("organization_id = " in condition and "(at >= " in condition for condition in conditions)
