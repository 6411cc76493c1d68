"""The usage ledger in the database: counts are added up, by many processes at once, and forgotten in time."""

import datetime
from concurrent.futures import ThreadPoolExecutor

from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backend.accounts.models import Organization
from backend.core.actor import Actor
from backend.core.tenancy import acting_for
from backend.usage.models import SchemaUse
from backend.usage.selectors import Asked, Used, usage_everywhere
from backend.usage.services import Use, usage_add
from backend.usage.tasks import forget
from tests.threads import closing

DAY = datetime.date(2026, 5, 1)


def _uses(organization: Organization) -> dict[tuple[datetime.date, str, str], int]:
    with acting_for(organization.id):
        return {(one.day, one.coordinate, one.client_name): one.uses for one in SchemaUse.objects.all()}


def test_counts_are_added_up_in_one_statement(organization: Organization, actor: Actor) -> None:
    usage_add(actor=actor, counts={Use(DAY, "A.a", "web", "1"): 2})

    with CaptureQueriesContext(connection) as captured:
        written = usage_add(
            actor=actor,
            counts={Use(DAY, "B.b", "web", "1"): 1, Use(DAY, "A.a", "web", "1"): 3, Use(DAY, "A.a", "", ""): 5},
        )

    assert written == 3
    assert _uses(organization) == {(DAY, "A.a", "web"): 5, (DAY, "A.a", ""): 5, (DAY, "B.b", "web"): 1}
    assert sum("schema_use" in query["sql"] for query in captured) == 1


def test_nothing_is_written_of_nothing(organization: Organization, actor: Actor) -> None:
    with CaptureQueriesContext(connection) as captured:
        assert usage_add(actor=actor, counts={}) == 0

    assert len(captured) == 0


def test_processes_that_add_to_the_same_counters_do_not_wait_for_one_another_in_a_circle(
    organization: Organization, actor: Actor
) -> None:
    """Given the same counters in opposite orders; unsorted they would deadlock."""
    uses = [Use(DAY, f"T.f{number}", "web", "1") for number in range(200)]
    orders = [dict.fromkeys(uses, 1), dict.fromkeys(reversed(uses), 1)]

    with ThreadPoolExecutor(4) as threads:
        calls = [
            threads.submit(closing, lambda counts: usage_add(actor=actor, counts=counts), orders[number % 2])
            for number in range(40)
        ]
        written = [call.result() for call in calls]

    assert written == [200] * 40
    assert set(_uses(organization).values()) == {40}


def test_days_are_forgotten_when_their_time_is_up(
    organization: Organization, other_organization: Organization, actor: Actor
) -> None:
    today = timezone.now().date()
    last = today - datetime.timedelta(days=settings.ENVIRONMENT.usage_days)
    for one in (actor, Actor.system(other_organization.id, "test")):
        counts = {Use(day, "A.a", "web", "1"): 1 for day in (today, last, last - datetime.timedelta(days=1))}
        usage_add(actor=one, counts=counts)

    forget(timestamp=0)

    kept = {(today, "A.a", "web"), (last, "A.a", "web")}
    assert _uses(organization).keys() == _uses(other_organization).keys() == kept


def test_the_operator_sees_the_sums_of_all_organizations(
    organization: Organization, other_organization: Organization, actor: Actor
) -> None:
    """Coordinates of this test alone: other tests' organizations are counted too."""
    old, new = DAY, DAY + datetime.timedelta(days=1)
    usage_add(actor=actor, counts={Use(old, "Zz.a", "web", "1"): 4, Use(old, "Zz.a(b:)", "web", "1"): 9})
    other = Actor.system(other_organization.id, "test")
    counts = {Use(new, "Zz.a", "web", "1"): 3, Use(new, "Zz.c", "ios", ""): 8, Use(new, "Zzz.a", "web", "1"): 50}
    usage_add(actor=other, counts=counts)

    of_type = usage_everywhere(Asked(old, "Zz", deprecated=["Zz.a"]))
    of_field = usage_everywhere(Asked(old, "Zz.a"))
    lately = usage_everywhere(Asked(new, "Zz", deprecated=["Zz.a"], deprecated_only=True))

    assert of_type == [
        Used("Zz.a", "web", "1", 7, old, new),
        Used("Zz.a(b:)", "web", "1", 9, old, old),
        Used("Zz.c", "ios", "", 8, new, new),
    ]
    assert [row.coordinate for row in of_field] == ["Zz.a(b:)", "Zz.a"]
    assert lately == [Used("Zz.a", "web", "1", 3, new, new)]
