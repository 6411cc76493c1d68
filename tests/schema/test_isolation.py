"""Two organizations with a row in every table, each trying all that the schema offers on the other's rows."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from backend.accounts.models import ApiToken, Organization
from backend.audit.models import AuditEntry
from backend.core.actor import Role
from backend.core.tenancy import acting_for
from tests.attempts import Attempts, Member, member, token
from tests.documents import roots
from tests.pooling import NEEDS_PGBOUNCER, pooled
from tests.serving import serving
from tests.statements import rows_of, try_statements
from tests.threads import in_thread

ALL = {(kind, name) for kind in ("query", "mutation", "subscription") for name in roots(kind)}


@pytest.fixture
def members(organization: Organization, other_organization: Organization) -> tuple[Member, Member]:
    return member(organization, "zzfirst"), member(other_organization, "zzsecond")


@pytest.fixture
def powerless(organization: Organization) -> str:
    """The secret of a token without any right."""
    return token(organization, f"none{organization.id.hex}", Role.SERVICE)


def test_no_statement_reaches_a_row_of_another_organization(database: str, members: tuple[Member, Member]) -> None:
    """For every table: without an organization nothing; of the other one nothing to see, change, delete or add."""
    own, other = (one.organization.id for one in members)
    before = rows_of(database, other)
    assert [table for table, (count, _) in before.items() if not count] == [], "a table without a row proves nothing"

    found = try_statements(database, own, other)

    sys.stdout.write(f"{found}\n")  # to be seen with `pytest -rP`
    assert found.attempts == 6 * len(before) + found.references
    assert found.references >= 25
    assert found.blind == []
    assert found.crossed == []
    assert rows_of(database, other) == before


def _actors(organization: Organization) -> tuple[bool, set[str]]:
    """Whether tokens have acted on the organization by the trail, and which of them are not its own."""
    with acting_for(organization.id):
        own = set(ApiToken.objects.values_list("id", flat=True))
        acted = set(AuditEntry.objects.exclude(token_id=None).values_list("token_id", flat=True))
    return bool(acted), {str(one) for one in acted - own}


@pytest.fixture(
    params=[
        ("straight", "auto"),
        pytest.param(("pooled", "compiled"), marks=NEEDS_PGBOUNCER),
        pytest.param(("pooled", "reference"), marks=NEEDS_PGBOUNCER),
    ],
    ids="-".join,
)
def url(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> Iterator[str]:
    """A server, straight on the database or with two connections to it that PgBouncer lends for a transaction."""
    route, way = request.param
    with ExitStack() as stack:
        behind = stack.enter_context(pooled(database, connections=2)) if route == "pooled" else {}
        # What the server counts of these requests would push the rows of the organizations off the list's first page.
        behind["DRIFTGRAPH_USAGE_FLUSH_SECONDS"] = "3600"
        yield stack.enter_context(serving(database, tmp_path, DRIFTGRAPH_EXECUTION=way, **behind)).url


async def test_nothing_of_the_schema_reaches_another_organization_over_http(
    database: str, members: tuple[Member, Member], powerless: str, url: str, request: pytest.FixtureRequest
) -> None:
    first, second = members
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        attempts = Attempts(http)
        await attempts.read(first, second)
        before = rows_of(database, second.organization.id)
        await attempts.write(first, second)
        after = rows_of(database, second.organization.id)
        await attempts.read(second, first)
        await attempts.write(second, first)
        await attempts.control_writes()
        await attempts.without_right(first, powerless)
    report = attempts.report

    sys.stdout.write(f"{request.node.callspec.id}: {len(before)} tables, {report}\n")
    assert report.roots == ALL
    assert report.attempts > 500
    # What the server writes down late of the second's own reads is no effect of the first's.
    assert {table for table in before if before[table] != after[table]} <= {"api_token"}
    acted, others = await in_thread(_actors, second.organization)
    assert acted
    assert others == set()
    assert report.crossed == []
    assert report.refused == []
    assert report.unproven == []
    assert report.blind == []
    assert report.unguarded == []
